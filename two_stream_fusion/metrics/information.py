"""CE, TE, Qncie: metrics of histograms beside IE (entropy.py) and MI (mutual_information.py).

Histograms have 256 bins; p are their frequencies.
CE     cross entropy, the mean over the sources X of sum p_X log2(p_X / p_F), a Kullback-Leibler distance in
       bits. Bins that X or F does not have are left out. Less is better.
       D. M. Bulanon, T. F. Burks, V. Alchanatis, Image fusion of visible and thermal images for fruit
       detection, 2009, DOI 10.1016/j.biosystemseng.2009.02.009.
TE     mutual information by Tsallis entropy of order q = 0.43137, normalised:
           TE = (I(A,F) + I(B,F)) / (H(A)^q + H(B)^q + I(A,B)),
           I(X,Y) = (1 - sum p_XY^q / (p_X p_Y)^(q-1)) / (1 - q)
       with Shannon's H in bits. R. Nava, G. Cristobal, B. Escalante-Ramirez, Mutual information improves
       image fusion quality assessments, SPIE Newsroom, 2007, on TE_Cvejic.
Qncie  nonlinear correlation information entropy: 1 + sum (l / K) log_256(l / K) over the eigenvalues l of
       the K x K matrix of nonlinear correlations of sources and fused image, 1 on its diagonal, elsewhere
       NCC(X,Y) = H(X) + H(Y) - H(X,Y) with log_256.
       Q. Wang, Y. Shen, J. Jin, Performance evaluation of image fusion techniques, in Image Fusion:
       Algorithms and Applications, 2008, DOI 10.1016/B978-0-12-372529-5.00017-2.

Range: CE from about 0 to log2 of the number of pixels; below 0 it can be, because bins are left out. TE from
0 upward. Qncie 0.8019..1 for two sources: 1 - log_256 K and more. A 0/0 is NaN (TE of constant sources);
0 log 0 is 0.

Variants:
TE_Cvejic  I(A,F) + I(B,F) with q = 1.85, without normalisation. N. Cvejic, C. N. Canagarajah, D. R. Bull,
           Image fusion metric based on mutual information and Tsallis entropy, 2006,
           DOI 10.1049/el:20060693.
TE_2012    TE of the public toolbox (Z. Liu et al., DOI 10.1109/TPAMI.2011.109), which MFIFB uses. It takes
           the two marginal distributions for one another: p_Y(x) p_X(y) takes the place of p_X(x) p_Y(y),
           terms where that is 0 are left out, and the levels, stretched to 0..255 first, matter.
Elsewhere: toolboxes stretch the images first; this relabels levels and leaves TE and Qncie as they are. The
root of the mean of squares is the other mean of CE in the literature; benchmarks have the plain one. In the
toolbox of 2012 an eigenvalue of 0 makes Qncie NaN.
"""

from __future__ import annotations

import math

import numpy as np

from two_stream_fusion.metrics import preprocess
from two_stream_fusion.metrics.entropy import entropy_of_histogram, histogram

_ORDER_NAVA = 0.43137
_ORDER_CVEJIC = 1.85


def cross_entropy(*images: np.ndarray) -> float:
    """CE: mean Kullback-Leibler distance of the sources' histograms to that of the fused image.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Bits; less is better, 0 for equal histograms.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    f = histogram(fused)
    total = 0.0
    for source in sources:
        p = histogram(source)
        both = (p > 0) & (f > 0)
        total += float((p[both] * np.log2(p[both] / f[both])).sum()) / fused.size
    return total / len(sources)


def tsallis(*images: np.ndarray) -> float:
    """TE: normalised mutual information by Tsallis entropy.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        From 0 upward; NaN where both sources are constant.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for more than two sources.
    """
    return _normalised_tsallis(_tsallis_information, *preprocess.prepare_pair(*images))


def tsallis_2012(*images: np.ndarray) -> float:
    """TE_2012: TE of the toolbox of 2012.

    Args:
        images: source A, source B and the fused image, as `preprocess.prepare` takes them.

    Returns:
        A number near TE; NaN where all images are constant and equal.

    Raises:
        ValueError: as `tsallis` raises it.
    """
    a, b, fused = (preprocess.stretch(x).astype(np.uint8) for x in preprocess.prepare_pair(*images))
    return _normalised_tsallis(_tsallis_information_2012, a, b, fused)


def tsallis_cvejic(*images: np.ndarray) -> float:
    """TE_Cvejic: the sum of the Tsallis information of order 1.85, without normalisation.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        From 0 upward.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    return sum(_tsallis_information(histogram(source, fused), _ORDER_CVEJIC) for source in sources)


def nonlinear_correlation(*images: np.ndarray) -> float:
    """Qncie: how much sources and fused image depend on one another, by the entropy of eigenvalues.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        1 - log_256(n + 1)..1 for n sources: 0.8019..1 for two.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    every = [*sources, fused]
    correlations = np.eye(len(every))
    for i, first in enumerate(every):
        for j, second in enumerate(every[:i]):
            joint = histogram(first, second)
            bits = entropy_of_histogram(joint.sum(0)) + entropy_of_histogram(joint.sum(1))
            correlations[i, j] = correlations[j, i] = (bits - entropy_of_histogram(joint)) / 8
    # By its definition the matrix may have eigenvalues a little below 0; they hold no information.
    shares = np.linalg.eigvalsh(correlations) / len(every)
    shares = shares[shares > 0]
    return float(1 + (shares * np.log2(shares)).sum() / 8)


def _normalised_tsallis(information, a, b, fused):
    between = histogram(a, b)
    shared = sum(information(histogram(x, fused), _ORDER_NAVA) for x in (a, b))
    total = sum(entropy_of_histogram(between.sum(axis)) ** _ORDER_NAVA for axis in (0, 1))
    total += information(between, _ORDER_NAVA)
    return shared / total if total else math.nan


def _tsallis_information(joint, order):
    """Tsallis' mutual information of a joint histogram."""
    p = joint / joint.sum()
    rows, columns = np.nonzero(p)
    independent = p.sum(1)[rows] * p.sum(0)[columns]
    return _tsallis_sum(p[rows, columns], independent, order)


def _tsallis_information_2012(joint, order):
    """The same with marginal distributions that are taken for one another."""
    p = joint / joint.sum()
    swapped = np.outer(p.sum(0), p.sum(1))
    rows, columns = np.nonzero((p > 0) & (swapped > 0))
    return _tsallis_sum(p[rows, columns], swapped[rows, columns], order)


def _tsallis_sum(together, independent, order):
    total = (together**order / independent ** (order - 1)).sum()
    return float((1 - total) / (1 - order))
