"""Finding and reading the photographs that training pairs are made from."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

import numpy as np
from PIL import ImageOps, UnidentifiedImageError

from data_prep import fetch
from two_stream_fusion.base.files import check_regular
from two_stream_fusion.io.decode import open_with_pillow

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
BITS_PER_SAMPLE = 258  # a tag of TIFF
SUPPORTED = "8 bit gray or RGB is needed"
MAX_PIXELS = 64_000_000  # a photograph takes about 45 bytes of memory for each while it is processed
# Sharp ones inside scikit-image; not `camera`, once the cameraman of the tests, nor `motorcycle`, the demo's.
BUNDLED = """
    astronaut.png brick.png chelsea.png coffee.png coins.png grass.png gravel.png
    hubble_deep_field.jpg ihc.png rocket.jpg
"""
OnError = Callable[[OSError], None]


class SourcePhotograph(NamedTuple):
    """A file that may serve as a photograph, and the mask of its object where it has one."""

    path: str
    mask: str | None = None


class TrainingSet(NamedTuple):
    """Photographs, the folder they are in, and where they come from in words."""

    photographs: list[SourcePhotograph]
    folder: str
    description: str


def training_photographs(photos: str | None = None, unreadable: OnError | None = None) -> TrainingSet:
    """Find the photographs to train on.

    Args:
        photos: a folder. By default the photographs that ``data_prep/fetch.py train`` has fetched, if all are
            there; else those or the ones in the folder train of FUSION_DATA, whichever are more; else those
            inside scikit-image.
        unreadable: called with the error of every folder that cannot be read.

    Returns:
        The photographs, their folder and a description for people.

    Raises:
        ValueError: `photos` is not a folder, or no photographs exist.
    """
    if photos:
        if not os.path.isdir(photos):
            raise ValueError(f"{photos}: no such folder")
        return TrainingSet(find(photos, unreadable), photos, photos)
    fetched, missing = _fetched_photographs(unreadable)
    data = os.environ.get("FUSION_DATA")
    folder = os.path.join(data, "train") if data else None
    local = find(folder, unreadable) if folder and os.path.isdir(folder) else []
    if fetched and (not missing or len(fetched) >= len(local)):
        note = f"; {missing} files are missing: data_prep/fetch.py train resumes" if missing else ""
        return TrainingSet(fetched, str(fetch.ROOT / "train"), f"build/photos/train (fetched{note})")
    if local:
        return TrainingSet(local, folder, "the training photographs of FUSION_DATA")
    sources = bundled_photographs()
    if not sources:
        raise ValueError("no photographs: give --photos DIR, or run data_prep/fetch.py train")
    note = f"; FUSION_DATA has none: {folder}" if data else ""
    description = f"the photographs inside scikit-image (PHOTOS=DIR uses yours{note})"
    return TrainingSet(sources, os.path.dirname(sources[0].path), description)


def _fetched_photographs(unreadable):
    """What `data_prep/fetch.py train` has fetched, and how many files are missing."""
    folder, files = fetch.ROOT / "train", [Path(file).name for file in fetch.list_files("train")]
    masks = {name for name in files if name.endswith(".png")}  # no photographs where theirs are missing
    sources = find(folder, unreadable) if folder.is_dir() else []
    sources = [source for source in sources if Path(source.path).name not in masks]
    return sources, sum(not (folder / name).is_file() for name in files)


def find(folder: str | Path, unreadable: OnError | None = None) -> list[SourcePhotograph]:
    """Find the photographs below a folder, and their masks.

    NAME.png beside a photograph NAME of another format is its mask, not a photograph; .PNG is .png. Links to
    folders are followed, each folder is searched once.

    Args:
        folder: where to search, in depth.
        unreadable: called with the error of every folder that cannot be read.

    Returns:
        The photographs in the order of their names.
    """
    sources, searched = [], {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders)}
        new = {path: name for name, path in reversed(real.items()) if path not in searched}
        folders[:] = sorted(new.values())
        searched.update(new)
        names = [(name, *os.path.splitext(name)) for name in sorted(files) if not name.startswith(".")]
        names = [(name, stem, suffix.lower()) for name, stem, suffix in names if suffix.lower() in SUFFIXES]
        others = {stem for _, stem, suffix in names if suffix != ".png"}
        masks = {stem: name for name, stem, suffix in names if suffix == ".png" and stem in others}
        for name, stem, suffix in names:
            if suffix != ".png" or stem not in others:
                mask = masks.get(stem)
                mask = mask and os.path.join(parent, mask)
                sources.append(SourcePhotograph(os.path.join(parent, name), mask))
    return sources


def fingerprint(sources: Iterable[SourcePhotograph], root: str | Path) -> dict:
    """Tell a set of files from others, by their names and contents.

    Args:
        sources: photographs and masks, as of `find`.
        root: the folder that their names are relative to.

    Returns:
        {"files": number of photographs and masks, "sha256": of their names and contents}.
    """
    files = [path for source in sources for path in source if path and os.path.exists(path)]
    digest = hashlib.sha256()
    for path in files:
        try:
            check_regular(path)
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except (OSError, ValueError):  # the build names and skips it
            content = "unreadable"
        digest.update(os.fsencode(f"{os.path.relpath(path, root)}\0{content}\n"))
    return {"files": len(files), "sha256": digest.hexdigest()}


def bundled_photographs() -> list[SourcePhotograph]:
    """The photographs that come inside scikit-image."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [SourcePhotograph(str(folder / name)) for name in BUNDLED.split() if (folder / name).exists()]


