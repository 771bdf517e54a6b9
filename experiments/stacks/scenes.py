"""Focus stacks whose ground truth is known.

Most are rendered from photographs by data_prep/layers.py. All photographs are of the validation set of
`make data`. Those of the development scenes are not used in held-out scenes, and neither are their depths.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from data_prep import depth_pair, layers, light_field
from data_prep.layers import Layer
from data_prep.photographs import read_mask
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images
from two_stream_fusion.stack.frames import Frames

EDGE_STEP = 1.5  # pixels: a depth edge is where the radius of blur steps by more, seen from either side
EDGE_WIDTH = 12  # pixels: what is so near to a depth edge may show a halo


class Scene(NamedTuple):
    """A focus stack and its ground truth.

    frames: H x W x 3 uint8 or uint16, in the order of their focus. truth: alike.
    peak: the largest level that a frame can have.
    right: H x W int, the frame focused nearest to what is seen there; None where it is not known.
    edges: H x W bool, near a depth edge; None where depth is not known.
    """

    name: str
    frames: list[np.ndarray]
    truth: np.ndarray
    peak: int = 255
    right: np.ndarray | None = None
    edges: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a scene is rendered.

    Attributes:
        background: the number of a photograph; its depth goes from the first plane on.
        ramp: how deep the background is, in planes.
        slope: the direction in which it comes nearer: right, down, or waves for hills.
        near: (number of a photograph with a mask, depth in planes from the first on, gain of its levels); or
            ("hairs", depth, level).
        count: the number of frames; their planes are 0, 1, ...
        planes: the planes where they are not that.
        blur: radius of the blur of what is a plane out of focus, in pixels.
        noise: sigma in levels of 255.
        light: the frames' levels differ by up to this share; they are registered to the middle one.
        breathing: change of scale from frame to frame; they are registered to the middle one.
        bits: of a level.
        gain: of all light; below 1 the photographs are dark.
    """

    background: str
    ramp: float = 0
    slope: str = "right"
    near: tuple[tuple[str, float, float], ...] = ()
    count: int = 8
    planes: tuple[float, ...] = ()
    blur: float = 1.0
    noise: float = 0.7
    light: float = 0
    breathing: float = 0
    bits: int = 8
    gain: float = 1


DEVELOPMENT = {
    "ramp": Recipe("0352", ramp=11, count=12),
    "object": Recipe("0286", ramp=2, near=(("0345", 5, 1),), count=6, blur=1.5),
    "hairs": Recipe("0441", ramp=2, slope="down", near=(("hairs", 7, 0.8),), count=8, blur=1.2),
    "bright": Recipe("0317", ramp=1, near=(("0589", 4, 1.6),), count=5, blur=2),
    "noise": Recipe("0606", ramp=4, slope="down", near=(("0503", 7, 1),), noise=4, blur=1.2),
    "light": Recipe("0694", ramp=6, slope="waves", count=7, light=0.08, blur=1.2),
    "breathing": Recipe("0607", ramp=4, near=(("0573", 6, 1),), count=7, breathing=0.003, noise=1),
    "uneven": Recipe("0741", ramp=9, slope="waves", planes=(0, 0.5, 1, 2.5, 3, 5, 8, 9), noise=1),
    "12 bits": Recipe("0854", ramp=5, slope="down", near=(("0181", 7, 1),), bits=12, noise=0.5),
    "dark": Recipe("0904", ramp=7, gain=0.15),
    "many": Recipe("0999", ramp=20, slope="down", near=(("0880", 27, 1),), count=28, blur=0.5, noise=1),
}
HELD_OUT = {
    "two": Recipe("0405", ramp=0.3, near=(("0047", 1, 1),), count=2, blur=4),
    "ramp": Recipe("0438", ramp=15, slope="down", count=16, blur=0.8),
    "waves": Recipe("0818", ramp=9, slope="waves", count=10, blur=1.3),
    "object": Recipe(
        "0983", ramp=1.5, slope="down", near=(("0495", 3, 1), ("0530", 5, 1)), count=6, blur=1.6
    ),
    "hairs": Recipe("0082", ramp=2, near=(("hairs", 8, 0.15),), count=9, blur=1.1),
    "bright": Recipe("0188", ramp=1, slope="down", near=(("0660", 5, 1.7),), count=6, blur=1.8),
    "noise": Recipe("0360", ramp=5, near=(("0170", 8, 1),), count=9, noise=4, blur=1.2),
    "light": Recipe("0813", ramp=7, slope="down", near=(("0343", 7, 1),), light=0.08, noise=1),
    "breathing": Recipe("0827", ramp=7, slope="waves", count=8, breathing=0.003, noise=1, blur=1.2),
    "uneven": Recipe("0647", ramp=10, slope="down", planes=(0, 1.5, 2, 2.5, 4, 7, 7.5, 10)),
    "missing": Recipe("0936", ramp=8, near=(("0749", 10, 1),), planes=(0, 1, 2, 3, 5, 6, 7, 8, 10), noise=1),
    "12 bits": Recipe("0902", ramp=6, slope="waves", near=(("0837", 8, 1),), count=9, bits=12, noise=0.5),
    "dark": Recipe("0776", ramp=5, slope="down", near=(("0637", 7, 1),), gain=0.15, blur=1.2),
    "many": Recipe("0911", ramp=24, slope="waves", near=(("0283", 31, 1),), count=32, blur=0.5, noise=1),
}


