"""batch.py, by the command that runs it: tools/fuse.py --batch."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import fuse
from two_stream_fusion import batch
from two_stream_fusion.base import memory
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.io import images
from two_stream_fusion.memory_estimate import estimate_memory
from two_stream_fusion.outputs import Outputs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of folders, one of them with a damaged image, and the same as a CSV file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fuse.py"])
    rng = np.random.default_rng(0)
    for name in ("one", "two", "bad", "ten"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(2):
            images.write(tmp_path / "in" / name / f"{i}.png", rng.integers(0, 255, (30, 40, 3), np.uint8))
    (tmp_path / "in/bad/1.png").write_bytes(b"not an image")
    (tmp_path / "in/empty").mkdir()
    lines = ["# output, images", "", "x.tif, in/one/0.png, in/one/1.png", "deep/y,in/two/0.png,in/two/1.png"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def main(*arguments):
    """The exit status of the command, an error printed."""
    sys.argv = ["fuse.py", *map(str, arguments)]
    with pytest.raises(SystemExit) as stopped:
        fuse.command()
    if isinstance(stopped.value.code, str):  # what Python does with it
        print(stopped.value.code, file=sys.stderr)
        return 1
    return stopped.value.code


def run(*arguments):
    return main(*arguments, "--method", "lp")


def run_items(arguments, fuse_one):
    """The outcomes, {output: error or None}, of a batch, with `fuse_one` in the place of the command's."""
    args = fuse.parse_arguments([*arguments, "--method", "lp"])
    items, _ = batch.plan_batch(args.batch, fuse.outputs_from(args))
    return {str(item.outputs.image): error for item, error in batch.run_batch(items, fuse_one, args.jobs)}


SETTINGS = fuse.settings_from(fuse.parse_arguments(["x", "-o", "y", "--method", "lp"]))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_continues_and_reports_what_failed(folder, capfd, jobs):
    assert run("--batch", "in", "-o", "out", "--jobs", jobs) == 1
    output, errors = capfd.readouterr()
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["one.png", "ten.png", "two.png"]
    assert errors == "fuse.py: error: in/bad/1.png: not an image, or a damaged one (12 bytes)\n"
    assert output.splitlines()[-1] == "3 fused, 0 skipped as complete, 1 failed"


def test_resuming_does_what_is_missing_or_broken(folder, capfd):
    assert run("--batch", "in", "-o", "out") == 1
    untouched, broken, missing = (folder / "out" / f"{name}.png" for name in ("one", "two", "ten"))
    content = broken.read_bytes()
    broken.write_bytes(content[:500])
    missing.unlink()
    before = untouched.stat().st_mtime_ns
    capfd.readouterr()
    assert run("--batch", "in", "-o", "out", "--resume") == 1
    assert untouched.stat().st_mtime_ns == before
    assert broken.read_bytes() == content and missing.is_file()
    assert "2 fused, 1 skipped as complete, 1 failed" in capfd.readouterr().out
    assert run("--batch", "in", "-o", "out") == 1  # without --resume nothing is replaced
    assert capfd.readouterr().err.count("exists; --force") == 3


