"""The pairs that methods are compared on: of the paper's Tables 1 to 4, of Lytro, and the user's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_prep import depth_pair, fetch
from data_prep.recipes import RECIPES
from two_stream_fusion.io import images
from two_stream_fusion.stack import frames

TABLES = {1: "clock", 2: "pepsi", 3: "camera", 4: "colour"}
LYTRO = tuple(f"lytro-tif/lytro-{i:02d}" for i in range(1, 14))
WITH_GROUND_TRUTH = ("camera", "colour")
ROLES = {"a": "a", "1": "a", "b": "b", "2": "b", "truth": "truth"}
ROLE = re.compile(rf"(.+)[_-]({'|'.join(ROLES)})", re.IGNORECASE)
BAND = 10  # pixels: the largest blur radius of the rendered pair
NOTES = {
    "camera": "stand-in: scikit-image's photographer, trunk, head and right arm blurred as in 3.3.4",
    "colour": "stand-in: scikit-image's motorcycle, rendered as a lens sees it from its depth",
}
# The photographer's trunk, head and right arm in his 256x256 photograph, as x, y around the outline.
PHOTOGRAPHER = """
    80,52 82,46 90,36 102,32 116,37 128,46 134,54 134,62 128,66 126,75 128,82 122,92 116,98 121,102 121,111
    115,118 104,126 113,128 106,140 103,148 90,168 70,192 0,192 0,121 10,112 20,95 30,77 46,66 64,62 70,56
"""


class Pair(NamedTuple):
    """Two photographs of a scene and its ground truth, H x W or H x W x 3, of one shape and dtype."""

    a: np.ndarray
    b: np.ndarray
    ground_truth: np.ndarray | None  # the scene in focus throughout, where it is known


class Files(NamedTuple):
    """The files of a pair."""

    name: str
    a: Path
    b: Path
    ground_truth: Path | None = None

    def __str__(self):
        return self.name


def find_pairs(folder: str | Path, skip: str | Path | None = None) -> tuple[list[Files], dict[str, str]]:
    """Find the pairs of a folder and its subfolders; links are followed, hidden folders are not searched.

    A pair is NAME_A and NAME_B (or NAME_1 and NAME_2), with NAME_truth for its ground truth, or the two
    images of a folder that has no others.

    Args:
        folder: where to search.
        skip: a folder to leave out.

    Returns:
        The pairs, and {name: why it is no pair} of all other images.
    """
    base = Path(folder).resolve().parent
    named: dict[Path, dict[str, list[Path]]] = {}
    others: dict[Path, list[Path]] = {}
    for path in _images(Path(folder), skip):
        match = ROLE.fullmatch(path.stem)
        if match:
            roles = named.setdefault(path.parent / match[1], {})
            roles.setdefault(ROLES[match[2].lower()], []).append(path)
        else:
            others.setdefault(path.parent, []).append(path)

    def relative_name(path):
        return Path(os.path.relpath(path, base)).as_posix()  # of linked folders: by ..

    found, rejected = [], {}
    for stem, roles in sorted(named.items()):
        twice = next((paths for paths in roles.values() if len(paths) > 1), None)
        name = relative_name(stem)
        if twice:
            rejected[name] = f"{twice[0].name} and {twice[1].name} are the same image of one pair"
        elif {"a", "b"} <= set(roles):
            found.append(Files(name, *(roles.get(role, [None])[0] for role in ("a", "b", "truth"))))
        else:
            rejected[name] = f"{next(iter(roles.values()))[0].name} is without its other image"
    folders_of_named = {stem.parent for stem in named}
    for parent, paths in sorted(others.items()):
        if len(paths) == 2 and parent not in folders_of_named:
            found.append(Files(relative_name(parent), *paths))
        else:
            reason = "neither NAME_A nor one of two alone in a folder"
            rejected.update((relative_name(path), reason) for path in paths)
    return found, rejected


def _images(folder, skip):
    """The images below a folder, by their resolved paths, sorted within each folder."""
    searched = {Path(skip).resolve()} if skip else set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(parent).resolve() in searched:
            folders[:] = []
            continue
        searched.add(Path(parent).resolve())
        for name in sorted(files):
            path = Path(parent).resolve() / name
            if path.suffix.lower() in frames.ENDINGS and not name.startswith("."):
                yield path


def load(name: str | Files) -> Pair:
    """Load or make a pair.

    Args:
        name: a pair of TABLES, a name of data_prep/fetch.py, or Files.

    Returns:
        Its images.

    Raises:
        OSError: a file cannot be fetched or read.
        ValueError: the images of Files differ in shape or dtype.
    """
    if isinstance(name, Files):
        pair = Pair(*(images.read(path) if path else None for path in name[1:]))
        for path, image in zip(name[2:], pair[1:]):
            if image is not None and (image.shape != pair.a.shape or image.dtype != pair.a.dtype):
                kinds = [frames.describe(x.shape, x.dtype) for x in (pair.a, image)]
                raise ValueError(f"{name.a} is {kinds[0]}, {path} is {kinds[1]}")
        return pair
    if name == "camera":
        return make_camera_pair()
    if name == "colour":
        return Pair(*depth_pair.render_depth_pair())
    found = [images.read(path) for path in fetch.pair_files("classic/" + name if "/" not in name else name)]
    return Pair(found[0], found[1], None)


def outline_mask(name: str) -> np.ndarray:
    """Mark the surroundings of depth edges, where halos and seams are.

    Args:
        name: a pair of WITH_GROUND_TRUTH.

    Returns:
        H x W bool: within BAND pixels of a jump in depth.
    """
    if name == "camera":
        depth = photographer_mask().astype(np.float32)
        jump = 0.5
    else:
        depth = depth_pair.scene()[1]
        jump = depth_pair.SHARP / 2  # disparities: half of what takes a thing out of focus
    side = np.ones((3, 3), np.uint8)
    steps = cv2.dilate(depth, side) - cv2.erode(depth, side) > jump
    return cv2.dilate(steps.astype(np.uint8), np.ones((2 * BAND + 1,) * 2, np.uint8)) > 0


def make_camera_pair() -> Pair:
    """Make the stand-in for the paper's Camera pair (3.3.4), 256 x 256 uint8.

    Trunk, head and right arm of a photographer are out of focus in one image, and all else in the other. The
    paper's photograph cannot be shipped; scikit-image bundles one of another photographer, CC0. It is blurred
    by the paper's recipe (3.1).
    """
    import skimage.data

    path = Path(skimage.data.__file__).parent / "camera.png"
    sharp = cv2.resize(images.read(path), (256, 256), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(1)
    a, b, sharp = RECIPES["paper"](np.dstack([sharp] * 3), photographer_mask() > 0, rng)
    return Pair(*(np.ascontiguousarray(x[..., 0]) for x in (a, b, sharp)))


def photographer_mask() -> np.ndarray:
    """256 x 256 uint8: 1 where the photographer's trunk, head and right arm are."""
    outline = [tuple(map(int, point.split(","))) for point in PHOTOGRAPHER.split()]
    return cv2.fillPoly(np.zeros((256, 256), np.uint8), [np.array(outline, np.int32)], 1)
