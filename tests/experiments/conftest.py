"""For the tests of experiments: photographs to make databases from, and a Caffe that needs no time."""

import contextlib
import csv
import io
import stat
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from data_prep import fetch
from experiments import run, schedule
from tools import timing
from two_stream_fusion.io import images

HEADER = "label,solver,start,train,val\n"
ROW = "fast,solver/2-1-2_f32_k3.prototxt,random,--patch 16,--patch 16\n"
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


class Lab(NamedTuple):
    """A folder with four photographs of noise and an experiment `tiny` of one row."""

    folder: Path

    @property
    def runs_csv(self):
        return self.folder / "experiments" / "tiny" / "runs.csv"

    def rows(self, name="summary", experiment="tiny"):
        with open(self.folder / "out" / experiment / f"{name}.csv", newline="") as file:
            return list(csv.DictReader(file))


def make_lab(folder, patch):
    photographs = folder / "shared" / "train"
    photographs.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):
        images.write(photographs / f"{i}.png", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    patch.setenv("FUSION_DATA", str(folder / "shared"))
    patch.setattr(fetch, "ROOT", folder / "nothing")
    patch.setattr(run, "HERE", folder / "experiments")
    patch.setattr(timing, "time_training", lambda *_: 20.0)
    patch.setattr(timing, "time_inference", lambda *_: timing.Inference(65.536, 0, 0, 0))
    lab = Lab(folder)
    lab.runs_csv.parent.mkdir(parents=True)
    lab.runs_csv.write_text(HEADER + ROW)
    return lab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    return make_lab(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(lab, options, output) of an experiment run by Caffe itself. Its initial weights are the mean's."""
    with pytest.MonkeyPatch.context() as patch:
        lab = make_lab(tmp_path_factory.mktemp("trained"), patch)
        # 24 rows to validate on: more than a batch, and no whole number of them.
        row = ROW.replace("random", "mean").replace("--patch 16\n", "--patch 16 --stride 9\n")
        lab.runs_csv.write_text(HEADER + row)
        options = ["tiny", "--out", str(lab.folder / "out"), "--iterations", "2", "--keep"]
        with contextlib.redirect_stdout(io.StringIO()) as output:
            run.main(options)
        yield lab, options, output.getvalue()


@pytest.fixture
def stub(lab):
    """A function that returns the options of a command that trains with CAFFE."""
    net = caffe_pb2.NetParameter()
    for name in ("a", "b"):  # shared
        layer = net.layer.add(name=name)
        layer.param.add(name="filters")
        layer.blobs.add(data=[1, 2, 3])
    net.layer.add(name="c").blobs.add(data=[4])

    def make(wait=0.0):
        program = lab.folder / "bin" / "caffe"
        program.parent.mkdir(exist_ok=True)
        program.write_text(CAFFE.replace("WEIGHTS", repr(net.SerializeToString())))
        program.with_name("caffe.wait").write_text(str(wait))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return ["tiny", "--out", str(lab.folder / "out"), "--caffe", str(program.parent), "--iterations", "4"]

    return make


@pytest.fixture
def forbid_processes(monkeypatch):
    """A function: from its call on, no step of a training may start."""

    def started(*_, **__):
        raise AssertionError("a process was started")

    return lambda: monkeypatch.setattr(schedule.subprocess, "Popen", started)