def names(held_out: bool) -> list[str]:
    """The names of the scenes to choose on, or of those to report."""
    return ["light field", *HELD_OUT] if held_out else ["motorcycle", *DEVELOPMENT]


def make_scene(name: str, held_out: bool, data: Path) -> Scene:
    """Read or render a scene.

    Args:
        name: of the scene.
        held_out: whether it is one of those to report.
        data: the folder FUSION_DATA.

    Returns:
        The scene.

    Raises:
        OSError, ValueError: a photograph or its mask cannot be read.
    """
    if name == "motorcycle":
        return motorcycle()
    if name == "light field":
        return light_field_scene(data / "stacks-truth" / "lytro-2067")
    recipes = HELD_OUT if held_out else DEVELOPMENT
    rng = np.random.default_rng([held_out, list(recipes).index(name)])
    return render_scene(name, recipes[name], data / "train", rng)


def motorcycle(count: int = 8) -> Scene:
    """scikit-image's motorcycle by its depth; a point is sharp in one or two frames."""
    sharp, disparity = depth_pair.scene()
    focal_planes = np.linspace(*np.percentile(disparity, (1, 99)), count)
    spacing = focal_planes[1] - focal_planes[0]
    frames = [depth_pair.focus(sharp, disparity, at, 0.55 * spacing) for at in focal_planes]
    depth = ((disparity - focal_planes[0]) / spacing).astype(np.float32)
    return Scene(
        "motorcycle",
        frames,
        sharp,
        255,
        nearest_frame(depth, range(count)),
        depth_edges(depth_pair.BLUR * disparity),
    )


def light_field_scene(folder: Path) -> Scene:
    """The frames NN.png of a folder and truth.png; without it they are made of the fetched views."""
    if not folder.is_dir():
        return Scene("light field", *light_field.focus_stack(light_field.read_views()))
    frames = [images.read(path) for path in sorted(folder.glob("[0-9]*.png"))]
    return Scene("light field", frames, images.read(folder / "truth.png"))


