"""The pairs that methods are compared on: of the paper's Tables 1 to 4, of Lytro, and the user's own."""

from __future__ import annotations

import math
import os
import re
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_prep import depth_pair, fetch
from data_prep.recipes import RECIPES
from two_stream_fusion.io import images
from two_stream_fusion.metrics.preprocess import eight_bit_originals
from two_stream_fusion.stack import align, frames

TABLES = {1: "clock", 2: "pepsi", 3: "camera", 4: "colour"}
LYTRO = tuple(f"lytro-tif/lytro-{i:02d}" for i in range(1, 14))
WITH_GROUND_TRUTH = ("camera", "colour")
SEGMENTED = (
    "voc-synthetic"  # gray pairs of other authors with the object's region; in no table, never trained on
)
ROLES = {"a": "a", "1": "a", "b": "b", "2": "b", "truth": "truth"}
ROLE = re.compile(rf"(.+)[_-]({'|'.join(ROLES)})", re.IGNORECASE)
# Names of two folders that hold the first and the second images of several scenes.
FOLDER_ROLES = (("a", "b"), ("near", "far"), ("1", "2"), ("source_1", "source_2"))
# Below it two images do not show one scene. Real pairs have 0.39 and more, images of two scenes up to 0.13.
MIN_CORRELATION = 0.25
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


def find_pairs(folder: str | Path, *skip: str | Path | None) -> tuple[list[Files], dict[str, str]]:
    """Find the pairs of a folder and its subfolders; links are followed, hidden folders are not searched.

    A pair is one of

    - NAME in the two folders of FOLDER_ROLES, such as A and B, that stand side by side and have names in
      common; NAME in a folder `truth` beside them is its ground truth;
    - NAME_A and NAME_B, or NAME_1 and NAME_2, in one folder, with NAME_truth for its ground truth;
    - the two images of a folder that has no others.

    Args:
        folder: where to search.
        skip: folders to leave out.

    Returns:
        The pairs, and {name: why it is in no pair} of all other images.
    """
    root = Path(folder).resolve()
    base = root.parent
    found_images = _images(root, skip)
    folder_roles = _folder_roles({walked for walked, _ in found_images})
    by_role: dict[tuple[bool, Path], dict[str, list[Path]]] = {}
    unpaired: dict[Path, list[Path]] = {}
    for walked, path in found_images:
        match = ROLE.fullmatch(path.stem)
        if walked.parent in folder_roles:
            key, role = (True, walked.parent.parent / path.stem), folder_roles[walked.parent]
        elif match:
            key, role = (False, path.parent / match[1]), ROLES[match[2].lower()]
        else:
            unpaired.setdefault(path.parent, []).append(path)
            continue
        by_role.setdefault(key, {}).setdefault(role, []).append(path)

    def relative_name(path):
        return Path(os.path.relpath(path, base)).as_posix()  # of linked folders: by ..

    pairs, rejected = [], {}
    for (is_by_folder, stem), roles in sorted(by_role.items(), key=lambda item: (item[0][1], item[0][0])):
        shown_name = relative_name if is_by_folder else attrgetter("name")  # alike in both folders
        twice = next((paths for paths in roles.values() if len(paths) > 1), None)
        name = relative_name(stem)
        if twice:
            rejected[name] = (
                f"{shown_name(twice[0])} and {shown_name(twice[1])} are the same image of one pair"
            )
        elif {"a", "b"} <= set(roles):
            pairs.append(Files(name, *(roles.get(role, [None])[0] for role in ("a", "b", "truth"))))
        else:
            rejected[name] = f"{shown_name(next(iter(roles.values()))[0])} is without its other image"
    folders_of_named = {stem.parent for is_by_folder, stem in by_role if not is_by_folder}
    for parent, paths in sorted(unpaired.items()):
        if len(paths) == 2 and parent not in folders_of_named:
            pairs.append(Files(relative_name(parent), *paths))
        else:
            reason = "neither NAME_A nor one of two alone in a folder"
            rejected.update((relative_name(path), reason) for path in paths)
    return pairs, rejected


