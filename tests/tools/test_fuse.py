import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import caffe
import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, PngImagePlugin

from tests.golden import nets
from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from tools import fuse
from two_stream_fusion import outputs, pipeline
from two_stream_fusion.base import memory
from two_stream_fusion.io import images
from two_stream_fusion.methods import networks, registry

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images, one of another size, one truncated, one that is none, and weights."""
    folder = tmp_path_factory.mktemp("fuse")
    random = np.random.default_rng(0)
    for name, shape in (("a", (40, 50, 3)), ("b", (40, 50, 3)), ("small", (30, 50, 3)), ("gray", (40, 50))):
        images.write(folder / f"{name}.png", random.integers(0, 255, shape, np.uint8))
    images.write(folder / "deep.png", random.integers(0, 65535, (40, 50, 3), np.uint16))
    for name in ("tiny_a", "tiny_b"):  # for the methods that take long
        images.write(folder / f"{name}.png", random.integers(0, 255, (16, 20, 3), np.uint8))
    images.write(folder / "tiny_deep.png", random.integers(0, 65535, (16, 20), np.uint16))
    content = (folder / "a.png").read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "folder.png").mkdir()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    nets.set_weights(net)
    net.save(str(folder / "w.caffemodel"))
    (folder / "broken.caffemodel").write_bytes((folder / "w.caffemodel").read_bytes()[:1000])
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Runs the command in `folder`; (status, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fuse.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            fuse.command()
        status = stopped.value.code
        if isinstance(status, str):  # what Python does with it
            print(status, file=sys.stderr)
            status = 1
        return (status, *capfd.readouterr())

    return run


def test_runs_as_a_program_from_anywhere(folder, tmp_path):
    command = [sys.executable, ROOT / "tools/fuse.py", "a.png", "truncated.png", "-o", tmp_path / "out.png"]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.fullmatch(r"fuse\.py: error: truncated\.png: .*\n", done.stderr), done.stderr


NET = ("--net", DEPLOY, "--weights", "w.caffemodel")


def test_fuses_and_shows(run, tmp_path):
    out, panel = tmp_path / "out.png", tmp_path / "panel.png"
    status, output, errors = run("a.png", "b.png", "-o", out, "--panel", panel, *NET)
    assert status == 0, errors
    assert str(out) in output
    assert images.read(out).shape == (40, 50, 3)
    sides = images.read(panel)
    assert sides.shape == (40, 150, 3)
    np.testing.assert_array_equal(sides[:, 100:], images.read(out))
    assert sorted(os.listdir(tmp_path)) == ["out.png", "panel.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.png", "small.png", *NET), "small.png is 50x30"),
        (("a.png", "gray.png", *NET), "gray.png is 50x40 8 bit gray"),
        (("a.png", "deep.png", *NET), "deep.png is 50x40 16 bit"),
        (("a.png", "none.png", *NET), "none.png"),
        (("a.png", "folder.png", *NET), "folder.png"),
        (("a.png", "text.png", *NET), "text.png: not an image"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "none.caffemodel"), "none.caffemodel"),
        (("a.png", "b.png", "--net", "none.prototxt", "--weights", "w.caffemodel"), "none.prototxt"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "broken.caffemodel"), "broken.caffemodel"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "text.png"), "text.png"),
        (("a.png", "b.png", "--model", "none"), "no model 'none'"),
        (("a.png", "b.png", "--gpu", "0", *NET), "no GPU"),
    ],
)
def test_faults_get_one_line_and_leave_nothing(run, tmp_path, arguments, words):
    if "--gpu" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    status, _, errors = run(*arguments, "-o", tmp_path / "out.png")
    assert status == 1
    assert len(errors.strip().splitlines()) == 1, errors
    assert errors.startswith("fuse.py: error: ") and words in errors
    assert not list(tmp_path.iterdir())


def test_outputs_are_not_written_over(run, folder, tmp_path):
    before = (folder / "a.png").read_bytes()
    status, _, errors = run("a.png", "b.png", "-o", "a.png", "--force", *NET)
    assert status == 1 and "one of the images" in errors
    (tmp_path / "out.png").write_text("precious")
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "out.png", *NET)
    assert status == 1 and "--force" in errors
    assert (tmp_path / "out.png").read_text() == "precious"
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.png", "b.png", "--net", "x"),
        ("a.png", "b.png", "--tile", "3"),
        ("a.png", "b.png", "--method", "lp", "--refine", "select"),
        ("a.png", "b.png", "--fast", "--model", "x"),
        ("a.png", "--batch", "x.csv"),
        ("a.png", "b.png", "--resume"),
        ("a.png", "b.png", "--anywhere"),
        ("a.png", "b.png", "--jobs", "2"),
        ("a.png", "b.png", "--method", "lp", "--precision", "bfloat16"),
        ("a.png", "b.png", "--method", "lp", "--tile", "64"),
    ],
)
def test_wrong_usage_is_status_2(run, tmp_path, arguments):
    assert run(*arguments, "-o", tmp_path / "o.png")[0] == 2


def test_weights_are_looked_at_before_the_work(run, tmp_path, monkeypatch):
    def registered(*_, **__):
        raise AssertionError("frames are aligned already")

    monkeypatch.setattr(fuse.Frames, "registered", registered)
    wrong = (*NET[:2], "--weights", tmp_path / "none.caffemodel")
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "o.png", "--align", *wrong)
    assert status == 1 and "no such file" in errors


def test_opening_the_net_counts_as_fusing(run, tmp_path, monkeypatch):
    now, open_network = [0], networks.open_network

    def slow(*arguments, **options):
        now[0] += 100
        return open_network(*arguments, **options)

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(fuse, "time", clock)
    monkeypatch.setattr(pipeline, "time", clock)
    monkeypatch.setattr(networks, "open_network", slow)
    report = tmp_path / "report.json"
    assert run("a.png", "b.png", "-o", tmp_path / "o.png", "--json", report, *NET)[0] == 0
    seconds = json.loads(report.read_text())["seconds"]
    assert seconds == {"align": 0, "fuse": 100, "write": 0}


def test_the_options_of_a_method_are_listed(run):
    assert "options, for --set:\n  levels=" in run("--help-method", "lp")[1]
    assert "options, given as --model, --refine and --tile:" in run("--help-method", "two_stream")[1]


@pytest.mark.parametrize("method", sorted(set(registry.TITLES) - {"two_stream"}))
@pytest.mark.parametrize("sources", [("tiny_a.png", "tiny_b.png"), 3 * ("tiny_deep.png",)])
def test_every_method_fuses(run, folder, tmp_path, method, sources):
    status, output, errors = run(*sources, "-o", tmp_path / "out.png", "--method", method)
    assert status == 0, errors
    source, fused = images.read(folder / sources[0]), images.read(tmp_path / "out.png")
    assert fused.shape == source.shape and fused.dtype == source.dtype
    assert f"{len(sources)} images" in output


def test_options_reach_the_method(run, tmp_path):
    results = []
    for name, setting in (("one", "levels=1"), ("four", "levels=4"), ("area", "rule=area_max")):
        out = tmp_path / f"{name}.png"
        assert run("a.png", "b.png", "-o", out, "--method", "lp", "--set", setting)[0] == 0
        results.append(images.read(out).tobytes())
    assert len(set(results)) == 3


@pytest.mark.parametrize("setting", ["levels=many", "nonsense=1", "levels", "rule=best"])
def test_options_that_do_not_fit_are_refused(run, tmp_path, setting):
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "o.png", "--method", "lp", "--set", setting)
    assert status == 1 and len(errors.splitlines()) == 1 and setting.split("=")[-1] in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", registry.TITLES)
def test_help_of_a_method_names_its_options(run, method):
    status, output, errors = run("--help-method", method)
    assert status == 0, errors
    assert all(f"  {key}=" in output for key in registry.options(method))


def test_a_stack_has_a_map_a_report_and_a_panel(run, folder, tmp_path):
    names = ["a.png", "b.png", "a.png", "b.png", "a.png"]
    names_of = {"-o": "out.png", "--map": "map.png", "--json": "report.json", "--panel": "panel.jpg"}
    files = {key: tmp_path / name for key, name in names_of.items()}
    status, output, errors = run(*names, *NET, *(x for pair in files.items() for x in pair), "--keep-all")
    assert status == 0, errors
    assert all(str(path) in output for key, path in files.items() if key != "--json")
    depth = images.read(files["--map"])
    assert depth.shape == (40, 50) and set(np.unique(depth)) <= {0, 63, 127, 191, 255}
    report = json.loads(files["--json"].read_text())
    assert report["sources"] == names and report["refine"] == "select" and report["size"].startswith("50x40")
    assert report["net"] == str(DEPLOY)
    assert images.read(files["--panel"]).shape == (40, 50 * (outputs.PANEL + 1), 3)
    # Made of the photographs, near depth edges of the network's image: no value outside of theirs nearby.
    fused, sources = images.read(files["-o"]), [images.read(folder / name) for name in names[:2]]
    nearby = np.ones((5, 5), np.uint8)
    assert (fused >= cv2.erode(np.minimum(*sources), nearby)).all()
    assert (fused <= cv2.dilate(np.maximum(*sources), nearby)).all()


def test_a_stack_in_disorder_is_put_in_order(run, tmp_path):
    """The result, the map and the report are those of the frames in order; --reference counts as named."""
    rng = np.random.default_rng(4)
    texture = cv2.GaussianBlur(rng.random((150, 210), np.float32), (0, 0), 1.5)
    truth = cv2.normalize(texture, None, 10, 240, cv2.NORM_MINMAX).astype(np.uint8)
    depth = np.arange(210) // 42
    names = [tmp_path / f"{i}.png" for i in range(5)]
    for i, name in enumerate(names):
        frame = truth.copy()
        for d in range(5):
            if d != i:
                frame[:, depth == d] = cv2.GaussianBlur(truth, (0, 0), 0.9 * abs(d - i))[:, depth == d]
        images.write(name, frame)
    results = {}
    for order, reference in (((3, 0, 2, 4, 1), 2), ((0, 1, 2, 3, 4), 1), ((4, 3, 2, 1, 0), 5)):
        shuffled_names = [names[i] for i in order]
        out = [tmp_path / f"{order[0]}{ending}" for ending in (".out.png", ".map.png", ".json")]
        options = ("--align", "--reference", reference, "-o", out[0], "--map", out[1], "--json", out[2])
        status, output, errors = run(*shuffled_names, *NET, *options)
        assert status == 0, errors
        report = json.loads(out[2].read_text())
        assert report["sources"] == list(map(str, shuffled_names)) and report["reference"] == str(names[0])
        assert report["transforms"][reference - 1] == np.eye(3).tolist()  # in the order of sources
        results[order] = images.read(out[0]).tobytes(), images.read(out[1]).tobytes()
        if order == (3, 0, 2, 4, 1):
            assert report["order"] in (list(map(str, names)), list(map(str, names[::-1])))
            assert output.startswith("in the order of their focus: ")
            first = int(report["order"][0] == str(names[-1]))
        else:
            assert "order" not in report and "in the order" not in output
    shuffled, *in_order = results.values()
    assert shuffled == in_order[first]
    status, _, errors = run(
        *shuffled_names[2:],
        *shuffled_names[:2],
        "--align-only",
        tmp_path / "aligned",
        "--keep-size",
        "--no-exposure",
    )
    assert status == 0, errors
    for name in names:  # each under its own name: still the most like itself
        aligned = images.read(tmp_path / "aligned" / f"{name.stem}.tif").astype(int)
        differences = {other: np.abs(images.read(other).astype(int) - aligned).mean() for other in names}
        assert min(differences, key=differences.get) == name


def test_refining_two_images_is_a_choice(run, tmp_path):
    results = {}
    for refine in ((), ("--refine", "none"), ("--refine", "select")):
        out = tmp_path / f"{len(results)}.png"
        assert run("a.png", "b.png", "-o", out, *NET, *refine)[0] == 0
        results[refine] = out.read_bytes()
    plain, none, select = results.values()
    assert plain == none != select
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "x.png", "--map", tmp_path / "m.png", *NET)
    assert status == 1 and "--refine select" in errors
    assert not (tmp_path / "x.png").exists()


def test_bfloat16_is_near(run, tmp_path):
    for precision in ("float32", "bfloat16"):
        assert (
            run("a.png", "b.png", "-o", tmp_path / f"{precision}.png", "--precision", precision, *NET)[0] == 0
        )
    one, other = (images.read(tmp_path / f"{p}.png").astype(int) for p in ("float32", "bfloat16"))
    assert 0 < np.abs(one - other).max() <= 4
    caffe.set_precision("float32")


@pytest.mark.parametrize("method", ["gf", "psfs", "cnn"])
def test_maps_of_a_method(run, tmp_path, method):
    status, _, errors = run(
        "a.png", "b.png", "-o", tmp_path / "o.png", "--method", method, "--maps", tmp_path / "m"
    )
    assert status == 0, errors
    maps_written = {p.name: images.read(p) for p in (tmp_path / "m").iterdir()}
    assert maps_written and all(
        name.startswith(f"{method}_") and x.shape == (40, 50) for name, x in maps_written.items()
    )
    status, _, errors = run(
        "a.png", "b.png", "-o", tmp_path / "p.png", "--method", method, "--maps", tmp_path / "m"
    )
    assert status == 1 and "exists; --force replaces it" in errors
    assert not (tmp_path / "p.png").exists()


def test_maps_are_those_of_the_image_written(run, folder, tmp_path):
    """Once for a pair, one more for each further image where they are folded, of all at once by GF."""
    names = ["a.png", "b.png", "a.png"]
    for method in ("psfs", "gf"):
        options = ("--method", method, "--maps", tmp_path, "--keep-all")
        assert run(*names, "-o", tmp_path / f"{method}.png", *options)[0] == 0
    sources = [images.read(folder / name) for name in names]
    decisions = registry.fuse("psfs", sources).decisions
    assert len(decisions) == 2
    for number, step in enumerate(decisions, 2):
        np.testing.assert_array_equal(
            images.read(tmp_path / f"psfs_image{number}_decision.png"), step["decision"] * np.uint8(255)
        )
    assert {p.name for p in tmp_path.glob("gf_*")} == {
        f"gf_{layer}_{i}.png" for layer in ("base", "detail") for i in (1, 2, 3)
    }


def test_maps_are_refused_before_anything_is_written(run, tmp_path):
    (tmp_path / "file").touch()
    status, _, errors = run(
        "a.png", "b.png", "-o", tmp_path / "o.png", "--method", "lp", "--map", tmp_path / "m.png"
    )
    assert status == 1 and "--refine select" in errors
    for method, maps, words in (
        ("lp", "m", "gf, psfs and cnn"),
        ("two_stream", "m", "gf, psfs and cnn"),
        ("gf", "file", "is not a folder"),
        ("gf", "no/m", "does not exist"),
    ):
        status, _, errors = run(
            "a.png", "b.png", "-o", tmp_path / "o.png", "--method", method, "--maps", tmp_path / maps
        )
        assert status == 1 and words in errors and len(errors.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_options_without_a_default_take_numbers(run, tmp_path):
    def report(method, *settings):
        files = tmp_path / "o.png", tmp_path / "o.json"
        arguments = ["-o", files[0], "--json", files[1], "--method", method, "--force"]
        errors = run("a.png", "b.png", *arguments, *(x for s in settings for x in ("--set", s)))[2]
        return errors or json.loads(files[1].read_text())

    estimate = report("psfs")["estimated"]
    assert len(estimate) == 1 and all(0.2 <= sigma <= 8 for sigma in estimate[0]["sigmas"])
    fixed = report("psfs", "sigmas=2,3.5")
    assert fixed["estimated"] == [{"sigmas": [2, 3.5]}] and fixed["options"] == {"sigmas": [2, 3.5]}
    assert report("sp", "margin=0")["options"] == {"margin": 0}
    for method, setting in (("psfs", "sigmas=2"), ("psfs", "sigmas=2,x"), ("sp", "margin=1,2")):
        errors = report(method, setting)
        assert setting.split("=")[0] in errors and len(errors.splitlines()) == 1


def test_sigmas_at_the_end_of_their_range_get_a_warning(run, tmp_path):
    arguments = ("a.png", "a.png", "-o", tmp_path / "o.png", "--method", "psfs")
    assert "the range ends at 0.2 and 8" in run(*arguments)[1]


def test_psfs_says_its_sigmas_unless_quiet(run, tmp_path):
    arguments = ("a.png", "b.png", "-o", tmp_path / "o.png", "--method", "psfs", "--force")
    assert "sigmas of the blur in pixels: f " in run(*arguments)[1]
    assert run(*arguments, "-q") == (0, "", "")
    assert " s per megapixel" in run(*arguments, "-v")[1]


def test_what_the_files_say_is_carried_over(run, folder, tmp_path):
    """EXIF, profile, XMP, resolution and alpha."""
    exif = Image.Exif()
    exif[271], exif[274] = "a camera", 6
    alpha = np.full((40, 50), 255, np.uint8)
    alpha[:10] = 0
    paths = []
    for name in "ab":
        pixels = np.dstack([images.read(folder / f"{name}.png"), alpha])
        paths.append(tmp_path / f"{name}.png")
        xmp = PngImagePlugin.PngInfo()
        xmp.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{name}</x:xmpmeta>")
        written = {"exif": exif.tobytes(), "icc_profile": b"a profile", "pnginfo": xmp, "dpi": (300, 300)}
        Image.fromarray(pixels).save(paths[-1], **written)
    assert run(*paths, "-o", tmp_path / "out.png", "--method", "lp")[0] == 0
    fused = images.load(tmp_path / "out.png")
    assert fused.pixels.shape == (50, 40, 3)  # upright
    assert fused.metadata.icc == b"a profile" and b"a camera" in fused.metadata.exif
    assert fused.metadata.xmp == b"<x:xmpmeta>a</x:xmpmeta>"  # of the first
    assert round(fused.metadata.resolution.per("inch").x) == 300
    np.testing.assert_array_equal(fused.alpha, np.rot90(alpha, 3))


def test_too_little_memory_is_refused_before_decoding(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**27)
    monkeypatch.setattr(images, "load", None)
    status, _, error = run(folder / "a.png", folder / "b.png", "-o", tmp_path / "out.png", "--method", "lp")
    assert status == 1 and "a.png: 2 images of 50x40 pixels, fused by lp: not enough memory" in error
    assert error.count("\n") == 1


def test_standard_input_is_refused(run, folder, tmp_path):
    status, _, error = run("-", folder / "b.png", "-o", tmp_path / "out.png", "--method", "lp")
    assert status == 1 and "-: standard input is not read" in error


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (("-o", "none/out.png"), "its folder does not exist"),
        (("-o", "out.xyz"), "cannot be written as .xyz"),
        (("-o", "folder.png", "--force"), "is a folder"),
        (("-o", "out.png", "--panel", "out.png"), "two outputs"),
        (("-o", "out.png", "--panel", "a.png", "--force"), "one of the images"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(run, folder, monkeypatch, named, words):
    monkeypatch.setattr(images, "load", None)  # before anything is read
    before = sorted(folder.iterdir())
    status, _, errors = run("a.png", "b.png", *named, "--method", "lp")
    assert status == 1 and words in errors and len(errors.splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_deep_images_need_a_deep_format(run, tmp_path):
    status, _, errors = run("deep.png", "deep.png", "-o", tmp_path / "x.jpg", "--method", "lp")
    assert status == 1 and "16 bit images need" in errors
    assert not list(tmp_path.iterdir())


def test_a_result_beside_its_sources_gets_a_warning(run, folder, tmp_path):
    """A later run of the same command would fuse it too."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes((folder / name).read_bytes())
    for output, count in (("in/fused.png", 1), ("fused.png", 0)):
        status, _, errors = run(tmp_path / "in", "-o", tmp_path / output, "--method", "lp")
        assert status == 0 and errors.count("would fuse it too") == count


