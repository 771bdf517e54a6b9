from pathlib import Path
from types import SimpleNamespace

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tools import timing


def test_a_matrix_product_is_timed(monkeypatch):
    """Between what a single multiplier and what a rack of machines could do, in billions a second."""
    monkeypatch.setattr(timing, "MATRIX_PRODUCT", timing.MATRIX_PRODUCT.replace("2048", "512"))
    assert 0.1 < timing.time_matrix_product("float32") < 1e6


def test_training_on_a_gpu_is_timed_by_its_log(monkeypatch, tmp_path):
    done = []

    def run(command):
        done.append([str(word) for word in command])
        speeds = ["0 iter/s, 2s", "200 iter/s, 0.2s", "400 iter/s, 0.1s"]
        lines = [f"Iteration {40 * i} ({speed}/40 iters), loss = 1\n" for i, speed in enumerate(speeds)]
        return SimpleNamespace(stderr="".join(lines))

    monkeypatch.setattr(timing, "run_command", run)
    assert timing.time_training(Path("bin"), "tf32", tmp_path / "net.prototxt", 1, 40) == 2.5
    solver = text_format.Parse((tmp_path / "timed.prototxt").read_text(), caffe_pb2.SolverParameter())
    assert (solver.net, solver.display, solver.max_iter) == (str(tmp_path / "net.prototxt"), 40, 81)
    assert done == [
        ["bin/caffe", "train", "-solver", str(tmp_path / "timed.prototxt"), "-precision", "tf32", "-gpu", "1"]
    ]


def test_a_program_that_fails_is_named():
    with pytest.raises(OSError, match=r"^false: exit status 1$"):
        timing.run_command(["false"])
    with pytest.raises(OSError, match=r"^sh: last$"):
        timing.run_command(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])


def test_what_a_command_prints_is_in_files(tmp_path):
    script = ["sh", "-c", "echo $NAME; echo why >&2; exit ${STATUS:-0}"]
    together, output, errors = (tmp_path / "logs" / name for name in ("both", "output", "errors"))
    timing.run_logged(script, "it", together, environment={"NAME": "a"})
    assert together.read_text() == "a\nwhy\n"
    timing.run_logged(script, "it", output, errors, {"NAME": "b"})
    assert (output.read_text(), errors.read_text()) == ("b\n", "why\n")
    for files in ([together], [output, errors]):
        with pytest.raises(ValueError) as stop:
            timing.run_logged(script, "it", *files, environment={"STATUS": "3"})
        assert str(stop.value) == f"it ended with status 3: why (log: {files[-1]})"


def test_bvlc_caffe_is_in_build_or_where_the_environment_says(monkeypatch):
    monkeypatch.delenv("BVLC_CAFFE", raising=False)
    assert timing.bvlc_folder() == timing.ROOT / "build/bvlc/bin"
    monkeypatch.setenv("BVLC_CAFFE", "/opt/caffe")
    assert timing.bvlc_folder() == Path("/opt/caffe/bin")


def test_flags_of_a_precision_and_a_gpu():
    assert timing.caffe_flags(None, None) == []
    assert timing.caffe_flags("bfloat16", 0) == ["-precision", "bfloat16", "-gpu", "0"]
