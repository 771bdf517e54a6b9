from pathlib import Path

import pytest
import torch

from tools import bench_caffe, timing


def test_the_table_is_medians_ratios_and_shares(monkeypatch, capsys):
    monkeypatch.setattr(
        bench_caffe, "list_programs", lambda gpu: {"old": (Path("o"), None), "new": (Path("n"), "float32")}
    )
    train, fuse = iter([90.0, 30.0, 100.0, 20.0, 80.0, 10.0]), iter([8.0, 2.0, 9.0, 1.0, 7.0, 3.0])
    monkeypatch.setattr(timing, "time_training", lambda *_: next(train))
    monkeypatch.setattr(timing, "time_inference", lambda *_: timing.Inference(next(fuse), 100.0, 1000, 100))
    monkeypatch.setattr(timing, "time_matrix_product", lambda *_: 40.0)
    monkeypatch.setattr(bench_caffe, "patch_side", lambda: 50)
    bench_caffe.main(["--nets", "paper", "--side", "100"])
    old, new = capsys.readouterr().out.splitlines()[-2:]
    # 2900 operations for each of 16 x 2500 pixels are 0.116 billion: in 90 ms 1.29 billion a second of 40
    assert old == "| old | 16 | 90 | 178 | 1.0 | 3 | 8 | 1.0 | 3 | 100 |"
    # and in 20 ms 5.8 of 40; fusing: 1000 operations for each of 10 000 pixels in 2 ms are 5 of 40
    assert new == "| new | 16 | 20 | 800 | 4.5 | 14 | 2 | 4.0 | 12 | 100 |"


def test_every_size_of_batches_is_a_row(monkeypatch, capsys):
    """Images are fused once for all of them, and compared with the first of the same size."""
    monkeypatch.setattr(
        bench_caffe, "list_programs", lambda gpu: {"old": (Path("o"), None), "new": (Path("n"), "float32")}
    )
    train = iter([90.0, 200.0, 30.0, 50.0])
    monkeypatch.setattr(timing, "time_training", lambda *_: next(train))
    monkeypatch.setattr(timing, "time_inference", lambda *_: timing.Inference(4.0, 100.0, 1000, 100))
    monkeypatch.setattr(timing, "time_matrix_product", lambda *_: 40.0)
    monkeypatch.setattr(bench_caffe, "patch_side", lambda: 50)
    bench_caffe.main(["--nets", "paper", "--side", "100", "--rounds", "1", "--batch", "16", "64"])
    # 2900 operations for each of 64 x 2500 pixels are 0.464 billion: in 200 ms 2.3 billion a second of 40
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "| old | 16 | 90 | 178 | 1.0 | 3 | 4 | 1.0 | 6 | 100 |",
        "| new | 16 | 30 | 533 | 3.0 | 10 | 4 | 1.0 | 6 | 100 |",
        "| old | 64 | 200 | 320 | 1.0 | 6 | | | | |",
        "| new | 64 | 50 | 1280 | 4.0 | 23 | | | | |",
    ]


def test_batches_of_another_size(tmp_path):
    path = bench_caffe.write_train_val("2-1-2_f32_k3", 3, tmp_path)
    before = (bench_caffe.ROOT / "prototxt/2-1-2_f32_k3/train_val.prototxt").read_text()
    assert path.read_text() == before.replace("batch_size: 16", "batch_size: 3") != before


def test_a_gpu_that_is_not_there_is_one_line(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(OSError, match="no GPU to use"):
        bench_caffe.main(["--gpu", "0", "--rounds", "1"])


@pytest.mark.parametrize("wrong", ["--rounds", "--iterations", "--batch", "--side"])
def test_counts_are_more_than_nothing(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        bench_caffe.main([wrong, "0"])
    assert stop.value.code == 2 and f"{wrong} 0: more than 0" in capsys.readouterr().err


def test_nets_whose_work_is_not_counted_are_refused():
    with pytest.raises(ValueError, match="conv1_a has a stride"):
        bench_caffe.main(["--net", "2-1-2_f64_k5_stride5"])


def test_small_nets_are_rows_of_their_own(monkeypatch, capsys):
    programs = {"old": (Path("o"), None), "new": (Path("n"), "float32"), "half": (Path("n"), "bfloat16")}
    programs = {label: bench_caffe.Program(*program) for label, program in programs.items()}
    monkeypatch.setattr(bench_caffe, "list_programs", lambda gpu: programs)
    # of a short and a long training: 20000 iterations more, and 50
    seconds = iter([1, 1.8, 3, 6.2, 0, 1.5, 3, 4])
    monkeypatch.setattr(timing, "cpu_seconds", lambda _: next(seconds))
    bench_caffe.main(["--nets", "small", "--rounds", "1"])
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "| logistic regression | 10 | old | 0.04 | 1 |",
        "| logistic regression | 10 | new | 0.16 | 0.25 |",
        "| LeNet | 64 | old | 30 | 1 |",
        "| LeNet | 64 | new | 20 | 1.5 |",
    ]