def test_long_names_are_written(run, tmp_path):
    name = 70 * "ä" + ".png"  # 144 of the 255 bytes that a name may have
    for path in (tmp_path / name, tmp_path / (251 * "a" + ".png")):
        assert run("a.png", "b.png", "-o", path, "--method", "lp")[0] == 0
        assert images.read(path).size


@pytest.mark.parametrize("name", ["new\nline", "-o", "[0-9]*?", "\udcff", "\x1b[2J", "é🙂'\" ", "%s %d {}"])
def test_any_name_is_read_and_said_in_a_line(run, folder, tmp_path, name):
    source = tmp_path / f"{name}.png"
    try:
        source.write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("no name of a file on this system")
    out, report, page = (tmp_path / f"{name}.out{ending}" for ending in (".png", ".json", ".html"))
    arguments = (source, "b.png", "-o", out, "--method", "lp", "--json", report, "--report", page)
    status, said, errors = run(*arguments)
    assert status == 0 and len(said.splitlines()) == 2, errors
    assert len(errors.splitlines()) == errors.count("warning: ")
    assert images.read(out).size and json.loads(report.read_text())["sources"][0] == str(source)
    assert page.stat().st_size > 1000
    assert name.isprintable() or repr(name)[1:-1] in said
    status, said, errors = run(*arguments)
    assert status == 1 and not said and len(errors.splitlines()) == 1


