"""Experiments: what they list is there; trainings are done once, go on, and give their logs' numbers."""

import csv
import shlex
import stat
import sys
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from data_prep import builder, fetch, make_database, recipes
from experiments import run, trainings
from tools import timing
from two_stream_fusion.io import images

ROOT = Path(run.__file__).resolve().parents[1]
LISTED = {path.parent.name: path for path in (ROOT / "experiments").glob("*/runs.csv")}
# A `caffe` that needs no time: it tests at a loss of 1000 / (iteration + 1) and stops when it is asked to.
CAFFE = f"""#!{sys.executable}
import re, signal, sys, time
flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if sys.argv[1] == "test":
    sys.exit(print("main.cpp:1] Loss:", 40))
text = open(flags["-solver"]).read()
get = lambda name: re.search(name + ': "?([^"\\\\n]+)', text)[1]
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
first = int(re.search(r"_(\\d+)[.]", flags["-snapshot"])[1]) if "-snapshot" in flags else 0
print("begins at", first)
for i in range(first, int(get("max_iter")) + 1):
    print(f"Iteration {{i}}, Testing net (#0)")
    print(f"    Test net output #0: loss = {{500 / (i + 1)}} (* 2 = {{1000 / (i + 1)}} loss)")
    print(f"Iteration {{i}}, loss = 7", flush=True)
    if get("random_seed") == "2":
        sys.exit("F1 net.cpp:1] out of luck")
    time.sleep(float(open(__file__ + ".wait").read()))
    if asked or i == int(get("max_iter")):
        for kind in ("caffemodel", "solverstate"):
            open(get("snapshot_prefix") + f"_iter_{{i}}.{{kind}}", "wb").write(WEIGHTS)
        sys.exit()
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Four photographs of noise to make databases from, and an experiment `tiny` of two rows."""
    photographs = tmp_path / "shared" / "train"
    photographs.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):
        images.write(photographs / f"{i}.png", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "shared"))
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "nothing")
    monkeypatch.setattr(run, "HERE", tmp_path / "experiments")
    (tmp_path / "experiments" / "tiny").mkdir(parents=True)
    rows = "label,solver,start,train,val\nfast,solver/2-1-2_f32_k3.prototxt,random,--patch 16,--patch 16\n"
    (tmp_path / "experiments" / "tiny" / "runs.csv").write_text(rows)
    monkeypatch.setattr(timing, "time_training", lambda *_: 20.0)
    monkeypatch.setattr(timing, "time_inference", lambda *_: timing.Inference(65.536, 0, 0, 0))
    return tmp_path


@pytest.fixture
def stub(lab):
    """The options of a command that trains with CAFFE."""
    net = caffe_pb2.NetParameter()
    for name in ("a", "b"):  # shared
        layer = net.layer.add(name=name)
        layer.param.add(name="filters")
        layer.blobs.add(data=[1, 2, 3])
    net.layer.add(name="c").blobs.add(data=[4])

    def make(wait=0.0):
        program = lab / "bin" / "caffe"
        program.parent.mkdir(exist_ok=True)
        program.write_text(CAFFE.replace("WEIGHTS", repr(net.SerializeToString())))
        program.with_name("caffe.wait").write_text(str(wait))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return ["tiny", "--out", str(lab / "out"), "--caffe", str(program.parent), "--iterations", "4"]

    return make