def read(path: str | Path) -> tuple[np.ndarray, str]:
    """Read a photograph, upright.

    Returns:
        H x W x 3 uint8 RGB (a gray photograph has three equal channels), and the sha256 of the file.

    Raises:
        ValueError: why the file cannot serve.
        OSError: it cannot be opened.
    """
    check_regular(path)
    data = Path(path).read_bytes()
    try:
        image = open_with_pillow(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            limit = f"over {MAX_PIXELS // 10**6} megapixels"
            raise ValueError(f"{image.width}x{image.height} is {limit}; scale it")
        bits = _bits(image, data)
        if bits > 8:
            raise ValueError(f"{bits} bit pixels; {SUPPORTED}")
        if image.mode not in ("1", "L", "P", "RGB", "RGBA", "LA"):
            raise ValueError(f"{image.mode} pixels; {SUPPORTED}")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ValueError("an animation or a file of several pages")
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except ValueError:
        raise
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):
            raise ValueError(f"a TIFF of floats, or another that Pillow cannot read; {SUPPORTED}") from None
        raise ValueError("cannot be read: cannot identify what kind of image it is") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged and oversized files
        raise ValueError(f"cannot be read: {error}") from None
    return pixels, hashlib.sha256(data).hexdigest()


def _bits(image, data):
    """The bits of a sample in the file: Pillow reduces 16 bit colours to their upper 8 without a word."""
    if image.format == "PNG":
        return data[24]
    return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) if image.format == "TIFF" else 8


def read_mask(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """Read the object region of a photograph of a shape (H, W).

    Args:
        path: of the mask, a gray image.
        shape: (H, W) of the photograph.

    Returns:
        H x W bool: where the mask is over 127.

    Raises:
        ValueError: why the mask does not fit.
    """
    image = read(path)[0]
    if (image != image[..., :1]).any():
        raise ValueError("a coloured image cannot be a mask")
    mask = image[..., 0] > 127
    if mask.shape != tuple(shape):
        raise ValueError(f"mask of {mask.shape[1]}x{mask.shape[0]}, photograph of {shape[1]}x{shape[0]}")
    if not mask.any() or mask.all():
        raise ValueError("a mask must have pixels over 127 and others")
    return mask
