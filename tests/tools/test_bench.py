import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tools import bench
from two_stream_fusion.io import images


def test_the_table_is_medians_ratios_and_shares(monkeypatch, capsys):
    monkeypatch.setattr(
        bench, "programs", lambda gpu: {"old": (Path("o"), None), "new": (Path("n"), "float32")}
    )
    train, fuse = iter([90.0, 30.0, 100.0, 20.0, 80.0, 10.0]), iter([8.0, 2.0, 9.0, 1.0, 7.0, 3.0])
    monkeypatch.setattr(bench, "training", lambda *_: next(train))
    monkeypatch.setattr(bench, "inference", lambda *_: (next(fuse), 100.0, 1000, 100))
    monkeypatch.setattr(bench, "matrix_product", lambda *_: 40.0)
    monkeypatch.setattr(bench, "patch_side", lambda: 50)
    assert bench.main(["--side", "100"]) == 0
    old, new = capsys.readouterr().out.splitlines()[-2:]
    # 2900 operations for each of 16 x 2500 pixels are 0.116 billion: in 90 ms 1.29 billion a second of 40
    assert old == "| old | 16 | 90 | 178 | 1.0 | 3 | 8 | 1.0 | 3 | 100 |"
    # and in 20 ms 5.8 of 40; fusing: 1000 operations for each of 10 000 pixels in 2 ms are 5 of 40
    assert new == "| new | 16 | 20 | 800 | 4.5 | 14 | 2 | 4.0 | 12 | 100 |"


def test_every_size_of_batches_is_a_row(monkeypatch, capsys):
    """Images are fused once for all of them, and compared with the first of the same size."""
    monkeypatch.setattr(
        bench, "programs", lambda gpu: {"old": (Path("o"), None), "new": (Path("n"), "float32")}
    )
    train = iter([90.0, 200.0, 30.0, 50.0])
    monkeypatch.setattr(bench, "training", lambda *_: next(train))
    monkeypatch.setattr(bench, "inference", lambda *_: (4.0, 100.0, 1000, 100))
    monkeypatch.setattr(bench, "matrix_product", lambda *_: 40.0)
    monkeypatch.setattr(bench, "patch_side", lambda: 50)
    assert bench.main(["--side", "100", "--rounds", "1", "--batch", "16", "64"]) == 0
    # 2900 operations for each of 64 x 2500 pixels are 0.464 billion: in 200 ms 2.3 billion a second of 40
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "| old | 16 | 90 | 178 | 1.0 | 3 | 4 | 1.0 | 6 | 100 |",
        "| new | 16 | 30 | 533 | 3.0 | 10 | 4 | 1.0 | 6 | 100 |",
        "| old | 64 | 200 | 320 | 1.0 | 6 | | | | |",
        "| new | 64 | 50 | 1280 | 4.0 | 23 | | | | |",
    ]


def test_batches_of_another_size(tmp_path):
    path = bench.model("2-1-2_f32_k3", 3, tmp_path)
    before = (bench.ROOT / "prototxt/2-1-2_f32_k3/train_val.prototxt").read_text()
    assert path.read_text() == before.replace("batch_size: 16", "batch_size: 3") != before


def test_a_matrix_product_is_timed():
    """Between what a single multiplier and what a rack of machines could do, in billions a second."""
    assert 0.1 < bench.matrix_product("float32") < 1e6


def test_a_gpu_that_is_not_there_is_one_line(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(OSError, match="no GPU to use"):
        bench.main(["--gpu", "0", "--rounds", "1"])


@pytest.mark.parametrize("wrong", ["--rounds", "--iterations", "--batch", "--side", "--megapixels"])
def test_counts_are_more_than_nothing(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main([wrong, "0"])
    assert stop.value.code == 2 and f"{wrong} 0: more than 0" in capsys.readouterr().err


def test_nets_whose_work_is_not_counted_are_refused():
    with pytest.raises(ValueError, match="conv1_a has a stride"):
        bench.main(["--net", "2-1-2_f64_k5_stride5"])


def test_training_on_a_gpu_is_timed_by_its_log(monkeypatch, tmp_path):
    done = []

    def run(command):
        done.append([str(word) for word in command])
        speeds = ["0 iter/s, 2s", "200 iter/s, 0.2s", "400 iter/s, 0.1s"]
        lines = [f"Iteration {40 * i} ({speed}/40 iters), loss = 1\n" for i, speed in enumerate(speeds)]
        return SimpleNamespace(stderr="".join(lines))

    monkeypatch.setattr(bench, "run", run)
    assert bench.training(Path("bin"), "tf32", tmp_path / "net.prototxt", 1, 40) == 2.5
    solver = text_format.Parse((tmp_path / "timed.prototxt").read_text(), caffe_pb2.SolverParameter())
    assert (solver.net, solver.display, solver.max_iter) == (str(tmp_path / "net.prototxt"), 40, 81)
    assert done == [
        ["bin/caffe", "train", "-solver", str(tmp_path / "timed.prototxt"), "-precision", "tf32", "-gpu", "1"]
    ]


def test_whole_commands_are_timed(monkeypatch, capsys):
    done = []

    def measured(command):
        done.append(command)
        level = 100 + 2 * ("bfloat16" in command)
        images.write(command[-1], np.full((3, 4, 3), level, np.uint8))
        return 0.3, 0.2, 50 + len(done)

    monkeypatch.setattr(bench, "measured", measured)
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    assert bench.main(["--megapixels", "0.1", "--rounds", "3"]) == 0
    table = capsys.readouterr().out.splitlines()
    rows = [line for line in table if line.startswith("| `fuse.py")]
    assert len(rows) == len(done) / 3
    assert rows[0] == f"| `fuse.py` | 3.00 | 2.00 | {51 + len(rows)} |"
    assert table[-1] == "bfloat16 differs from float32 by 2.00 levels of 255 in the mean, 2 at most"


def test_a_command_is_measured():
    seconds, work, memory = bench.measured(
        [sys.executable, "-c", "import time; b'x' * 50_000_000; time.sleep(1)"]
    )
    assert seconds >= 1 and 0 < work < 1 + seconds and memory > 50
    with pytest.raises(OSError, match="broken"):
        bench.measured([sys.executable, "-c", "raise SystemExit('broken')"])


def test_a_program_that_fails_is_named():
    with pytest.raises(OSError, match=r"^false: exit status 1$"):
        bench.run(["false"])
    with pytest.raises(OSError, match=r"^sh: last$"):
        bench.run(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])


def test_flags_of_a_precision_and_a_gpu():
    assert bench.flags(None, None) == []
    assert bench.flags("bfloat16", 0) == ["-precision", "bfloat16", "-gpu", "0"]