def rows(lab, name="summary"):
    with open(lab / "out" / "tiny" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def forbid(monkeypatch):
    def started(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(trainings.subprocess, "Popen", started)


def test_two_iterations_by_caffe_itself(lab, monkeypatch, capsys):
    options = ["tiny", "--out", str(lab / "out"), "--iterations", "2", "--keep"]
    run.main(options)
    (row,) = rows(lab)
    assert row["net"] == "2-1-2_f32_k3" and row["parameters"] == "33348" and row["iterations"] == "2"
    assert row["s an iteration"] == "0.020" and row["s a megapixel"] == "1.00"
    (folder,) = (lab / "out" / "runs").iterdir()
    assert sorted(p.suffix for p in folder.iterdir()) == [".caffemodel", *[".log"] * 2, *[".prototxt"] * 2]
    (log,) = folder.glob("test-*.log")
    loss = float(log.read_text().split("Loss: ")[1].split()[0])
    assert float(row["PSNR"]) == pytest.approx(10 * np.log10(4 * 16 * 16 / loss), abs=0.006)
    curve = [(r["iteration"], r["set"]) for r in rows(lab, "curves")]
    assert curve == [(str(i), kind) for kind in ("train", "val") for i in (0, 1, 2)]
    said = capsys.readouterr().out
    assert "tiny: rough, 2 iterations of 16 patches" in said and f"| fast | {row['PSNR']} | 33348 |" in said
    kept = lab / "experiments" / "tiny"
    assert sorted(p.name for p in kept.iterdir()) == ["curves.csv", "plot.png", "runs.csv", "summary.csv"]
    forbid(monkeypatch)
    run.main(options)  # nothing is left to do


def test_every_validation_patch_is_scored_once(lab):
    path = lab / "experiments" / "tiny" / "runs.csv"
    path.write_text(path.read_text().replace("--patch 16\n", "--patch 16 --stride 9\n"))
    run.main(["tiny", "--out", str(lab / "out"), "--iterations", "1"])
    (folder,) = (lab / "out" / "runs").iterdir()
    (log,) = folder.glob("test-*.log")
    assert log.read_text().count(", loss = ") == 2  # 24 patches, 12 at a time
    text = (folder / "train_val.prototxt").read_text()
    assert "batch_size: 12" in text and "batch_size: 16" in text
    weights = str(folder / "final.caffemodel")
    net = caffe.Net(str(ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"), caffe.TEST, weights=weights)
    with h5py.File(lab / "out" / "data" / "patch_16_stride_9" / "val" / "000.h5") as file:
        a, b, label = (file[name][:] / np.float32(255) for name in ("a", "b", "label"))
    net.blobs["a"].reshape(*a.shape)
    net.blobs["b"].reshape(*b.shape)
    fused = net.forward(a=a, b=b)["fused"]
    assert len(a) == 24
    psnr = 10 * np.log10(1 / np.square(fused - label).mean())
    assert float(rows(lab)[0]["PSNR"]) == pytest.approx(psnr, abs=0.006)


def test_a_training_from_the_mean_begins_there(lab):
    listed = lab / "experiments" / "tiny" / "runs.csv"
    listed.write_text(listed.read_text().replace("random", "mean"))
    run.main(["tiny", "--out", str(lab / "out"), "--iterations", "1"])
    first = next(row for row in rows(lab, "curves") if row["set"] == "val" and row["iteration"] == "0")
    with h5py.File(lab / "out" / "data" / "patch_16" / "val" / "000.h5") as file:
        rows_seen = np.arange(16) % len(file["a"])  # those of one batch
        a, b, label = (file[name][:][rows_seen] / 255 for name in ("a", "b", "label"))
    loss = np.square((a + b) / 2 - label).sum() / 16  # Eq. 4
    assert float(first["loss"]) == pytest.approx(loss, rel=1e-4)
    assert rows(lab)[0]["start"] == "mean"
    assert not list((lab / "out").glob("runs/*/first.*"))


def test_what_changes_a_training_runs_it_again(stub, lab, monkeypatch):
    options = stub()
    run.main(options)
    run.main([*options[:-1], "5"])
    run.main([*options, "--precision", "bfloat16"])
    assert len(list((lab / "out" / "runs").iterdir())) == 3
    assert len(list((lab / "out" / "timing").iterdir())) == 4  # an iteration takes as long in 4 as in 5
    forbid(monkeypatch)
    run.main(options)
    (lab / "shared" / "train" / "0.png").unlink()
    with pytest.raises(AssertionError, match="was started"):
        for path in (lab / "out" / "data").iterdir():
            path.rename(path.with_name("old"))
        run.main(options)  # the photographs are others, so the data and the training are


def test_a_moved_caffe_and_explicit_float32_do_not_train_again(stub, lab, monkeypatch):
    options = stub()
    run.main(options)
    (lab / "bin").rename(lab / "moved")
    (lab / "link").symlink_to(lab / "moved")
    program = lab / "moved" / "caffe"
    program.write_text(program.read_text().replace("#!", "#!/usr/bin/env ", 1))
    forbid(monkeypatch)
    monkeypatch.setattr(timing, "time_training", None)
    for folder in ("moved", "link"):
        again = [*options[:4], str(lab / folder), *options[5:]]
        assert options[3] == "--caffe"
        run.main(again)
        run.main([*again, "--precision", "float32"])
    program.write_text(program.read_text() + "# another\n")
    monkeypatch.setattr(timing, "time_training", lambda *_: 20.0)
    with pytest.raises(AssertionError, match="was started"):
        run.main(again)


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


@pytest.fixture
def database(lab):
    """Makes the database of options, as a run does."""
    (lab / "out").mkdir()
    return lambda options="--patch 16": trainings.Database(options, lab / "out" / "data")


def test_databases_have_folders_of_their_own(lab):
    kept = {
        "": "default",
        "--gray": "gray",
        "--gray --recipe defocus": "gray_recipe_defocus",
        "--patch 25": "patch_25",
        "--patch 16 --val-share 0.5": "patch_16_val_share_0.5",
    }
    assert {options: trainings.database_name(options) for options in kept} == kept
    photos = ["'/tmp/p x'", "/tmp/p-x", "/tmp/p_x", "p_x", "P.x", "'p x'", "p.x", "p_gray", "'p --gray'"]
    made = [trainings.database_name(f"--photos {path}") for path in photos] + [
        trainings.database_name("--photos p --gray")
    ]
    assert len(set(made)) == len(made) and not any(" " in name or "/" in name for name in made)
    assert made[0].startswith("photos_tmp_p_x-") and made[-1] == "photos_p_gray"
    assert trainings.database_name("--photos /tmp/p-x") == made[1]
    assert len(trainings.database_name("--photos " + 300 * "A")) < 100


def test_a_database_is_made_again_where_photographs_are_others(lab, database, capsys):
    first = database()
    assert capsys.readouterr().out.startswith(f"{lab}/out/data/patch_16: not made yet\n")
    assert database().key == first.key and capsys.readouterr().out == ""
    photographs = lab / "shared" / "train"
    images.write(photographs / "more.png", np.zeros((48, 64, 3), np.uint8))
    second = database()
    assert "patch_16: made again: it has other photographs or masks\n" in capsys.readouterr().out
    assert second.key != first.key and len(second.manifest["photographs"]) == 5
    (photographs / "more.png").unlink()
    assert database().key == first.key  # by what is in it, not by when it was made


def test_a_database_is_known_by_what_is_in_it(database, monkeypatch, capsys):
    first = database()
    monkeypatch.setattr(builder.cv2, "__version__", "6.0.0")
    assert database().key == first.key
    assert "made again: it has other code or libraries behind it\n" in capsys.readouterr().out
    monkeypatch.setattr(builder.cv2, "__version__", "6.0.1")
    monkeypatch.setitem(recipes.RECIPES, "paper", lambda clean, region, rng: [clean] * 3)
    assert database().key != first.key


def test_masks_are_part_of_what_a_database_is_known_by(lab, database):
    (lab / "photos").mkdir()
    for name in "ab":
        noise = np.random.default_rng(ord(name)).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        images.write(lab / "photos" / f"{name}.tif", noise)
    mask, keys = np.zeros((48, 64), np.uint8), set()
    mask[:20] = 255
    for turned in (mask, mask[::-1]):
        images.write(lab / "photos" / "a.png", turned)
        keys.add(database(f"--patch 16 --photos {lab}/photos").key)
    assert len(keys) == 2


def test_a_database_that_is_elsewhere_is_made_again(lab, database, capsys):
    database()
    (lab / "out").rename(lab / "moved")
    trainings.Database("--patch 16", lab / "moved" / "data")
    assert "made again: its files are not where its lists say\n" in capsys.readouterr().out


def test_the_same_rows_made_again_do_not_train_again(stub, lab, monkeypatch):
    options = stub()
    run.main(options)
    for path in (lab / "shared" / "train").iterdir():
        path.touch()
    forbid(monkeypatch)
    run.main(options)


def test_curves_and_spread_are_those_of_the_logs(stub, lab):
    run.main([*stub(), "--workers", "2"])
    losses = {r["iteration"]: float(r["loss"]) for r in rows(lab, "curves") if r["set"] == "val"}
    assert losses == {str(i): pytest.approx(1000 / (i + 1), rel=1e-5) for i in range(5)}
    (row,) = rows(lab)
    assert row["PSNR"] == row["least"] == row["most"] == "14.08"  # 10 log10(4 x 16 x 16 / 40)
    assert row["parameters"] == "4"  # shared filters count once


def test_every_test_of_a_short_training_sees_the_same_patches(stub, lab):
    (lab / "out").mkdir()
    settings = run.arguments(stub())
    row = {"label": "x", "solver": "solver/2-1-2_f32_k3.prototxt", "start": "random"}
    row.update(train="--patch 8", val="--patch 8")
    training = trainings.Training(row, 0, settings)
    (path,) = training.sample().read_text().split()
    with h5py.File(path) as few, h5py.File(lab / "out" / "data" / "patch_8" / "val" / "000.h5") as whole:
        assert whole["a"].shape == (48, 4, 8, 8)
        for name in ("a", "b", "label"):
            np.testing.assert_array_equal(few[name], whole[name][:16])
    training.solver.test_iter[:] = [3]  # as many as there are
    assert training.sample() == lab / "out" / "data" / "patch_8" / "val.txt"


def test_an_interrupted_training_goes_on(stub, lab, monkeypatch):
    options, sleep = stub(wait=0.3), trainings.time.sleep

    def interrupted(seconds):
        logs = list((lab / "out").glob("runs/*/train.log"))
        if logs and "Iteration 1, loss" in logs[0].read_text():
            raise KeyboardInterrupt
        sleep(0.02)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainings.time, "sleep", interrupted)
        run.main(options)
    (state,) = (lab / "out").glob("runs/*/run_iter_*.solverstate")
    stopped = int(state.stem.split("_")[-1])
    assert 1 <= stopped < 4
    monkeypatch.setattr(timing, "time_training", None)  # timed already
    stub(wait=0)
    run.main(options)
    (log,) = (lab / "out").glob("runs/*/train.log")
    assert [line for line in log.read_text().splitlines() if "begins" in line] == [
        "begins at 0",
        f"begins at {stopped}",
    ]
    assert [r["iteration"] for r in rows(lab, "curves") if r["set"] == "val"] == list("01234")
    assert not list((lab / "out").glob("runs/*/run_iter_*"))


def test_a_training_that_fails_is_named_with_its_last_words(stub, lab):
    with pytest.raises(OSError, match=r"fast: caffe failed: F1 net\.cpp:1\] out of luck \(.*train\.log\)"):
        run.main([*stub(), "--seeds", "2"])


def test_trained_on_photographs_are_not_validated_on(stub, lab):
    path = lab / "experiments" / "tiny" / "runs.csv"
    path.write_text(path.read_text().replace("--patch 16\n", "--patch 16 --val-share 0.5\n"))
    with pytest.raises(
        ValueError, match=r"fast: patch_16_val_share_0\.5 holds photographs that are trained on"
    ):
        run.main(stub())


def test_databases_of_several_experiments_are_all_validated_on(stub, lab):
    both = lab / "experiments" / "both"
    both.mkdir()
    text = (lab / "experiments" / "tiny" / "runs.csv").read_text()
    (both / "runs.csv").write_text(text.replace("--patch 16\n", "--patch 16;--patch 12\n"))
    options = stub()
    run.main(["both", *options])
    assert len(list((lab / "out" / "runs").iterdir())) == 1
    with open(lab / "out" / "both" / "summary.csv", newline="") as file:
        found = {row["validated on"]: row["PSNR"] for row in csv.DictReader(file)}
    assert found == {"patch_16": "14.08", "patch_12": "11.58"}


def test_one_at_a_time_in_a_folder(stub, lab):
    (lab / "out").mkdir()
    with open(lab / "out" / "lock", "w") as lock:
        run.fcntl.flock(lock, run.fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="running there already"):
            run.main(stub())


@pytest.mark.parametrize(
    "options, words",
    [
        (["tiny"], "fast: start 'half': one of mean, random"),
        (["fig5z"], "no experiment 'fig5z': there are tiny"),
        (["--iterations", "0"], "are 1 or more"),
        (["--caffe", "/nowhere"], "no program `caffe`"),
    ],
)
def test_bad_options_are_said(lab, capsys, options, words):
    listed = lab / "experiments" / "tiny" / "runs.csv"
    listed.write_text(listed.read_text().replace("random", "half"))
    options += ["--out", str(lab / "out")]
    with pytest.raises((SystemExit, ValueError)) as error:
        run.main(options)
    assert words in str(error.value) + capsys.readouterr().err


HEADER, ROW = (
    "label,solver,start,train,val\n",
    "fast,solver/2-1-2_f32_k3.prototxt,random,--patch 16,--patch 16\n",
)


@pytest.mark.parametrize(
    "text, words",
    [
        (HEADER + ROW + ROW, "runs.csv, line 3: label 'fast' stands in {path}, line 2 already"),
        ("", "runs.csv, line 1: no column label; the header is label,solver,start,train,val"),
        (HEADER.replace("start,", "") + ROW, "runs.csv, line 1: no column start; the header is label,"),
        (ROW, "runs.csv, line 1: no column label; the header is label,solver,start,train,val"),
        (HEADER, "runs.csv: no trainings, a header alone"),
        (
            HEADER + "\n" + ROW.replace(",--patch 16\n", "\n"),
            "line 3: fast: not as many cells as the header has",
        ),
        (HEADER + ROW.replace("fast", "so, fast"), "line 2: so: not as many cells as the header has"),
        (HEADER + ROW.replace("16,", "0,"), "runs.csv, line 2: fast: --patch 0: argument --patch: 0, but it"),
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
    path = lab / "experiments" / "tiny" / "runs.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        run.main(stub())
    assert words.format(path=path) in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(str(path)) and "usage" not in capsys.readouterr().err


def test_lists_from_spreadsheets_are_read_and_others_named(lab):
    path = lab / "experiments" / "tiny" / "runs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(run.read_list(path)) == ["fast"]
    path.write_bytes(path.read_bytes().replace(b"fast", "größer".encode("latin-1")))
    with pytest.raises(ValueError, match=r"runs\.csv: 'utf-8' codec can't decode"):
        run.read_list(path)
    path.write_text(HEADER + 140000 * "x")
    with pytest.raises(ValueError, match=r"runs\.csv: field larger than"):
        run.read_list(path)


def test_commands_are_run_with_their_folder(lab, capfd):
    folder = lab / "experiments" / "drawn"
    folder.mkdir()
    (folder / "commands.txt").write_text("-c 'import sys; open(sys.argv[1], \"w\")' {out}/made.png\n")
    run.main(["drawn", "--out", str(lab / "out"), "--keep"])
    assert (folder / "made.png").exists()
    (folder / "commands.txt").write_text("-c 'raise SystemExit(3)'\n")
    with pytest.raises(OSError, match="drawn: failed"):
        run.main(["drawn", "--out", str(lab / "out")])


def test_a_short_solver_has_as_many_points():
    solver = caffe_pb2.SolverParameter(max_iter=20000, test_iter=[100], average_loss=100)
    trainings.shorten(solver, 500)
    assert (solver.max_iter, solver.test_interval, solver.snapshot, list(solver.test_iter)) == (
        500,
        25,
        25,
        [12],
    )
    trainings.shorten(solver, 3)
    assert (solver.test_interval, solver.display, solver.average_loss, list(solver.test_iter)) == (
        1,
        1,
        1,
        [1],
    )


def test_the_table_leaves_out_what_is_the_same():
    row = dict.fromkeys([*run.CONDITIONS, "PSNR", "least", "most"], "x")
    assert run.markdown([{**row, "seeds": "1"}]).splitlines()[0] == "| PSNR |"
    table = run.markdown([{**row, "seeds": "2"}, {**row, "seeds": "2", "net": "y"}]).splitlines()
    assert table[0] == "| net | PSNR | least | most |" and table[-1] == "| y | x | x | x |"


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed_is_there(name):
    with open(LISTED[name], newline="") as file:
        listed = list(csv.DictReader(file))
    assert len({row["label"] for row in listed}) == len(listed)
    for row in listed:
        assert (ROOT / row["solver"]).is_file()
        for options in (row["train"], *row["val"].split(";")):
            make_database.parse_arguments(shlex.split(options))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*/commands.txt")), ids=lambda p: p.parent.name
)
def test_commands_are_there(path):
    for line in path.read_text().splitlines():
        assert (ROOT / shlex.split(line)[0]).is_file()


@pytest.mark.parametrize("name", run.experiment_names())
def test_readmes_say_what_was_kept(name):
    folder = ROOT / "experiments" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.glob("*.[pj][np]g"):
        assert f"]({path.name})" in text
    if (folder / "summary.csv").exists():
        with open(folder / "summary.csv", newline="") as file:
            assert run.markdown(list(csv.DictReader(file))) in text