def render_scene(name: str, recipe: Recipe, photographs: Path, rng: np.random.Generator) -> Scene:
    """Render a scene.

    Args:
        name: of the scene.
        recipe: how.
        photographs: the folder of the photographs, NNNN.jpg, and of their masks, NNNN.png.
        rng: the generator to draw from.

    Returns:
        The scene.

    Raises:
        OSError, ValueError: a photograph or its mask cannot be read.
    """
    planes = recipe.planes or tuple(range(recipe.count))
    scene = make_layers(recipe, photographs, rng)
    middle = len(planes) // 2
    top = 2**recipe.bits - 1
    frames = []
    for i, at in enumerate(planes):
        levels = layers.render(scene, at, recipe.blur) * recipe.gain
        if recipe.breathing:
            levels = _rescale(levels, 1 + recipe.breathing * (i - middle))
        if recipe.light and i != middle:
            levels = levels * (1 + rng.uniform(-recipe.light, recipe.light))
        levels = levels + rng.normal(0, recipe.noise, levels.shape) if recipe.noise else levels
        frames.append(_quantise(levels, recipe.bits))
    truth = _quantise(layers.render(scene) * recipe.gain, recipe.bits)
    depth = layers.visible_depth(scene)
    right, edges = nearest_frame(depth, planes), depth_edges(recipe.blur * depth)
    if recipe.light or recipe.breathing:
        registered = Frames(frames).registered(middle)
        window = registered.window
        assert window is not None
        frames, truth, right, edges = list(registered), truth[window], right[window], edges[window]
    return Scene(name, frames, np.ascontiguousarray(truth), top, right, edges)


def make_layers(recipe: Recipe, photographs: Path, rng: np.random.Generator) -> list[Layer]:
    """Make the layers of a scene.

    Args:
        recipe, photographs, rng: as of `render_scene`.

    Returns:
        The layers, from the back to the front.
    """
    background = images.read(photographs / f"{recipe.background}.jpg")
    shape = background.shape[:2]
    y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    if recipe.slope == "waves":
        waves = cv2.resize(
            rng.uniform(-1, 2, (5, 6)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        share = np.clip(waves, 0, 1)
    else:
        share = (y[:, None] if recipe.slope == "down" else x) + np.zeros(shape, np.float32)
    result = [Layer(background, np.ones(shape, np.float32), recipe.ramp * share)]
    for name, depth, gain in recipe.near:
        if name == "hairs":
            matte = layers.draw_hairs(shape, 40, rng)
            colour = 255 * np.clip(gain + rng.normal(0, 0.05, (*shape, 1)) + [0.05, 0, -0.05], 0, 1)
            photograph = round_half_even(colour, np.uint8)
        else:
            photograph = images.read(photographs / f"{name}.jpg")
            mask = read_mask(photographs / f"{name}.png", photograph.shape[:2])
            size = {"dsize": shape[::-1], "interpolation": cv2.INTER_AREA}
            photograph = round_half_even(gain * cv2.resize(photograph, **size), np.uint8)
            matte = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), **size), (0, 0), 0.7)
        result.append(Layer(photograph, matte, np.full(shape, depth, np.float32)))
    return result


def nearest_frame(depth: np.ndarray, planes: Sequence[float]) -> np.ndarray:
    """Find the frame whose plane is nearest to each depth.

    Args:
        depth: H x W.
        planes: the depth that each frame is focused at.

    Returns:
        H x W int, indices of frames.
    """
    return np.abs(depth[..., None] - np.asarray(planes, np.float32)).argmin(axis=2)


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Where depth, in pixels of blur, steps by more than EDGE_STEP within EDGE_WIDTH pixels: H x W bool."""
    step = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > EDGE_STEP
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_WIDTH + 1,) * 2)
    return cv2.dilate(step.astype(np.uint8), disc) > 0


def _rescale(levels, factor):
    height, width = levels.shape[:2]
    matrix = np.array(
        [[factor, 0, (1 - factor) * (width - 1) / 2], [0, factor, (1 - factor) * (height - 1) / 2]]
    )
    return cv2.warpAffine(
        levels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def _quantise(levels, bits):
    top = 2**bits - 1
    return np.clip(np.rint(levels * (top / 255)), 0, top).astype(np.uint8 if bits == 8 else np.uint16)
