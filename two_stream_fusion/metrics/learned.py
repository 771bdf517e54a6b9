"""LPIPS, DISTS, NIQE by pyiqa, if it is installed: `pip install ".[iqa]"`. Lower is better for all.

LPIPS   distance to the ground truth by features of a network. R. Zhang, P. Isola, A. A. Efros, E. Shechtman,
        O. Wang, The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018,
        DOI 10.1109/CVPR.2018.00068.
DISTS   the same, tolerant of texture. K. Ding, K. Ma, S. Wang, E. P. Simoncelli, Image quality assessment:
        unifying structure and texture similarity, 2020, DOI 10.1109/TPAMI.2020.3045810.
NIQE    distance from the statistics of natural photographs, of the fused image alone. A. Mittal,
        R. Soundararajan, A. C. Bovik, Making a completely blind image quality analyzer, 2013,
        DOI 10.1109/LSP.2012.2227726.

Range: 0 (equal images) to about 1 for LPIPS and DISTS; about 2..20 for NIQE. A gray image counts as RGB of
equal channels. The values are those of pyiqa's default models `lpips`, `dists` and `niqe`, in float32 on the
CPU. pyiqa downloads the weights of each when it is first used.
"""

from __future__ import annotations

import functools
from typing import Iterable

import numpy as np

TO_TRUTH = ("LPIPS", "DISTS")  # these need the ground truth
NAMES = (*TO_TRUTH, "NIQE")


def evaluate(names: Iterable[str], image: np.ndarray, clean: np.ndarray | None = None) -> dict[str, float]:
    """Compute some of NAMES.

    Args:
        names: those to compute. Those of TO_TRUTH are left out without `clean`.
        image: the fused image, H x W or H x W x 3 (RGB), uint8 or uint16.
        clean: the ground truth, of the same shape and dtype.

    Returns:
        {name: value}.

    Raises:
        ValueError: pyiqa is not installed, its weights cannot be loaded, or it refuses the images.
    """
    scores = {}
    for name in names:
        if name in TO_TRUTH and clean is None:
            continue
        model = _load_model(name)
        try:
            pair = [image] if name not in TO_TRUTH else [image, clean]
            scores[name] = float(model(*map(_tensor, pair)))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{name}: pyiqa refuses the image {image.shape}: {_first_line(error)}"
            ) from error
    return scores


@functools.lru_cache(maxsize=None)
def _load_model(name):
    try:
        import pyiqa
    except ImportError as error:
        raise ValueError(
            f'{name} needs pyiqa, which cannot be imported ({error}): pip install ".[iqa]"'
        ) from None
    try:
        return pyiqa.create_metric(name.lower(), device="cpu")
    except Exception as error:  # whatever a download and a damaged file raise
        raise ValueError(f"{name}: pyiqa cannot load its weights: {_first_line(error)}") from error


def _tensor(image):
    """1 x 3 x H x W float32 in 0..1."""
    import torch

    rgb = np.dstack([image] * 3) if image.ndim == 2 else image
    scaled = rgb.astype(np.float32) / np.iinfo(image.dtype).max
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1))[None])


def _first_line(error):
    return (str(error).splitlines() or [""])[0] or type(error).__name__
