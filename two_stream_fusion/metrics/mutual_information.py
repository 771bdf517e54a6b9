"""MI: how much of the sources' information the fused image holds.

Default, the paper's convention: normalised mutual information
    MI = 2 [ I(A;F) / (H(A) + H(F)) + I(B;F) / (H(B) + H(F)) ]
of M. Hossny, S. Nahavandi, D. Creighton, Comments on "Information measure for performance of image fusion",
Electronics Letters 44(18), 2008, DOI 10.1049/el:20081754; histograms of 256 bins, log2.

Range 0..2 for two sources, 2 for A = B = F; for n sources the sum has n terms and the range is 0..n. One
source returned as the result scores 1.2 to 1.4 on real pairs: a high MI alone is no evidence of good fusion.
Where a source and the fused image are both constant their term is 0/0 and MI is NaN: score.py prints nan
(null in JSON), and a mean over images that holds one is NaN too, so that it is not overlooked.

Variants: MI_bits and MI_nats, I(A;F) + I(B;F) without normalisation: G. Qu, D. Zhang, P. Yan, Information
measure for performance of image fusion, Electronics Letters 38(7), 2002, DOI 10.1049/el:20020212. That paper
names no base; papers report either. Their range is open upward (2 H(F) at most for two sources).
Elsewhere: the public MATLAB toolboxes first stretch every image to 0..255 by its minimum and maximum. This
relabels levels and leaves MI as it is, except on a constant image, where it divides by zero.
"""

from __future__ import annotations

import math
from typing import Iterable

import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.entropy import entropy_of_histogram, histogram


def mutual_information(*images: np.ndarray) -> float:
    """MI: normalised mutual information.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..n for n sources; NaN where a term is 0/0.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    return normalised(histogram(source, fused) for source in sources)


def mutual_information_bits(*images: np.ndarray) -> float:
    """MI_bits: I(A;F) + I(B;F) with log2.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Bits, from 0 upward.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    return sum(_entropies(histogram(source, fused))[0] for source in sources)


def mutual_information_nats(*images: np.ndarray) -> float:
    """MI_nats: I(A;F) + I(B;F) with the natural logarithm.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Nats, from 0 upward.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    return mutual_information_bits(*images) * math.log(2)


def normalised(joints: Iterable[np.ndarray]) -> float:
    """MI of joint histograms.

    Args:
        joints: for each source 256 x 256 counts, the source's levels x the fused image's.

    Returns:
        As `mutual_information`.
    """
    total = 0.0
    for joint in joints:
        shared, both = _entropies(joint)
        total += 2 * shared / both if both > 0 else math.nan
    return total


def _entropies(joint):
    """I(X;F) and H(X) + H(F) in bits."""
    both = entropy_of_histogram(joint.sum(1)) + entropy_of_histogram(joint.sum(0))
    return max(both - entropy_of_histogram(joint), 0.0), both
