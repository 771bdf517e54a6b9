import sys

import numpy as np
import pytest

from tools import bench_fuse
from two_stream_fusion.io import images


def test_whole_commands_are_timed(monkeypatch, capsys):
    done = []

    def measured(command):
        done.append(command)
        level = 100 + 2 * ("bfloat16" in command)
        images.write(command[-1], np.full((3, 4, 3), level, np.uint8))
        return 0.3, 0.2, 50 + len(done)

    monkeypatch.setattr(bench_fuse, "measure_command", measured)
    monkeypatch.setattr(bench_fuse.shutil, "which", lambda name: None)
    bench_fuse.main(["--megapixels", "0.1", "--rounds", "3"])
    table = capsys.readouterr().out.splitlines()
    rows = [line for line in table if line.startswith("| `fuse.py")]
    assert len(rows) == len(done) / 3
    assert rows[0] == f"| `fuse.py` | 3.00 | 2.00 | {51 + len(rows)} |"
    assert table[-1] == "bfloat16 differs from float32 by 2.00 levels of 255 in the mean, 2 at most"


def test_a_command_is_measured():
    """Its memory is its own: this process has had ten times as much as the small command."""
    np.ones(100_000_000, np.uint8)
    seconds, work, memory = bench_fuse.measure_command(["sleep", "1"])
    assert seconds >= 1 and 0 <= work < 0.5 and 0.5 < memory < 30
    large = [sys.executable, "-c", "b'x' * 500_000_000"]
    assert 500 < bench_fuse.measure_command(large).megabytes < 600
    with pytest.raises(OSError, match="broken"):
        bench_fuse.measure_command([sys.executable, "-c", "raise SystemExit('broken')"])


@pytest.mark.parametrize("wrong", ["--rounds", "--megapixels"])
def test_counts_are_more_than_nothing(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        bench_fuse.main([wrong, "0"])
    assert stop.value.code == 2 and f"{wrong} 0: more than 0" in capsys.readouterr().err
