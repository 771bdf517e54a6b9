import csv
import math

import pytest

from tools import plot_log

LOG = """\
I1123 13:39:19.000000  1 solver.cpp:347] Iteration 0, Testing net (#0)
I1123 13:39:19.000000  1 solver.cpp:414]     Test net output #0: loss = 10 (* 2 = 20 loss)
I1123 13:39:19.000000  1 solver.cpp:239] Iteration 0 (-nan iter/s, 0.2s/10 iters), loss = 21.5
I1123 13:39:19.000000  1 solver.cpp:258]     Train net output #0: loss = 10.75 (* 2 = 21.5 loss)
I1123 13:39:21.000000  1 solver.cpp:239] Iteration 10 (4 iter/s, 2.5s/10 iters), loss = 1.65e+01
I1123 13:39:24.000000  1 solver.cpp:327] Iteration 20, loss = 12
I1123 13:39:24.000000  1 solver.cpp:347] Iteration 20, Testing net (#0)
I1123 13:39:24.000000  1 solver.cpp:414]     Test net output #0: loss = 6
"""


def test_losses_are_read_from_a_log():
    train, test = plot_log.parse(LOG.splitlines())
    assert train == [(0, 21.5), (10, 16.5), (20, 12.0)]
    assert test == [(0, 20.0), (20, 6.0)]


def test_of_iterations_run_again_the_later_stands():
    resumed = LOG + "I1 1 1 x] Iteration 10 (4 iter/s, 2.5s/10 iters), loss = 15\n"
    assert plot_log.parse(resumed.splitlines())[0][1] == (10, 15.0)


def test_psnr_is_that_of_the_mean_square():
    # a loss of 1 over 4 x 50 x 50 values is a mean square of 1e-4
    assert plot_log.psnr(1, 50) == pytest.approx(40)
    assert math.isnan(plot_log.psnr(math.nan, 50)) and plot_log.psnr(math.inf, 50) == -math.inf
    assert plot_log.psnr(0, 50) == math.inf


def test_a_loss_below_zero_is_a_mean_logarithm(tmp_path, capsys):
    assert plot_log.psnr(-math.log(1e4), 50) == pytest.approx(40)
    (tmp_path / "n.log").write_text(LOG.replace("loss = ", "loss = -"))
    plot_log.main([str(tmp_path / "n.log"), "-o", str(tmp_path / "p.png")])
    assert "iteration 20, loss -12, validation 26.06 dB" in capsys.readouterr().out


def test_logs_of_one_name_are_two(tmp_path, capsys):
    for folder, end in (("one", ""), ("two", "I1 1 1 x] Iteration 30, loss = 3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.log").write_text(LOG + end)
    paths = [str(tmp_path / folder / "train.log") for folder in ("one", "two")]
    plot_log.main([*paths, "-o", str(tmp_path / "p.png")])
    assert capsys.readouterr().out.splitlines() == [
        f"{paths[0]}: iteration 20, loss 12, validation 32.22 dB",
        f"{paths[1]}: iteration 30, loss 3, validation 32.22 dB",
    ]
    with pytest.raises(SystemExit):
        plot_log.main([*paths, "-o", str(tmp_path / "p.png"), "--patch", "0"])


def test_plot_and_table(tmp_path, capsys):
    log = tmp_path / "run.log"
    log.write_text(LOG)
    plot_log.main(
        [str(log), "-o", str(tmp_path / "p.png"), "--csv", str(tmp_path / "p.csv"), "--patch", "10"]
    )
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [r["set"] for r in rows] == ["train"] * 3 + ["val"] * 2
    assert float(rows[-1]["psnr"]) == pytest.approx(plot_log.psnr(6, 10), abs=1e-3)
    assert "iteration 20" in capsys.readouterr().out


def test_a_file_that_is_no_log_is_refused(tmp_path):
    (tmp_path / "x.log").write_text("nothing\n")
    with pytest.raises(ValueError, match=r"x\.log"):
        plot_log.main([str(tmp_path / "x.log"), "-o", str(tmp_path / "p.png")])
    assert not (tmp_path / "p.png").exists()
