"""The comparison methods score what others' images and implementations of them do."""

import numpy as np
import pytest

from eval import pairs, reference, results, tables
from two_stream_fusion import metrics
from two_stream_fusion.methods import registry

ROWS = reference.read_rows()
NAMES = {title: name for name, title in registry.TITLES.items()}


@pytest.mark.skipif("not os.environ.get('FUSION_DATA')", reason="FUSION_DATA names no folder of pairs")
@pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=r.label, marks=[pytest.mark.slow] if r.method == "CNN" else []) for r in ROWS],
)
def test_means_over_the_lytro_pairs(row):
    scores = []
    for name in pairs.LYTRO:
        a, b, _ = results.load_pair(name)
        scores.append(metrics.evaluate(a, b, registry.fuse(NAMES[row.method], [a, b], **row.options).image))
    assert len(scores) == 13
    ours = {metric: np.mean([of[metric] for of in scores]) for metric in metrics.METRICS}
    assert reference.largest_difference(ours, row.values) < reference.TOLERANCE


def test_every_comparison_method_is_held_against_something():
    assert {row.method for row in ROWS} == set(registry.TITLES.values()) - {"Ours"}
    assert set(tables.read_published("lytro_tables.csv")) == {row.method for row in ROWS if not row.options}


@pytest.fixture
def small(monkeypatch):
    """Two pairs of noise in the place of the Lytro pairs, and what LP scores on them as theirs."""
    rng = np.random.default_rng(0)
    found = {name: pairs.Pair(*rng.integers(0, 256, (2, 20, 30), np.uint8), None) for name in "xy"}
    monkeypatch.setattr(pairs, "LYTRO", tuple(found))
    monkeypatch.setattr(
        reference.results,
        "score_pairs",
        lambda names, entries, *_: (
            {
                name: {
                    label: metrics.evaluate(a, b, registry.fuse(method, [a, b], **options).image)
                    for label, (method, options) in entries.items()
                }
                for name, (a, b, _) in found.items()
            },
            {},
            {},
        ),
    )  # the processes of the real one would not know these pairs
    ours = results.mean_scores(reference.results.score_pairs(found, {"LP": ("lp", {})})[0])["LP"]
    return reference.Row("LP", {}, "LP", "somebody", {m: round(v, 4) for m, v in ours.items()})


def test_what_is_near_and_what_is_far(small, monkeypatch, capsys):
    near = small._replace(values={m: v + 0.004 for m, v in small.values.items()})
    far = small._replace(label="LP far", values={**small.values, "Qe": small.values["Qe"] - 0.006})
    monkeypatch.setattr(reference, "read_rows", lambda: [near])
    assert reference.main([]) == 0
    said = capsys.readouterr().out
    assert f"({near.values['MI']:.4f})" in said and "| somebody |" in said and "apart: none" in said
    monkeypatch.setattr(reference, "read_rows", lambda: [near, far])
    assert reference.main([]) == 1
    assert "More than 0.005 apart: LP far." in capsys.readouterr().out


def test_methods_without_a_reference_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        reference.main(["--methods", "Ours"])
    assert stop.value.code == 2 and "'Ours'" in capsys.readouterr().err