def _folder_roles(paths):
    """{folder: its role} of the folders that hold one image of each pair.

    Two folders named as in FOLDER_ROLES are such folders where they have names of images in common. They are
    not where one more stands beside them, as 3 beside 1 and 2, nor where one of them holds whole pairs: then
    each is a scene.
    """
    stems: dict[Path, set[str]] = {}
    for path in paths:
        stems.setdefault(path.parent, set()).add(path.stem)
    siblings: dict[Path, dict[str, Path]] = {}
    for folder in stems:
        siblings.setdefault(folder.parent, {})[folder.name.lower()] = folder
    roles = {}
    for by_name in siblings.values():
        for first, second in FOLDER_ROLES:
            following = second[:-1] + chr(ord(second[-1]) + 1)  # c, 3, source_3; of far: no such folder
            if not {first, second} <= set(by_name) or following in by_name:
                continue
            a, b = by_name[first], by_name[second]
            if stems[a] & stems[b] and not _holds_pairs(stems[a]) and not _holds_pairs(stems[b]):
                roles.update({a: "a", b: "b"})
                if "truth" in by_name:
                    roles[by_name["truth"]] = "truth"
    return roles


def _holds_pairs(stems):
    """Whether images of a folder are pairs by their own names: near and far, x_A and x_B.

    Numbers may count scenes.
    """
    lower = {stem.lower() for stem in stems}
    halves = {stem[:-1] for stem in lower if re.fullmatch(r"(.+[_-])?a", stem)}
    return {"near", "far"} <= lower or any(half + "b" in lower for half in halves)


def _images(root, skip):
    """The images below a folder, sorted within each folder: (path by links, path without) of each."""
    searched = {Path(folder).resolve() for folder in skip if folder}
    paths = []
    for parent, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if Path(parent).resolve() in searched:
            folders[:] = []
            continue
        searched.add(Path(parent).resolve())
        for name in sorted(files):
            path = Path(parent).resolve() / name
            if path.suffix.lower() in frames.ENDINGS and not name.startswith("."):
                paths.append((Path(parent, name), path))
    return paths


def check_one_scene(name: Files, pair: Pair) -> None:
    """Check that the two photographs of a pair show one scene.

    Args:
        name: of the pair, for the message.
        pair: its images.

    Raises:
        ValueError: no motion brings the second to the first, and they are not alike in place either.
    """
    if (
        align.misalignment(pair.a, pair.b) < math.inf
        or align.correlate_images(pair.a, pair.b) >= MIN_CORRELATION
    ):
        return
    raise ValueError(f"{name.a} and {name.b} do not show one scene")


def load(name: str | Files) -> Pair:
    """Load or make a pair.

    Args:
        name: a pair of TABLES, a name of data_prep/fetch.py, or Files.

    Returns:
        Its images. Those of Files that are 16-bit copies of 8-bit images become what they are copies of, so
        that they are fused and scored alike.

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
        a, b, *truth = eight_bit_originals(*(image for image in pair if image is not None))
        return Pair(a, b, *(truth or [None]))
    if name == "camera":
        return make_camera_pair()
    if name == "colour":
        return Pair(*depth_pair.render_depth_pair())
    sources = [images.read(path) for path in fetch.pair_files("classic/" + name if "/" not in name else name)]
    return Pair(sources[0], sources[1], None)


def load_segmented(name: str) -> Pair:
    """Load a pair whose object is out of focus in a and all else in b, with the object's region.

    Both were cut along the region's outline, so the ground truth is b in the region and a elsewhere.

    Args:
        name: a pair of the set SEGMENTED.

    Returns:
        H x W x 3 uint8 images of equal channels.

    Raises:
        OSError: a file cannot be fetched or read.
    """
    label = next(file for file in fetch.list_files(name) if Path(file).stem.endswith("_label"))
    gray = [images.read(path) for path in fetch.pair_files(name)]
    a, b = (np.dstack([image] * 3) if image.ndim == 2 else image[..., :3] for image in gray)
    classes = images.read(fetch.fetch(label))  # a palette: black is class 0, the background
    region = classes.reshape(*a.shape[:2], -1)[..., :3].any(axis=2)
    return Pair(a, b, np.where(region[..., None], b, a))


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