def test_an_item_interrupted_among_its_maps_is_not_complete(folder, capfd, monkeypatch):
    """The image is written last: a folder of maps exists before all of them are in it."""
    write, written = images.write, []

    def interrupted(path, *arguments, **options):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    arguments = ("--batch", "pairs.csv", "-o", "out", "--maps", "maps", "--method", "gf")
    args = fuse.parse_arguments(list(arguments))
    settings = fuse.settings_from(args)
    item = batch.plan_batch(args.batch, fuse.outputs_from(args))[0][0]
    for path in (item.outputs.image, item.outputs.map_folder):
        path.parent.mkdir(parents=True, exist_ok=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(images, "write", interrupted)
        fuse.fuse(item.sources, item.outputs, settings)
    assert len(written) == 1 and item.outputs.map_folder.is_dir()
    assert main(*arguments, "--resume") == 0
    assert "2 fused, 0 skipped as complete" in capfd.readouterr().out
    assert len(list(item.outputs.map_folder.glob("gf_*.png"))) == 4
    assert main(*arguments, "--resume") == 0
    assert "0 fused, 2 skipped as complete" in capfd.readouterr().out


def test_lines_of_a_file(folder):
    assert run("--batch", "pairs.csv", "-o", "out") == 0
    assert images.read("out/x.tif").shape == (30, 40, 3)
    assert (folder / "out/deep/y.png").is_file()


def test_the_other_outputs_are_folders_too(folder, capfd):
    more = ("--json", "reports", "--panel", "panels", "--maps", "maps", "--method", "gf")
    assert main("--batch", "pairs.csv", "-o", "out", *more) == 0
    assert json.loads((folder / "reports/deep/y.json").read_text())["sources"][0] == "in/two/0.png"
    assert images.read("panels/x.png").shape == (30, 120, 3)
    assert list((folder / "maps/x").glob("gf_*.png")) and list((folder / "maps/deep/y").glob("gf_*.png"))
    (folder / "reports/x.json").unlink()
    assert main("--batch", "pairs.csv", "-o", "out", *more, "--resume") == 0
    assert (folder / "reports/x.json").is_file()
    assert "1 fused, 1 skipped as complete" in capfd.readouterr().out


def test_an_output_of_two_items_is_refused(folder, capfd):
    (folder / "two.csv").write_text("x.png,in/one/0.png,in/one/1.png\nx.tif,in/two/0.png,in/two/1.png\n")
    assert run("--batch", "two.csv", "-o", "out", "--json", "reports") == 1
    assert capfd.readouterr().err == "fuse.py: error: reports/x.json: named for x.png and for x.tif\n"
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x.png\n", "line 1: output,image"),
        ("", "nothing to fuse"),
        ("x,a,b\nx,c,d\n", "x is the output of two lines"),
        ("\udcff", "CSV"),
    ],
)
def test_faults_of_the_file_are_reported(folder, capfd, text, words):
    (folder / "wrong.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run("--batch", "wrong.csv", "-o", "out") == 1
    errors = capfd.readouterr().err
    assert words in errors and len(errors.splitlines()) == 1
    assert not (folder / "out").exists()


def test_a_missing_batch_is_reported(folder, capfd):
    assert run("--batch", "none.csv", "-o", "out") == 1
    assert capfd.readouterr().err == "fuse.py: error: none.csv: No such file or directory\n"


def test_only_readable_images_are_whole(folder):
    assert batch.is_whole("in/one/0.png")
    assert not batch.is_whole("in/bad/1.png") and not batch.is_whole("in/none.png")


def test_warnings_are_printed(folder, capfd):
    """A pair out of register, as it is said of one; with -q not."""
    scene = cv2.GaussianBlur(np.random.default_rng(5).random((160, 240), np.float32), (0, 0), 2)
    scene = cv2.normalize(scene, None, 20, 240, cv2.NORM_MINMAX).astype(np.uint8)
    (folder / "moved/pair").mkdir(parents=True)
    for i in range(2):
        images.write(folder / f"moved/pair/{i}.png", scene[20:140, 40 - 12 * i : 200 - 12 * i])
    for more, count in (((), 1), (("-q",), 0)):
        assert run("--batch", "moved", "-o", "out", "--force", *more) == 0
        assert capfd.readouterr().err.count("fuse.py: warning: ") == count


@pytest.mark.parametrize("more", [["--force"], ["--resume"], ["--force", "--json", "."]])
def test_no_output_is_an_image_of_another(folder, capfd, more):
    (folder / "cross.csv").write_text("in/two/0.png,in/one/0.png,in/one/1.png\nz.png,in/two/*.png\n")
    before = (folder / "in/two/0.png").read_bytes()
    assert run("--batch", "cross.csv", "-o", ".", *more) == 1
    assert capfd.readouterr().err == "fuse.py: error: in/two/0.png: is one of the images to fuse\n"
    assert (folder / "in/two/0.png").read_bytes() == before and not (folder / "z.png").exists()


def refusal(folder, capfd, lines, *more):
    """What is said of lines, for which nothing may be made."""
    (folder / "wrong.csv").write_text("\n".join(lines))
    before = sorted(folder.rglob("*"))
    assert run("--batch", "wrong.csv", "-o", "out", *more) == 1
    assert sorted(folder.rglob("*")) == before
    return capfd.readouterr().err.split("fuse.py: error: ")[1].rstrip()


def test_one_output_in_two_spellings_is_refused(folder, capfd, monkeypatch):
    one, two = ",in/one/0.png,in/one/1.png", ",in/two/0.png,in/two/1.png"
    (folder / "out/deep").mkdir(parents=True)
    (folder / "out/linked").symlink_to("deep")
    for first, second in (("x.png", "./x.png"), ("x", "x.png"), ("x", "deep/../x"), ("deep/x", "linked/x")):
        message = refusal(folder, capfd, [first + one, second + two])
        assert message.endswith(f": named for {first} and for {second}"), message
    (folder / "out/y.png").touch()
    os.link(folder / "out/y.png", folder / "out/y.PNG")  # as a file system has it that ignores case
    message = refusal(folder, capfd, ["y.png" + one, "y.PNG" + two], "--force")
    assert message == "out/y.PNG: named for y.png and for y.PNG"
    monkeypatch.setattr(batch, "_ignores_case", lambda path: True)
    message = refusal(folder, capfd, ["z.png" + one, "Z.PNG" + two])
    assert message == "out/Z.PNG: named for z.png and for Z.PNG"


def test_no_output_becomes_an_image_of_another(folder, capfd):
    """Neither does one that does not exist yet: which of the two came first would be chance."""
    first = "x.png,in/one/0.png,in/one/1.png"
    for words in ("out/x.png,in/two/0.png", "in/../out/x.png,in/two/0.png"):
        message = refusal(folder, capfd, [first, f"y.png,{words}"])
        assert message == "out/x.png: is one of the images to fuse"
    (folder / "out").mkdir()
    for words in ("out", "out/*.png"):
        message = refusal(folder, capfd, [first, f"deep/y.png,{words},in/two/0.png"])
        assert message == "out/x.png: is one of the images to fuse for deep/y.png"


def test_outputs_leave_the_folder_with_anywhere_alone(folder, capfd):
    images_of_line = ",in/one/0.png,in/one/1.png"
    (folder / "elsewhere/deep").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "out/linked").symlink_to(folder / "elsewhere/deep")
    for name in (str(folder / "elsewhere/x.png"), "../elsewhere/x", "in/../../x.png", "linked/../x.png"):
        message = refusal(folder, capfd, [name + images_of_line])
        assert message == f"wrong.csv: {name} leaves the folder out; --anywhere allows that"
    (folder / "right.csv").write_text(
        f"../elsewhere/x{images_of_line}\n{folder}/elsewhere/y.png{images_of_line}\nin/../z{images_of_line}\n"
    )
    assert run("--batch", "right.csv", "-o", "out", "--anywhere") == 0
    assert (folder / "elsewhere/x.png").is_file() and (folder / "elsewhere/y.png").is_file()
    assert (folder / "out/z.png").is_file()