def test_a_full_disk_leaves_nothing(run, folder, tmp_path, monkeypatch):
    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")  # which file, the system does not say

    monkeypatch.setattr(Path, "write_bytes", full)
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "out.png", "--method", "lp")
    assert status == 1 and errors == f"fuse.py: error: {tmp_path / 'out.png'}: No space left on device\n"
    assert not list(tmp_path.iterdir())


def test_a_result_made_meanwhile_stays(run, tmp_path, monkeypatch):
    """Two programs make one output: the second is refused, or replaces it where --force says so."""
    path, original = tmp_path / "out.png", fuse.pipeline.fuse

    def slow(*arguments, **options):
        path.write_bytes(b"of another program")
        return original(*arguments, **options)

    monkeypatch.setattr(fuse.pipeline, "fuse", slow)
    status, _, errors = run("a.png", "b.png", "-o", path, "--method", "lp")
    assert status == 1 and f"{path}: exists; --force replaces it" in errors
    assert path.read_bytes() == b"of another program"
    assert run("a.png", "b.png", "-o", path, "--method", "lp", "--force")[0] == 0
    assert images.read(path).size


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_ctrl_c_leaves_nothing(run, tmp_path, monkeypatch, when):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*{"reading": (images, "load"), "writing": (os, "link")}[when], stop)
    assert run("a.png", "b.png", "-o", tmp_path / "out.png", "--method", "lp")[0] == 130
    assert not list(tmp_path.iterdir())


