import csv
import shutil
from pathlib import Path

import pytest

from experiments import report, run
from experiments.trainings import read_rows, read_solver_and_net


def test_curves_spread_and_plots_are_those_of_the_logs(stub, lab, capsys):
    run.main([*stub(), "--jobs", "2", "--keep"])
    losses = {r["iteration"]: float(r["loss"]) for r in lab.rows("curves") if r["set"] == "val"}
    assert losses == {str(i): pytest.approx(1000 / (i + 1), rel=1e-5) for i in range(5)}
    (row,) = lab.rows()
    assert row["PSNR"] == row["min"] == row["max"] == "14.08"  # 10 log10(4 x 16 x 16 / 40)
    assert row["parameters"] == "4"  # shared filters count once
    folder, before = lab.runs_csv.parent, {}
    for name in ("plot.png", "plot.svg"):
        before[name] = (folder / name).read_bytes()
        (folder / name).unlink()
    run.main(["tiny", "--plot", "--caffe", "nowhere"])  # from the tables that were kept
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert f"tiny: {folder / 'plot.png'}" in capsys.readouterr().out


def test_databases_of_several_experiments_are_all_validated_on(stub, lab):
    both = lab.folder / "experiments" / "both"
    both.mkdir()
    text = lab.runs_csv.read_text()
    (both / "runs.csv").write_text(text.replace("--patch 16\n", "--patch 16;--patch 12\n"))
    options = stub()
    run.main(["both", *options])
    assert len(list((lab.folder / "out" / "runs").iterdir())) == 1
    psnr_of = {row["validated on"]: row["PSNR"] for row in lab.rows(experiment="both")}
    assert psnr_of == {"patch_16": "14.08", "patch_12": "11.58"}


def test_the_table_leaves_out_what_is_the_same():
    row = dict.fromkeys([*report.CONDITIONS, "PSNR", "min", "max"], "x")
    assert report.markdown([{**row, "seeds": "1"}]).splitlines()[0] == "| PSNR |"
    table = report.markdown([{**row, "seeds": "2"}, {**row, "seeds": "2", "net": "y"}]).splitlines()
    assert table[0] == "| net | PSNR | min | max |" and table[-1] == "| y | x | x | x |"


def test_a_training_is_rough_where_it_is_shorter_than_its_own_solver(tmp_path, monkeypatch):
    """The solvers of experiments/solvers differ in length."""
    folder, titles = tmp_path / "solvers", []
    shutil.copytree(Path(report.__file__).parent / "solvers", folder)
    monkeypatch.setattr(report, "plot", lambda title, *_: titles.append(title))
    with open(folder / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    full = {row.label: read_solver_and_net(row)[0].max_iter for row in read_rows(folder / "runs.csv")}
    assert len(set(full.values())) > 1
    for missing in (0, 1):
        for row in rows:
            row["iterations"] = full[row["label"]] - missing
        with open(folder / "summary.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        report.redraw(folder)
    assert [title.startswith("solvers: rough") for title in titles] == [False, True]