def test_marks_of_utf_8_and_hidden_folders_are_passed_over(folder):
    lines = (folder / "pairs.csv").read_text().splitlines()[2:]
    (folder / "pairs.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    assert [name for name, _ in batch.read_batch("pairs.csv")] == ["x.tif", "deep/y"]
    (folder / "in/one").rename(folder / "in/.one")
    (folder / "in/two/._0.png").write_bytes(b"what macOS leaves")
    assert [name for name, _ in batch.read_batch("in")] == ["bad", "ten", "two"]
    assert dict(batch.read_batch("in"))["two"] == [Path("in/two", f"{i}.png") for i in (0, 1)]


def killed(item):
    """In the place of what fuses one: as where the machine has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_reported(folder):
    outcomes = run_items(["--batch", "pairs.csv", "-o", "out"], killed)
    assert outcomes == {
        name: f"{name}: a process was killed, as where memory ends"
        for name in ("out/x.tif", "out/deep/y.png")
    }


def unforeseen(item):
    """One gets settings that no command line gives."""
    broken = SETTINGS._replace(fusing={**SETTINGS.fusing, "options": 7})
    return fuse.run_batch_item(item, broken if item.outputs.image.name == "x.tif" else SETTINGS)


def test_an_unforeseen_error_takes_no_other_with_it(folder):
    outcomes = run_items(["--batch", "pairs.csv", "-o", "out"], unforeseen)
    assert outcomes["out/x.tif"].startswith("out/x.tif: TypeError: ")
    assert outcomes["out/deep/y.png"] is None and (folder / "out/deep/y.png").exists()


def killed_over_two(item):
    if item.outputs.image.name == "two.png":
        killed(item)
    return fuse.run_batch_item(item, SETTINGS)


def killed_after_writing(item):
    """That of ten ends the first time before it can say what became of it."""
    error = fuse.run_batch_item(item, SETTINGS)
    if item.outputs.image.stem == "ten" and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return error


def test_files_of_a_killed_process_count_as_its_own(folder):
    (folder / "out").mkdir()
    images.write(folder / "out/one.png", np.zeros((9, 9), np.uint8))
    before = (folder / "out/one.png").read_bytes()
    outcomes = run_items(["--batch", "in", "-o", "out", "--jobs", "2"], killed_after_writing)
    assert (folder / "killed").exists()
    assert (
        "out/one.png: exists" in outcomes["out/one.png"] and (folder / "out/one.png").read_bytes() == before
    )
    assert outcomes["out/two.png"] is None and outcomes["out/ten.png"] is None
    assert images.read(folder / "out/ten.png").shape == (30, 40, 3)


@pytest.mark.parametrize("jobs", [1, 3])
def test_more_jobs_than_memory_holds_are_not_started(folder, capfd, monkeypatch, jobs):
    needed = estimate_memory([Path("in/one/0.png"), Path("in/one/1.png")], "lp").needed
    monkeypatch.setattr(memory, "available", lambda: 3 * needed - 1)
    run_with = []
    monkeypatch.setattr(batch, "run_batch", lambda items, fuse_one, jobs: run_with.append(jobs) or ())
    assert run("--batch", "pairs.csv", "-o", "out", "--jobs", jobs) == 0
    assert run("--batch", "in", "-o", "out", "--jobs", jobs) == 0
    assert run_with == [jobs, min(jobs, 2)]
    warned = "fuse.py: warning: --jobs 3: memory holds only 2 at a time: " in capfd.readouterr().err
    assert warned == (jobs == 3)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_process_that_is_killed_takes_no_other_with_it(folder, jobs):
    (folder / "in/bad/1.png").unlink()
    (folder / "in/bad/0.png").unlink()
    outcomes = run_items(["--batch", "in", "-o", "out", "--jobs", str(jobs)], killed_over_two)
    assert outcomes.pop("out/two.png") == "out/two.png: a process was killed, as where memory ends"
    assert outcomes == {"out/one.png": None, "out/ten.png": None}


def half_written(item):
    with atomic_write(item.outputs.image) as beside:
        beside.write_bytes(b"half")
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)


def test_ctrl_c_leaves_nothing_half_written(folder):
    with pytest.raises(KeyboardInterrupt):
        run_items(["--batch", "pairs.csv", "-o", "out", "-q"], half_written)
    assert [path for path in (folder / "out").rglob("*") if path.is_file()] == []


def test_ctrl_c_ends_it_without_a_word(folder):
    """As in a terminal, where it reaches every process."""
    for i in range(40):
        (folder / f"many/{i}").mkdir(parents=True)
        for name in ("0.png", "1.png"):
            (folder / f"many/{i}" / name).write_bytes((folder / "in/one" / name).read_bytes())
    command = [sys.executable, ROOT / "tools/fuse.py", "--batch", "many", "-o", "out", "--jobs", "2"]
    started = subprocess.Popen(
        [*command, "--method", "lp"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while started.poll() is None and not list((folder / "out").glob("*.png")):
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGINT)
    errors = started.communicate(timeout=60)[1]
    assert (started.returncode, errors) == (130, "")
    left = [path.name for path in (folder / "out").iterdir()]
    assert len(left) < 40 and all(batch.is_whole(folder / "out" / name) for name in left)


def test_a_list_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "batch.csv")
    with pytest.raises(ValueError, match=r"batch\.csv: is a FIFO, a socket or a device"):
        batch.read_batch(tmp_path / "batch.csv")


@pytest.mark.parametrize(
    "line, message",
    [
        (".,a.png,b.png", "'.' is not a file name"),
        ("x/..,a.png,b.png", "'x/..' is not a file name"),
        (" ,a.png,b.png", "output,image,image,... is needed"),
        ("out,", "output,image,image,... is needed"),
        ("o\0ut,a.png,b.png", "is not a file name"),
    ],
)
def test_lines_without_a_name_are_refused(tmp_path, line, message):
    (tmp_path / "batch.csv").write_text(f"# comment\n\n{line}\n")
    with pytest.raises(ValueError, match=f"line 3: .*{re.escape(message)}"):
        batch.read_batch(tmp_path / "batch.csv")


def test_a_link_inside_the_outputs_leads_outside(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir(), elsewhere.mkdir(), (out / "inner").mkdir()
    (out / "link").symlink_to(elsewhere)
    (out / "loop").symlink_to(out / "inner")
    for name in ("loop/x", "inner/x"):
        (tmp_path / "batch.csv").write_text(f"{name},a.png,b.png\n")
        assert batch.plan_batch(tmp_path / "batch.csv", Outputs(image=out))[1] == 0
    (tmp_path / "batch.csv").write_text("link/x,a.png,b.png\n")
    with pytest.raises(ValueError, match="leaves the folder"):
        batch.plan_batch(tmp_path / "batch.csv", Outputs(image=out))