def fuzz(run, folder, out, rounds, seed):
    """Fuses an image with damaged copies of it: a whole result, or a line and none. How many of these."""
    rng = np.random.default_rng(seed)
    images.write(folder / "whole.tif", images.read(folder / "a.png"))
    tifffile.imwrite(folder / "plain.tif", images.read(folder / "a.png"))  # without checksums
    seeds = [(folder / name).read_bytes() for name in ("a.png", "whole.tif", "plain.tif")]
    refused = 0
    for i in range(rounds):
        data = bytearray(seeds[i % len(seeds)])
        for _ in range(rng.integers(1, 6)):
            at, length = rng.integers(len(data)), rng.integers(20)
            data[at : at + length] = rng.bytes(rng.integers(20))
        (folder / "damaged.png").write_bytes(data)
        status, _, errors = run("a.png", "damaged.png", "-o", out / "out.png", "--method", "lp", "--force")
        if status == 0:
            assert images.read(out / "out.png").shape == (40, 50, 3)
            (out / "out.png").unlink()
        else:
            assert status == 1 and re.fullmatch("fuse.py: error: .*damaged.png.*\n", errors), errors
            refused += 1
        assert not list(out.iterdir())
    return refused


def test_damaged_images_give_one_line_or_a_whole_result(run, folder, tmp_path):
    assert 100 < fuzz(run, folder, tmp_path, 200, seed=1) < 200


