"""Finding and reading the photographs that training pairs are made from."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import ImageOps, UnidentifiedImageError

from two_stream_fusion.io.decode import open_with_pillow

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
BITS_PER_SAMPLE = 258  # a tag of TIFF
NEEDED = "8 bit gray or RGB is needed"
LARGEST = 64_000_000  # pixels; a photograph takes about 45 bytes of memory for each while it is in work
# Sharp ones inside scikit-image; not `camera`, once the cameraman of the tests, nor `motorcycle`, the demo's.
BUNDLED = """
    astronaut.png brick.png chelsea.png coffee.png coins.png grass.png gravel.png
    hubble_deep_field.jpg ihc.png rocket.jpg
"""


def find(folder, unreadable=None) -> list[tuple[str, str | None]]:
    """(photograph, mask or None) below `folder`, in the order of their names.

    NAME.png beside a photograph NAME of another format is its mask, not a photograph; .PNG is .png. Links to
    folders are followed, each folder is searched once. unreadable: called with the OSError of every folder
    that cannot be read.
    """
    found, searched = [], {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders)}
        fresh = {path: name for name, path in reversed(real.items()) if path not in searched}
        folders[:] = sorted(fresh.values())
        searched.update(fresh)
        names = [(name, *os.path.splitext(name)) for name in sorted(files) if not name.startswith(".")]
        names = [(name, stem, ending.lower()) for name, stem, ending in names if ending.lower() in ENDINGS]
        others = {stem for _, stem, ending in names if ending != ".png"}
        masks = {stem: name for name, stem, ending in names if ending == ".png" and stem in others}
        for name, stem, ending in names:
            if ending != ".png" or stem not in others:
                mask = masks.get(stem)
                found.append((os.path.join(parent, name), mask and os.path.join(parent, mask)))
    return found


def fingerprint(sources, root) -> dict:
    """What tells the files of `find` from others without reading them: their names below the folder `root`,
    sizes and times. {"files": how many, photographs and masks, "sha256": of all that}."""
    files = [path for pair in sources for path in pair if path and os.path.exists(path)]
    stats = [(os.path.relpath(path, root), os.stat(path)) for path in files]
    text = "".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in stats)
    return {"files": len(files), "sha256": hashlib.sha256(os.fsencode(text)).hexdigest()}


def bundled() -> list[tuple[str, None]]:
    """The photographs that come inside scikit-image."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [(str(folder / name), None) for name in BUNDLED.split() if (folder / name).exists()]


def read(path) -> tuple[np.ndarray, str]:
    """The photograph as H x W x 3 uint8 RGB, upright, and the sha256 of its file.

    A gray one has three equal channels. ValueError says why a file cannot serve.
    """
    data = Path(path).read_bytes()
    try:
        image = open_with_pillow(io.BytesIO(data))
        if image.width * image.height > LARGEST:
            raise ValueError(f"{image.width}x{image.height} is over {LARGEST // 10**6} megapixels; scale it")
        bits = _bits(image, data)
        if bits > 8:
            raise ValueError(f"{bits} bit pixels; {NEEDED}")
        if image.mode not in ("1", "L", "P", "RGB", "RGBA", "LA"):
            raise ValueError(f"{image.mode} pixels; {NEEDED}")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ValueError("an animation or a file of several pages")
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except ValueError:
        raise
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*"):
            raise ValueError(f"a TIFF of floats, or another that Pillow cannot read; {NEEDED}") from None
        raise ValueError("cannot be read: cannot identify what kind of image it is") from None
    except Exception as error:  # Pillow's decoders raise many kinds for damaged and oversized files
        raise ValueError(f"cannot be read: {error}") from None
    return pixels, hashlib.sha256(data).hexdigest()


def _bits(image, data):
    """The bits of a sample as the file has them: Pillow gives 16 bit colours as the upper 8, unasked."""
    if image.format == "PNG":
        return data[24]
    return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) if image.format == "TIFF" else 8


def read_mask(path, shape) -> np.ndarray:
    """The object region, H x W bool: where the mask is over 127. ValueError where it does not fit."""
    image = read(path)[0]
    if (image != image[..., :1]).any():
        raise ValueError("a coloured image is no mask")
    mask = image[..., 0] > 127
    if mask.shape != tuple(shape):
        raise ValueError(f"mask of {mask.shape[1]}x{mask.shape[0]}, photograph of {shape[1]}x{shape[0]}")
    if not mask.any() or mask.all():
        raise ValueError("a mask without, or with nothing but, pixels over 127")
    return mask
