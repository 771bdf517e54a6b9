"""The comparison methods score what others' images and implementations of them do."""

import csv
from pathlib import Path

import numpy as np
import pytest

from eval import pairs, reference, results, tables
from two_stream_fusion import metrics
from two_stream_fusion.methods import registry

ROOT = Path(reference.__file__).resolve().parents[1]
ROWS = reference.read_rows()
NAMES = {title: name for name, title in registry.TITLES.items()}


NEEDS_PAIRS = pytest.mark.skipif("not os.environ.get('FUSION_DATA')", reason="FUSION_DATA names no pairs")
# Scores on lytro-01 with options; those without are in experiments/tables/lytro.csv.
FIRST_PAIR = {
    "DWT align=reference": (7.010914, 0.878053, 0.728075, 0.879380, 0.938481, 0.883442),
    "DWT rule=max_abs": (7.034476, 0.806688, 0.700617, 0.879411, 0.938572, 0.880277),
    "SP margin=0": (7.017763, 0.896576, 0.725225, 0.893550, 0.942089, 0.887785),
    "PSFs window=1": (7.018916, 1.116530, 0.730387, 0.888658, 0.938597, 0.880492),
    "SRCNN scale=1 levels=3 rule=max_abs": (6.993009, 0.888661, 0.722393, 0.895228, 0.942737, 0.887050),
}


def score(row, name):
    a, b, _ = results.load_pair(name)
    return metrics.evaluate(a, b, registry.fuse(NAMES[row.method], [a, b], **row.options).image)


@pytest.fixture(scope="module")
def kept():
    """{method: {pair: {metric: value}}} of experiments/tables/lytro.csv."""
    table = {}
    with open(ROOT / "experiments/tables/lytro.csv", newline="") as file:
        for line in csv.DictReader(file):
            values = {metric: float(line[metric]) for metric in metrics.METRICS}
            table.setdefault(line["method"], {})[line["pair"]] = values
    return table


@NEEDS_PAIRS
@pytest.mark.slow  # half a minute for all pairs; the two tests below hold the same on one
@pytest.mark.parametrize("row", [pytest.param(row, id=row.label) for row in ROWS])
def test_means_over_the_lytro_pairs(row):
    scores = [score(row, name) for name in pairs.LYTRO]
    assert len(scores) == 13
    ours = {metric: np.mean([of[metric] for of in scores]) for metric in metrics.METRICS}
    assert reference.largest_difference(ours, row.values) < reference.TOLERANCE


@pytest.mark.parametrize("row", [pytest.param(row, id=row.label) for row in ROWS if not row.options])
def test_kept_means_are_near_the_published(row, kept):
    scores = kept[row.method]
    assert len(scores) == 13
    ours = {metric: np.mean([of[metric] for of in scores.values()]) for metric in metrics.METRICS}
    assert reference.largest_difference(ours, row.values) < reference.TOLERANCE


@NEEDS_PAIRS
@pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=r.label, marks=[pytest.mark.slow] if r.method == "CNN" else []) for r in ROWS],
)
def test_the_first_lytro_pair_scores_as_kept(row, kept):
    name = pairs.LYTRO[0]
    expected = kept[row.method][name]
    if row.options:
        expected = dict(zip(metrics.METRICS, FIRST_PAIR[row.label]))
    assert score(row, name) == pytest.approx(expected, abs=1e-4)


def test_every_method_of_the_paper_is_compared_with_a_reference():
    methods = {row.method for row in ROWS}
    assert methods >= {row.title for row in registry.METHODS.values() if row.in_paper} - {"Ours"}
    assert methods <= set(NAMES) - {"Ours"}
    assert set(tables.read_published("lytro_tables.csv")) == {row.method for row in ROWS if not row.options}


@pytest.fixture
def small(monkeypatch):
    """Two pairs of noise in the place of the Lytro pairs, and what LP scores on them as theirs."""
    rng = np.random.default_rng(0)
    images = {name: pairs.Pair(*rng.integers(0, 256, (2, 20, 30), np.uint8), None) for name in "xy"}
    monkeypatch.setattr(pairs, "LYTRO", tuple(images))
    monkeypatch.setattr(
        reference.results,
        "score_pairs",
        lambda names, entries, *_: (
            {
                name: {
                    label: metrics.evaluate(a, b, registry.fuse(method, [a, b], **options).image)
                    for label, (method, options) in entries.items()
                }
                for name, (a, b, _) in images.items()
            },
            {},
            {},
        ),
    )  # the processes of the real one would not know these pairs
    ours = results.mean_scores(reference.results.score_pairs(images, {"LP": ("lp", {})})[0])["LP"]
    return reference.PublishedScores("LP", {}, "LP", "somebody", {m: round(v, 4) for m, v in ours.items()})


def test_what_is_near_and_what_is_far(small, monkeypatch, capsys):
    near = small._replace(values={m: v + 0.004 for m, v in small.values.items()})
    far = small._replace(label="LP far", values={**small.values, "Qe": small.values["Qe"] - 0.006})
    monkeypatch.setattr(reference, "read_rows", lambda: [near])
    assert reference.main([]) == 0
    output = capsys.readouterr().out
    assert f"({near.values['MI']:.4f})" in output and "| somebody |" in output and "apart: none" in output
    monkeypatch.setattr(reference, "read_rows", lambda: [near, far])
    assert reference.main([]) == 1
    assert "More than 0.005 apart: LP far." in capsys.readouterr().out


def test_methods_without_a_reference_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        reference.main(["--methods", "Ours"])
    assert stop.value.code == 2 and "'Ours'" in capsys.readouterr().err