@pytest.mark.slow
def test_ten_thousand_damaged_images(run, folder, tmp_path):
    assert 5000 < fuzz(run, folder, tmp_path, 10_000, seed=2) < 10_000


def test_a_channel_and_a_range_of_a_hyperstack_are_fused(run, tmp_path):
    levels = np.random.default_rng(0).normal(0, 100, (2, 3, 40, 50)).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", levels, photometric="minisblack", metadata={"axes": "CZYX"})
    command = (tmp_path / "x.tif", "-o", tmp_path / "o.tif", "--method", "lp")
    status, _, errors = run(*command)
    assert status == 1 and "2 channels (axes CZYX)" in errors and "--channel N" in errors
    status, _, errors = run(*command, "--channel", 2)
    assert status == 1 and "--range LOW,HIGH" in errors
    assert run(*command, "--channel", 2, "--range=-400,400")[0] == 0
    frames = [images.read(tmp_path / "x.tif", z, channel=2, value_range=(-400, 400)) for z in range(3)]
    fused = pipeline.fuse(frames, "lp").image
    np.testing.assert_array_equal(images.read(tmp_path / "o.tif"), fused)
    for wrong in ("1", "2,1", "a,b", "0,inf"):
        assert run(*command, "--range", wrong)[0] == 2


PEAK = """
import sys
from eval import bench
from tools import fuse
assert fuse.main(sys.argv[1:]) == 0
print(bench.peak_memory())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak of one process")
def test_many_frames_take_no_more_memory(tmp_path):
    """Eight and forty frames of a megapixel: a third of each further one, at most, is held."""
    image = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)
    images.write(tmp_path / "a.tif", image)
    peaks = []
    for count in (8, 40):
        (tmp_path / "list.txt").write_text("a.tif\n" * count)
        command = [sys.executable, "-c", PEAK, f"@{tmp_path}/list.txt", "-o", str(tmp_path / "o.tif")]
        options = ["--method", "lp", "--force", "-q"]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout) * 2**20)
    assert peaks[1] - peaks[0] < 32 * image.nbytes / 3


@pytest.fixture
def shifted(tmp_path):
    """Three images, each 6 pixels further right and 10 % darker than the one before; and a flat one."""
    scene = cv2.GaussianBlur(
        np.random.default_rng(5).integers(0, 255, (160, 240, 3)).astype(np.float32), (0, 0), 2
    )
    scene = cv2.normalize(scene, None, 20, 240, cv2.NORM_MINMAX)
    paths = [tmp_path / f"in{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        part = scene[20:140, 40 - 6 * i : 200 - 6 * i] * 0.9**i
        images.write(path, np.rint(part).astype(np.uint8))
    images.write(tmp_path / "flat.png", np.full((120, 160, 3), 99, np.uint8))
    return paths


def test_images_are_brought_into_register(run, shifted, tmp_path):
    out, report = tmp_path / "out.png", tmp_path / "report.json"
    arguments = (*shifted, "-o", out, "--json", report, "--method", "lp", "--align", "translation", "--force")
    status, _, errors = run(*arguments)
    assert status == 0, errors
    written = json.loads(report.read_text())
    assert written["reference"] == str(shifted[1]) and written["align"] == "translation"
    assert [round(matrix[0][2]) for matrix in written["transforms"]] == [-6, 0, 6]
    left, top = written["window"]["left"], written["window"]["top"]
    fused = images.read(out).astype(int)
    assert 144 <= fused.shape[1] <= 148 and 116 <= fused.shape[0] <= 120
    expected = images.read(shifted[1])[top:, left:][: fused.shape[0], : fused.shape[1]]
    assert np.abs(fused - expected).mean() < 2  # in place, and as bright as the reference
    assert run(*arguments, "--keep-size", "--reference", "1", "--no-exposure")[0] == 0
    replaced = images.read(out)
    assert replaced.shape == (120, 160, 3)


def test_aligned_images_are_written(run, shifted, tmp_path):
    status, output, errors = run(*shifted, "--align-only", tmp_path / "aligned", "-v")
    assert status == 0, errors
    assert sorted(p.name for p in (tmp_path / "aligned").iterdir()) == ["in0.tif", "in1.tif", "in2.tif"]
    aligned = [images.read(p).astype(int) for p in sorted((tmp_path / "aligned").iterdir())]
    assert all(np.abs(x - aligned[1]).mean() < 2 for x in aligned)
    assert "in0.png: shifted by -6" in output.replace("-5.9", "-6.0")
    assert run(*shifted, "--align-only", tmp_path / "aligned")[0] == 1  # they are there


def test_aligned_images_keep_their_own_alpha(run, shifted, tmp_path):
    alpha = np.full((120, 160), 255, np.uint8)
    alpha[40:80, 60:100] = 0
    images.write(shifted[0], images.read(shifted[0]), alpha)
    status, _, errors = run(*shifted, "--align-only", tmp_path / "aligned", "--keep-size")
    assert status == 0, errors
    first, second = (images.load(tmp_path / "aligned" / f"in{i}.tif") for i in (0, 1))
    assert second.alpha is None
    clear = np.argwhere(first.alpha < 128)  # moved with the image, by 6 pixels
    assert np.abs(clear.min(0) - (40, 66)).max() <= 1 and np.abs(clear.max(0) - (79, 105)).max() <= 1


def test_an_image_of_one_pixel_is_named(run, tmp_path):
    for name in "ab":
        images.write(tmp_path / f"{name}.png", np.zeros((1, 1), np.uint8))
    status, _, errors = run(tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out.png")
    assert status == 1 and f"{tmp_path / 'a.png'} is 1x1 8 bit gray: at least 2x2" in errors
    assert not (tmp_path / "out.png").exists()


def test_aligned_images_have_a_report_and_names_of_their_own(run, shifted, tmp_path):
    report = tmp_path / "report.json"
    assert run(*shifted, "--align-only", tmp_path / "aligned", "--crop", "--json", report)[0] == 0
    written = json.loads(report.read_text())
    assert len(written["transforms"]) == 3 and written["output"] == str(tmp_path / "aligned")
    (tmp_path / "other").mkdir()
    same = tmp_path / "other/in0.jpg"
    images.write(same, images.read(shifted[0]))
    status, _, errors = run(*shifted, same, "--align-only", tmp_path / "twice", "--force")
    assert status == 1 and "in0.tif: named for two" in errors and not (tmp_path / "twice").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--align", "--reference", "4"), 1, "there are 3 images"),
        (("--keep-size",), 2, "--align"),
        (("--align", "sideways"), 2, "sideways"),
    ],
)
def test_wrong_alignments_are_refused(run, shifted, tmp_path, arguments, status, words):
    result = run(*shifted, "-o", tmp_path / "out.png", "--method", "lp", *arguments)
    assert result[0] == status and words in result[2]
    assert not (tmp_path / "out.png").exists()


def test_the_frame_that_cannot_be_aligned_is_named(run, shifted, tmp_path):
    images_of = (*shifted, tmp_path / "flat.png")
    status, _, errors = run(*images_of, "-o", tmp_path / "out.png", "--align", "--keep-all")
    warning, error = errors.splitlines()
    assert warning.startswith(f"fuse.py: warning: {tmp_path / 'flat.png'} is fused, though")
    assert status == 1 and error.startswith(f"fuse.py: error: {tmp_path / 'flat.png'}: ")


def test_a_flat_reference_is_named_too(run, shifted, tmp_path):
    status, _, errors = run(
        tmp_path / "flat.png", *shifted, "-o", tmp_path / "out.png", "--align", "--reference", 1
    )
    assert status == 1 and errors.startswith(f"fuse.py: error: {tmp_path / 'flat.png'}: ")


def test_images_out_of_register_are_reported(run, shifted, tmp_path):
    warned = run(shifted[0], shifted[2], "-o", tmp_path / "out.png", "--method", "lp")[2]
    assert warned.startswith("fuse.py: warning: ") and "--align" in warned and len(warned.splitlines()) == 1
    assert run(shifted[0], shifted[0], "-o", tmp_path / "o.png", "--method", "lp")[2] == ""


@pytest.mark.parametrize("option", ["--panel", "--map", "--maps", "--report"])
def test_what_only_fusing_makes_is_not_asked_of_aligning(run, folder, tmp_path, option):
    status, _, errors = run("a.png", "b.png", "--align-only", tmp_path / "x", option, tmp_path / "y.png")
    assert (
        status == 2
        and "leave --panel, --map, --maps and --report out" in errors
        and not any(tmp_path.iterdir())
    )


def test_a_file_named_for_two_outputs_is_refused(run, tmp_path):
    twice = tmp_path / "p.png"
    result = run("a.png", "b.png", "-o", tmp_path / "o.png", "--panel", twice, "--map", twice)
    assert result[0] == 1 and f"{twice}: named for two outputs" in result[2]


@pytest.mark.parametrize(
    ("shape", "name", "words"),
    [((16, 20, 4), "o.jpg", "JPEG has no alpha"), ((16, 16400, 3), "o.webp", "ends at 16383 pixels")],
)
def test_pixels_a_format_cannot_hold_are_refused_first(run, tmp_path, monkeypatch, shape, name, words):
    monkeypatch.setattr(registry, "fuse", None)  # what is not come to
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    for i in "ab":
        images.write(tmp_path / f"{i}.png", pixels[..., :3], pixels[..., 3] if shape[2] == 4 else None)
    result = run(tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / name, "--method", "lp")
    assert result[0] == 1 and words in result[2] and len(result[2].splitlines()) == 1


FAILS_WHILE_READING = """
import sys, time
import cv2
from two_stream_fusion.methods import registry
from tools import fuse
decode = cv2.imdecode
def slowly(*arguments):
    time.sleep(0.4)
    return decode(*arguments)
