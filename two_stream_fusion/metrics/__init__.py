"""Fusion metrics: the six of the paper, those of other benchmarks, and named variants.

Every metric is a function metric(a, b, fused) -> float of arrays H x W (gray) or H x W x 3 (RGB), uint8 or
uint16, of one shape and dtype (preprocess.prepare says what else is an error: ValueError). All are defined on
8-bit gray levels in float64; RGB becomes Rec.601 luma, and uint16 levels count as v * 255 / 65535 (rounded
for histograms). registry.py says which way is better. Most take more sources before the fused image. Each
file says where its metrics come from, their range and what other toolboxes do differently. What depends on
the sources alone is kept for the next fused image (cache.py).

REGISTRY  {name: Metric}, all of them
METRICS   {name: function}, the columns of every table: the six of the paper in their order
VARIANTS  {name: function}, other toolboxes' forms
evaluate  several of them at once
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from two_stream_fusion.metrics import (
    entropy,
    local_similarity,
    mutual_information,
    piella,
    preprocess,
    registry,
    visual_information,
)
from two_stream_fusion.metrics.registry import REGISTRY, is_higher_better, select_names

__all__ = ["METRICS", "REGISTRY", "VARIANTS", "evaluate", "is_higher_better", "select_names"]

METRICS = {name: metric.function for name, metric in REGISTRY.items() if metric.group == registry.PAPER}
VARIANTS = {name: metric.function for name, metric in REGISTRY.items() if metric.group == registry.VARIANT}


def evaluate(
    *images: np.ndarray, names: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> dict[str, float]:
    """Compute several metrics; the six of the paper share what they have in common, and so do others.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.
        names: what errors call the images; A, B, C, ... and F if None.
        columns: names of REGISTRY; those of METRICS if None.

    Returns:
        {name: value}, in the order of `columns`.

    Raises:
        ValueError: as `preprocess.prepare` and the metrics raise it.
    """
    sources, fused = preprocess.prepare(*images, names=names)
    columns = list(METRICS) if columns is None else columns
    shared: dict[str, float] = {}
    if len({"IE", "EN", "MI", "NMI"} & set(columns)) > 1:
        joints = [entropy.histogram(source, fused) for source in sources]
        shared["IE"] = shared["EN"] = entropy.entropy_of_histogram(joints[0].sum(0))
        shared["MI"] = shared["NMI"] = mutual_information.normalised(joints)
    if len({"Q", "Qw", "Qe"} & set(columns)) > 1:
        shared.update(zip(("Q", "Qw", "Qe"), _named("Q", piella.evaluate_gray, sources, fused)))
    # The others get the gray images: colour is converted once.
    gray = [*sources, fused]
    if {"VIF", "VIFF"} <= set(columns):
        shared["VIF"], shared["VIFF"] = _named("VIF", visual_information.evaluate_gray, sources, fused)
    if {"Qc", "Qy"} <= set(columns):
        pair = _named("Qc", preprocess.prepare_pair, *gray)
        shared["Qc"], shared["Qy"] = _named("Qc", local_similarity.evaluate_gray, *pair)
    return {
        name: shared[name] if name in shared else _named(name, REGISTRY[name].function, *gray)
        for name in columns
    }


def _named(name, function, *arguments):
    """What a function returns; its ValueError names the metric."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
