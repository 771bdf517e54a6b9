"""Trainings: what runs.csv lists exists, and its mistakes are named with file and line."""

import csv
import shlex
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2

from data_prep import make_database
from experiments import run, trainings

ROOT = Path(run.__file__).resolve().parents[1]
HEADER = "label,solver,start,train,val\n"
ROW = "fast,solver/2-1-2_f32_k3.prototxt,random,--patch 16,--patch 16\n"
LISTED = {path.parent.name: path for path in (ROOT / "experiments").glob("*/runs.csv")}


def test_scripts_written_by_pip_are_identified_by_their_module(tmp_path):
    started = []
    for i, rest in enumerate(
        ("import re\nimport sys", "import sys", "import sys\nfrom other.main import main")
    ):
        (tmp_path / str(i)).mkdir()
        text = f"#!/venv{i}/bin/python\n{rest}\nfrom caffe.main import main\nsys.exit(main())\n"
        (tmp_path / str(i) / "caffe").write_text(text)
        started.append(trainings.identify_caffe(tmp_path / str(i)))
    assert started == ["caffe.main", "caffe.main", "other.main"]
    (tmp_path / "0" / "caffe").write_bytes(b"\x7fELF program")
    (tmp_path / "1" / "caffe").write_bytes(b"\x7fELF another")
    assert trainings.identify_caffe(tmp_path / "0") != trainings.identify_caffe(tmp_path / "1")


def test_a_short_solver_has_as_many_points():
    solver = caffe_pb2.SolverParameter(max_iter=20000, test_iter=[100], average_loss=100)
    trainings.shorten_solver(solver, 500)
    assert (solver.max_iter, solver.test_interval, solver.snapshot, list(solver.test_iter)) == (
        500,
        25,
        25,
        [12],
    )
    trainings.shorten_solver(solver, 3)
    assert (solver.test_interval, solver.display, solver.average_loss, list(solver.test_iter)) == (
        1,
        1,
        1,
        [1],
    )


@pytest.mark.parametrize(
    "text, words",
    [
        (HEADER + ROW + ROW, "runs.csv, line 3: label 'fast' is already in {path}, line 2"),
        ("", "runs.csv, line 1: no column label; the header is label,solver,start,train,val"),
        (HEADER.replace("start,", "") + ROW, "runs.csv, line 1: no column start; the header is label,"),
        (ROW, "runs.csv, line 1: no column label; the header is label,solver,start,train,val"),
        (HEADER, "runs.csv: no trainings, a header alone"),
        (
            HEADER + "\n" + ROW.replace(",--patch 16\n", "\n"),
            "line 3: fast: not as many cells as the header has",
        ),
        (HEADER + ROW.replace("fast", "so, fast"), "line 2: so: not as many cells as the header has"),
        (
            HEADER + ROW.replace("16,", "0,"),
            "runs.csv, line 2: fast: --patch 0: argument --patch: 0: must be at least 1",
        ),
        (HEADER + ROW.replace("16,", "'16,"), "runs.csv, line 2: fast: --patch '16: No closing quotation"),
        (
            HEADER + ROW.replace("--patch 16,", "--sieze 3,"),
            "fast: --sieze 3: unrecognized arguments: --sieze 3",
        ),
        (HEADER + ROW.replace("16,", "16 --photos nowhere,"), "line 2: fast: nowhere: no such folder"),
        (HEADER + ROW.replace("solver/", "solvers/"), "runs.csv, line 2: fast: [Errno 2] No such file"),
    ],
)
def test_mistakes_in_a_list_are_named_in_a_line(stub, lab, capsys, text, words):
    path = lab.runs_csv
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        run.main(stub())
    assert words.format(path=path) in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(str(path)) and "usage" not in capsys.readouterr().err


def test_lists_from_spreadsheets_are_read_and_others_named(lab):
    path = lab.runs_csv
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [row.label for row in trainings.read_rows(path)] == ["fast"]
    path.write_bytes(path.read_bytes().replace(b"fast", "größer".encode("latin-1")))
    with pytest.raises(ValueError, match=r"runs\.csv: 'utf-8' codec can't decode"):
        trainings.read_rows(path)
    path.write_text(HEADER + 140000 * "x")
    with pytest.raises(ValueError, match=r"runs\.csv: field larger than"):
        trainings.read_rows(path)


@pytest.mark.parametrize("name", LISTED)
def test_listed_files_exist(name):
    with open(LISTED[name], newline="") as file:
        rows_listed = list(csv.DictReader(file))
    assert len({row["label"] for row in rows_listed}) == len(rows_listed)
    for row in rows_listed:
        assert (ROOT / row["solver"]).is_file()
        for options in (row["train"], *row["val"].split(";")):
            make_database.parse_arguments(shlex.split(options))