def fails(method, frames, **rest):
    coming = iter(frames)
    next(coming)
    time.sleep(0.2)  # the second is read now
    raise ValueError("of the first image")
cv2.imdecode, registry.fuse = slowly, fails
sys.argv[0] = "fuse.py"
fuse.command()
"""


def test_an_error_is_printed_while_the_next_image_is_read(tmp_path):
    """OpenCV reads them with stderr turned away."""
    images.write(tmp_path / "x.png", np.random.default_rng(0).integers(0, 65535, (40, 50, 3), np.uint16))
    names = [str(tmp_path / "x.png")] * 3
    command = [sys.executable, "-c", FAILS_WHILE_READING, *names, "-o", str(tmp_path / "o.png")]
    done = subprocess.run([*command, "--method", "lp"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "fuse.py: error: of the first image\n")


def test_too_little_memory_is_a_line(run, tmp_path, monkeypatch):
    def short(*arguments, **options):
        raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(registry, "fuse", short)
    result = run("a.png", "b.png", "-o", tmp_path / "o.png", "--method", "lp")
    assert result == (1, "", "fuse.py: error: not enough memory\n")


def test_nets_of_before_2015_are_refused(run, tmp_path):
    """Their layers stand in another field, by which the reach of their filters would be 0 and tiles show."""
    old = (
        'input: "a" layers { name: "c" type: CONVOLUTION bottom: "a" top: "c" convolution_param { pad: 10 } }'
    )
    (tmp_path / "old.prototxt").write_text(old)
    net = ("--net", tmp_path / "old.prototxt", "--weights", "w.caffemodel")
    result = run("a.png", "b.png", "-o", tmp_path / "o.png", *net)
    assert result[0] == 1 and "old.prototxt: a net from before 2015" in result[2]


def test_a_bad_frame_is_reported(run, tmp_path):
    for i, frame in enumerate(slope(photograph()[:200, :200], 4)):
        images.write(tmp_path / f"{i}.png", levels(frame * (i != 1)))
    files = [tmp_path / f"{i}.png" for i in range(4)]
    out, report = tmp_path / "out.tif", tmp_path / "r.json"
    status, _, errors = run(*files, "-o", out, "--json", report, "--method", "lp")
    assert status == 0 and f"{files[1]} is left out" in errors and "--keep-all" in errors
    content = json.loads(report.read_text())
    assert [entry["source"] for entry in content["left_out"]] == [str(files[1])]
    assert content["sources"] == list(map(str, files))
    status, _, errors = run(*files, "-o", out, "--force", "--method", "lp", "--keep-all", "--keep-order")
    assert status == 0 and "left out" not in errors
    status, _, errors = run(*files, "--align-only", tmp_path / "aligned", "--json", report, "--force")
    assert status == 0 and f"{files[1]} is left out" in errors
    assert sorted(os.listdir(tmp_path / "aligned")) == ["0.tif", "2.tif", "3.tif"]
    assert json.loads(report.read_text())["transforms"][1] is None


def test_a_page_shows_what_was_fused(run, folder, tmp_path):
    evil = tmp_path / "<script>.png"
    images.write(evil, images.read(folder / "a.png"))
    page, out = tmp_path / "look.html", tmp_path / "out.png"
    status, output, errors = run(
        evil, "b.png", "-o", out, "--method", "dwt", "--set", "levels=2", "--report", page
    )
    assert status == 0, errors
    assert f"{page}: a page for a browser" in output
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;.png" in text and text.count("<script>") == 1 and 'href="%3Cscript%3E.png"' in text
    assert "<dt>levels</dt><dd>2</dd>" in text
    assert sorted(os.listdir(tmp_path)) == ["<script>.png", "look.html", "out.png"]
    assert run(evil, "b.png", "-o", tmp_path / "2.png", "--method", "dwt", "--report", page)[0] == 1  # exists


def test_the_page_of_a_quiet_run_has_its_warnings(run, shifted, tmp_path):
    page = tmp_path / "look.html"
    arguments = (shifted[0], shifted[2], "-o", tmp_path / "out.png", "--method", "dwt", "--report", page)
    assert run(*arguments, "-q") == (0, "", "")
    quiet = html.unescape(page.read_text(encoding="utf-8"))
    _, _, errors = run(*arguments, "--force")
    (warning,) = re.findall(r"warning: (.*)", errors)
    assert f"<strong>Warning:</strong> {warning}" in quiet


@pytest.mark.parametrize("name", ["page.txt", "page", "b.png"])
def test_a_page_is_an_html_file(run, tmp_path, name):
    arguments = ("a.png", "b.png", "-o", tmp_path / "out.png", "--method", "dwt")
    status, _, errors = run(*arguments, "--report", tmp_path / name)
    assert (
        status == 1 and "a page of --report needs the ending .html" in errors and not list(tmp_path.iterdir())
    )


def test_a_batch_gives_a_page_for_each_result(run, folder, tmp_path):
    (tmp_path / "batch.csv").write_text(
        f"x/one,{folder}/a.png,{folder}/b.png\ntwo.tif,{folder}/b.png,{folder}/a.png\n"
    )
    arguments = ("--batch", tmp_path / "batch.csv", "-o", tmp_path / "fused", "--report", tmp_path / "pages")
    status, _, errors = run(*arguments, "--method", "dwt")
    assert status == 0, errors
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert pages == {"pages/x/one.html", "pages/two.html"}
    assert 'href="../../fused/x/one.png"' in (tmp_path / "pages/x/one.html").read_text(encoding="utf-8")
