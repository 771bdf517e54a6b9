"""The six fusion metrics of the paper and named variants of them.

Every metric is a function metric(a, b, fused) -> float of arrays H x W (gray) or H x W x 3 (RGB), uint8 or
uint16, of one shape and dtype (preprocess.prepare says what else is an error: ValueError). All are defined on
8-bit gray levels in float64; RGB becomes Rec.601 luma, and uint16 levels count as v * 255 / 65535 (rounded
for the histograms of IE and MI). Larger is better. More sources may stand before the fused image. Each file
says where its metrics come from, their range and what other toolboxes do differently.

METRICS   {name: function}, the columns of every table: the six of the paper's in their order, then others
VARIANTS  {name: function}, other toolboxes' forms, which `eval/score.py --variants` adds and no table has
evaluate  all of METRICS at once
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from two_stream_fusion.metrics import entropy, mutual_information, piella, preprocess, xydeas

METRICS = {
    "IE": entropy.entropy,
    "MI": mutual_information.mutual_information,
    "Qabf": xydeas.qabf,
    "Q": piella.q,
    "Qw": piella.qw,
    "Qe": piella.qe,
}

VARIANTS = {
    "MI_bits": mutual_information.mutual_information_bits,
    "MI_nats": mutual_information.mutual_information_nats,
    "Qabf_hong": xydeas.qabf_hong,
    "Qabf_2012": xydeas.qabf_2012,
    "Q_gaussian": piella.q_gaussian,
    "Qw_gaussian": piella.qw_gaussian,
    "Qe_gaussian": piella.qe_gaussian,
    "Qe_edge": piella.qe_edge,
}


def evaluate(*images: np.ndarray, names: Sequence[str] | None = None) -> dict[str, float]:
    """Compute all of METRICS; the six share what they have in common.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.
        names: what errors call the images; A, B, C, ... and F if None.

    Returns:
        {name: value}, in the order of METRICS.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images, names=names)
    joints = [entropy.histogram(source, fused) for source in sources]
    q, qw, qe = piella.evaluate_gray(sources, fused)
    six = {
        "IE": entropy.entropy_of_histogram(joints[0].sum(0)),
        "MI": mutual_information.normalised(joints),
        "Qabf": xydeas.evaluate_gray(sources, fused),
        "Q": q,
        "Qw": qw,
        "Qe": qe,
    }
    return {name: six[name] if name in six else metric(*images) for name, metric in METRICS.items()}
