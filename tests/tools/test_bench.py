from pathlib import Path

import pytest

from tools import bench


def test_the_table_is_medians_ratios_and_shares(monkeypatch, capsys):
    monkeypatch.setattr(bench, "programs", lambda: {"old": (Path("o"), None), "new": (Path("n"), "float32")})
    train, fuse = iter([90.0, 30.0, 100.0, 20.0, 80.0, 10.0]), iter([8.0, 2.0, 9.0, 1.0, 7.0, 3.0])
    monkeypatch.setattr(bench, "training", lambda *_: next(train))
    monkeypatch.setattr(bench, "inference", lambda *_: (next(fuse), 100.0, 1000, 100))
    monkeypatch.setattr(bench, "matrix_product", lambda precision: 40.0)
    monkeypatch.setattr(bench, "patch_side", lambda: 50)
    assert bench.main(["--side", "100"]) == 0
    old, new = capsys.readouterr().out.splitlines()[-2:]
    # 2900 operations for each of 16 x 2500 pixels are 0.116 billion: in 90 ms 1.29 billion a second of 40
    assert old == "| old | 90 | 1.0 | 3 | 8 | 1.0 | 3 | 100 |"
    # and in 20 ms 5.8 of 40; fusing: 1000 operations for each of 10 000 pixels in 2 ms are 5 of 40
    assert new == "| new | 20 | 4.5 | 14 | 2 | 4.0 | 12 | 100 |"


def test_whole_commands_are_timed(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(bench, "run", lambda command: done.append(command))
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    assert bench.main(["--megapixels", "0.1", "--rounds", "2"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| `fuse.py") for line in table) == len(done) / 2
    assert all(str(command[1]).endswith("fuse.py") for command in done)


def test_a_program_that_fails_is_named():
    with pytest.raises(OSError, match="false"):
        bench.run(["false"])


def test_flags_of_a_precision_and_a_gpu():
    assert bench.flags(None, None) == []
    assert bench.flags("bfloat16", 0) == ["-precision", "bfloat16", "-gpu", "0"]
