"""Ways to fuse a focus stack, and what they cost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from experiments.stacks.scenes import Scene
from two_stream_fusion.io import images
from two_stream_fusion.methods import models, registry
from two_stream_fusion.methods.multi_stream import MultiStream
from two_stream_fusion.methods.two_stream import TwoStream
from two_stream_fusion.metrics import fidelity
from two_stream_fusion.stack import fuse_network, pair_selection
from two_stream_fusion.stack.depth_edges import fuse_tree
from two_stream_fusion.stack.frames import Frames

# Short names of the multi-stream nets, and their models.
MULTI_STREAM = {"f16": "N-stream_f16_k3-stack", "f32": "N-stream_f32_k3-stack"}
ENFUSE = ["enfuse", "--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1", "--hard-mask"]

Net = Callable[..., np.ndarray]
Fused = Tuple[np.ndarray, Optional[np.ndarray]]  # the image, and the frame of each pixel where it is known


class Nets(NamedTuple):
    """The networks of the ways: a two-stream one, and the multi-stream ones by the names of MULTI_STREAM."""

    two_stream: Net
    multi_stream: Mapping[str, Callable[[Sequence[np.ndarray]], Fused]]


Way = Callable[[Nets, Sequence[np.ndarray]], Fused]
# The columns of a table of Scores.
COLUMNS = ("PSNR", "SSIM", "PSNR at edges", "right frame", "CPU s", "MB")


class Score(NamedTuple):
    """How well a way fuses a scene.

    psnr, edge_psnr: in dB, of the whole image and near depth edges. ssim: of luma. right: share of pixels
    within one frame of the right one. seconds: of CPU, for a megapixel and frame. megabytes: of memory at the
    peak, beyond what the process held before. What a scene or a way lacks is None.
    """

    scene: str
    frames: int
    way: str
    psnr: float
    ssim: float
    edge_psnr: float | None
    right: float | None
    seconds: float
    megabytes: float | None


def open_nets(model: str, weights: Mapping[str, Path]) -> Nets:
    """Open the networks of the ways.

    Args:
        model: the two-stream one.
        weights: {name of MULTI_STREAM: caffemodel} of those that take the place of the released weights.

    Returns:
        The networks.

    Raises:
        ValueError, OSError: a file is missing, or is not what it should be.
    """
    multi_stream = {}
    for name, released in MULTI_STREAM.items():
        deploy, caffemodel = models.model_files(released, "multi_stream")
        multi_stream[name] = MultiStream(deploy, weights.get(name, caffemodel))
    return Nets(TwoStream(*models.model_files(model, "two_stream")), multi_stream)


def fold_select(nets: Nets, frames: Sequence[np.ndarray]) -> Fused:
    """Fuse each frame with the result of those before it, by --refine select.

    Args:
        nets: the networks.
        frames: of a stack, in the order of focus.

    Returns:
        The fused image, and the choice of frames where there is one.
    """
    image, choice = frames[0], np.zeros(frames[0].shape[:2], int)
    for i, frame in enumerate(frames[1:], 1):
        image, newer = pair_selection.select_pixels(image, frame, nets.two_stream(image, frame))
        choice[newer] = i
    return image, choice


def fuse_by_default(nets: Nets, frames: Sequence[np.ndarray]) -> Fused:
    """Fuse as tools/fuse.py does frames in their order.

    Args:
        nets: the networks.
        frames: of a stack, in the order of focus.

    Returns:
        The fused image, and the choice of frames where there is one.
    """
    refine = fuse_network.resolve_refine(None, len(frames))
    return fuse_network.fuse_by_network(nets.two_stream, list(frames), refine=refine)


def fuse_multi_stream(nets: Nets, frames: Sequence[np.ndarray], *, name: str) -> Fused:
    """Fuse by a multi-stream network.

    Args:
        nets: the networks.
        frames: of a stack, in any order.
        name: of MULTI_STREAM.

    Returns:
        The sum of the frames, weighted, and the frame of the largest weight.
    """
    return nets.multi_stream[name](frames)


def fuse_multi_stream_edges(nets: Nets, frames: Sequence[np.ndarray], *, name: str) -> Fused:
    """Fuse by a multi-stream network, and near depth edges by the two-stream one.

    Args:
        nets: the networks.
        frames: of a stack, in the order of focus.
        name: of MULTI_STREAM.

    Returns:
        The fused image, and the frame of the largest weight.
    """
    image, choice = nets.multi_stream[name](frames)
    return fuse_network.fuse_depth_edges(nets.two_stream, Frames(frames), image, choice), choice


def run_enfuse(nets: Nets, frames: Sequence[np.ndarray]) -> Fused:
    """Fuse by Debian's enfuse, with its options for focus stacks.

    Args:
        nets: not used.
        frames: of a stack, in the order of focus.

    Returns:
        The fused image, and the choice of frames where there is one.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/{i:02}.tif" for i in range(len(frames))]
        for name, frame in zip(names, frames):
            images.write(Path(name), frame)
        command = [*ENFUSE, "-o", f"{folder}/fused.tif", *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return images.read(Path(folder, "fused.tif")), None


def pick_best(scene: Scene) -> Fused:
    """The oracle: at each pixel the frame that is nearest to the ground truth."""
    truth = scene.truth.astype(np.float32)
    errors = [((frame - truth) ** 2).sum(axis=2) for frame in scene.frames]
    choice = np.argmin(errors, axis=0)
    return np.take_along_axis(np.stack(scene.frames), choice[None, ..., None], 0)[0], choice


WAYS: dict[str, Way] = {
    "default": fuse_by_default,
    "select, folded": fold_select,
    "the network's images, a tree": lambda nets, frames: (fuse_tree(nets.two_stream, frames), None),
    "multi-stream f16": partial(fuse_multi_stream, name="f16"),
    "multi-stream f16, edges": partial(fuse_multi_stream_edges, name="f16"),
    "multi-stream f32": partial(fuse_multi_stream, name="f32"),
    "multi-stream f32, edges": partial(fuse_multi_stream_edges, name="f32"),
    "GF": lambda nets, frames: (registry.fuse("gf", frames).image, None),
    "LP": lambda nets, frames: (registry.fuse("lp", frames).image, None),
    "enfuse": run_enfuse,
}
ORDER = [*WAYS, "oracle"]


def score_scene(nets: Nets, scene: Scene, labels: Iterable[str] | None = None) -> list[Score]:
    """Score several ways on a scene.

    Args:
        nets: the networks.
        scene: the scene.
        labels: ways of ORDER (default: all); enfuse only where it is installed.

    Returns:
        A score for each way.
    """
    sequence = Frames(scene.frames).spread()
    frames = list(sequence)
    size = len(frames) * scene.truth[..., 0].size / 1e6
    scores = []
    for label in ORDER if labels is None else labels:
        if label == "oracle":
            scores.append(score(scene, label, *pick_best(scene), 0.0, None))
        elif label != "enfuse" or shutil.which(ENFUSE[0]):
            cost = Cost()
            image, choice = WAYS[label](nets, frames)
            seconds, megabytes = cost.read()
            scores.append(score(scene, label, sequence.restore(image), choice, seconds / size, megabytes))
    return scores


def score(
    scene: Scene,
    label: str,
    image: np.ndarray,
    choice: np.ndarray | None,
    seconds: float,
    megabytes: float | None,
) -> Score:
    """Score a fused image of a scene.

    Args:
        scene: the scene.
        label: of the way.
        image: the fused image.
        choice: H x W, the frame chosen at each pixel, or None.
        seconds: CPU time.
        megabytes: peak memory, or None.

    Returns:
        The score.
    """
    shift = 8 * scene.truth.itemsize - scene.peak.bit_length()  # levels then use their type
    truth, image = scene.truth << shift, image << shift
    gray = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (truth, image)]
    near_edges = right = None
    if scene.edges is not None and scene.edges.any():
        near_edges = fidelity.psnr(truth[scene.edges], image[scene.edges])
    if scene.right is not None and choice is not None:
        right = float((np.abs(choice.astype(int) - scene.right) <= 1).mean())
    quality = fidelity.psnr(truth, image), fidelity.ssim(*gray)
    return Score(scene.name, len(scene.frames), label, *quality, near_edges, right, seconds, megabytes)


class Cost:
    """CPU time and peak memory since it was made, of this process and of those that it started."""

    def __init__(self):
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
        self.memory = _memory("VmRSS")
        self.seconds = _cpu_seconds()

    def read(self) -> tuple[float, float | None]:
        """(seconds, megabytes); None where the system does not say."""
        seconds = _cpu_seconds() - self.seconds
        peak = _memory("VmHWM")
        if peak is None or self.memory is None:
            return seconds, None
        return seconds, max(0, peak - self.memory) * 1024 / 1e6


def _cpu_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _memory(field):
    """Kibibytes of a field of /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), None)
