import pytest

from tools import demo

LINES = """max_iter: 500
I1129 07:00:01.000000 1 solver.cpp:218] Iteration 500, loss = 12.5
I1129 07:00:05.000000 1 solver.cpp:330] Iteration 500, Testing net (#0)
I1129 07:00:05.000000 1 solver.cpp:397]     Test net output #0: loss = 20
"""


def test_the_demo_fuses_first_and_prints_little(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    titles = []

    def run(title, *arguments):
        print(title)
        titles.append(arguments[0])
        demo.LOG.parent.mkdir(parents=True, exist_ok=True)
        demo.LOG.with_name("demo-demo_pair.log").write_text("a rendered pair")

    monkeypatch.setattr(demo, "run", run)
    (tmp_path / "lines").write_text(LINES)
    (tmp_path / "caffe").write_text("#!/bin/sh\ncat lines\n")
    (tmp_path / "caffe").chmod(0o755)
    demo.main(["--caffe", "./caffe"])
    assert titles == ["tools/demo_pair.py", "tools/fuse.py", "data_prep/make_database.py"]
    printed = capfd.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert len(lines) <= 20
    assert any("validation PSNR: 26.99 dB" in line for line in lines)
    assert (tmp_path / "build/demo/loss.png").stat().st_size


def test_a_program_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import sys\nsys.exit('no such photograph')\n")
    with pytest.raises(ValueError, match=r"broken.py ended with status 1: no such photograph"):
        demo.run("Trying", "broken.py")
