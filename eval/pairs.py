"""The pairs that methods are compared on: those of the paper's Tables 1 to 4, the Lytro pairs, one's own."""

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
TRUE = ("camera", "colour")  # a perfect fusion of these is known
ROLES = {"a": "a", "1": "a", "b": "b", "2": "b", "truth": "truth"}
ROLE = re.compile(rf"(.+)[_-]({'|'.join(ROLES)})", re.IGNORECASE)
BAND = 10  # pixels; the discs of the rendered pair reach as far
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
    """Two photographs of a scene, H x W or H x W x 3 uint8, and the scene sharp throughout or None."""

    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray | None


class Files(NamedTuple):
    """A pair of files; truth: the scene sharp throughout, where it is known."""

    name: str
    a: Path
    b: Path
    truth: Path | None = None

    def __str__(self):
        return self.name


def within(folder, without=None) -> tuple[list[Files], dict[str, str]]:
    """(pairs, {name: why it is none}) of a folder and its subfolders, those that are linked too.

    A pair is NAME_A and NAME_B (or NAME_1 and NAME_2), with NAME_truth for its perfect fusion, or the two
    images of a folder that has no others. without: a folder to leave out; hidden ones are left out too.
    """
    base = Path(folder).resolve().parent
    named: dict[Path, dict[str, list[Path]]] = {}
    others: dict[Path, list[Path]] = {}
    for path in _images(Path(folder), without):
        match = ROLE.fullmatch(path.stem)
        if match:
            roles = named.setdefault(path.parent / match[1], {})
            roles.setdefault(ROLES[match[2].lower()], []).append(path)
        else:
            others.setdefault(path.parent, []).append(path)

    def name_of(path):
        return Path(os.path.relpath(path, base)).as_posix()  # of linked folders: by ..

    found, none = [], {}
    for at, roles in sorted(named.items()):
        twice = next((paths for paths in roles.values() if len(paths) > 1), None)
        if twice:
            none[name_of(at)] = f"{twice[0].name} and {twice[1].name} are the same image of one pair"
        elif {"a", "b"} <= set(roles):
            found.append(Files(name_of(at), *(roles.get(role, [None])[0] for role in ("a", "b", "truth"))))
        else:
            none[name_of(at)] = f"{next(iter(roles.values()))[0].name} is without its other image"
    beside = {at.parent for at in named}
    for at, paths in sorted(others.items()):
        if len(paths) == 2 and at not in beside:
            found.append(Files(name_of(at), *paths))
        else:
            none.update((name_of(path), "neither NAME_A nor one of two alone in a folder") for path in paths)
    return found, none


def _images(folder, without):
    """The images below a folder, by their resolved paths, those of each folder in order."""
    searched = {Path(without).resolve()} if without else set()
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


def load(name) -> Pair:
    """Of a pair of TABLES, a name of data_prep/fetch.py or Files.

    OSError where it cannot be had, ValueError where its images are not alike.
    """
    if isinstance(name, Files):
        pair = Pair(*(images.read(path) if path else None for path in name[1:]))
        for path, image in zip(name[2:], pair[1:]):
            if image is not None and (image.shape != pair.a.shape or image.dtype != pair.a.dtype):
                kinds = [frames.describe(x.shape, x.dtype) for x in (pair.a, image)]
                raise ValueError(f"{name.a} is {kinds[0]}, {path} is {kinds[1]}")
        return pair
    if name == "camera":
        return camera()
    if name == "colour":
        return Pair(*depth_pair.render_depth_pair())
    found = [images.read(path) for path in fetch.pair_files("classic/" + name if "/" not in name else name)]
    return Pair(found[0], found[1], None)


def outlines(name) -> np.ndarray:
    """H x W bool: within BAND pixels of where depth jumps in a pair of TRUE, where halos and seams are."""
    if name == "camera":
        depth = photographer().astype(np.float32)
        jump = 0.5
    else:
        depth = depth_pair.scene()[1]
        jump = depth_pair.SHARP / 2  # disparities: half of what takes a thing out of focus
    side = np.ones((3, 3), np.uint8)
    steps = cv2.dilate(depth, side) - cv2.erode(depth, side) > jump
    return cv2.dilate(steps.astype(np.uint8), np.ones((2 * BAND + 1,) * 2, np.uint8)) > 0


def camera() -> Pair:
    """3.3.4: trunk, head and right arm of a photographer out of focus, and all else, 256x256 gray.

    The paper's photograph cannot be shipped; scikit-image bundles another photographer's, CC0. Blurred by
    the paper's recipe (3.1).
    """
    import skimage.data

    path = Path(skimage.data.__file__).parent / "camera.png"
    sharp = cv2.resize(images.read(path), (256, 256), interpolation=cv2.INTER_AREA)
    a, b, sharp = RECIPES["paper"](np.dstack([sharp] * 3), photographer() > 0, np.random.default_rng(1))
    return Pair(*(np.ascontiguousarray(x[..., 0]) for x in (a, b, sharp)))


def photographer() -> np.ndarray:
    """256 x 256 uint8: 1 where the photographer's trunk, head and right arm are."""
    outline = [tuple(map(int, point.split(","))) for point in PHOTOGRAPHER.split()]
    return cv2.fillPoly(np.zeros((256, 256), np.uint8), [np.array(outline, np.int32)], 1)
