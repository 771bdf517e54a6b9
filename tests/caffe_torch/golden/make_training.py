"""Golden numbers of training, made by BVLC Caffe 1.0.

make bvlc-caffe && build/bvlc/bin/python tests/caffe_torch/golden/make_training.py

Writes training.npz (losses, weights and history over ten iterations for every solver of
training_cases.py), command.log (what `caffe train` logs, without times and places) and snapshots/
(its files after five iterations).
"""

import os
import re
import shutil
import subprocess
import tempfile

os.environ["GLOG_minloglevel"] = "2"  # noqa: SIM112 (glog's name)

import caffe
import numpy as np
import training_cases as cases
from caffe.proto import caffe_pb2

HERE = os.path.dirname(os.path.abspath(__file__))
CAFFE = os.path.join(HERE, "../../../build/bvlc/bin/caffe")


def trained(text):
    """Losses, weights and history of one solver."""
    with open("solver.prototxt", "w") as file:
        file.write(cases.SOLVER + text)
    solver = caffe.get_solver("solver.prototxt")
    cases.first_weights(solver.net)
    losses = []
    for _ in range(10):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    solver.snapshot()
    state = caffe_pb2.SolverState()
    with open("solver_iter_10.solverstate", "rb") as file:
        state.ParseFromString(file.read())
    weights = [blob.data.ravel() for name in ("conv1", "conv2") for blob in solver.net.params[name]]
    history = [np.array(blob.data, np.float32) for blob in state.history]
    return np.array(losses), np.concatenate(weights), np.concatenate(history), state.current_step


def command():
    """The log of `caffe train`, and its snapshots in both forms, into the golden folder."""
    with open("solver.prototxt", "w") as file:
        file.write(cases.COMMAND)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    cases.first_weights(net)
    net.save("first.caffemodel")
    environment = dict(os.environ, GLOG_minloglevel="0")
    for form in ("BINARYPROTO", "HDF5"):
        with open("solver.prototxt", "w") as file:
            file.write(cases.COMMAND + f"snapshot_format: {form}")
        run = subprocess.run(
            [CAFFE, "train", "-solver", "solver.prototxt", "-weights", "first.caffemodel"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        end = "" if form == "BINARYPROTO" else ".h5"
        for name in ("caffemodel", "solverstate"):
            for iteration in (5, 8):
                file = f"snap_iter_{iteration}.{name}{end}"
                shutil.copy(file, os.path.join(HERE, "snapshots", file))
        if form == "BINARYPROTO":
            shutil.copy("first.caffemodel", os.path.join(HERE, "snapshots"))
            lines = [re.sub(r"^[IWE].*?\] ", "", line) for line in run.stderr.split("\n")]
            lines = lines[lines.index("Starting Optimization") :]
            lines = [re.sub(r"\(.*iter/s.*iters\)", "(SPEED)", line) for line in lines]
            with open(os.path.join(HERE, "command.log"), "w") as file:
                file.write("\n".join(lines))


def main():
    results = {}
    os.makedirs(os.path.join(HERE, "snapshots"), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        cases.write_inputs()
        for name, text in cases.SOLVERS.items():
            for what, values in zip(("losses", "weights", "history", "step"), trained(text)):
                results[name + "/" + what] = values
        command()
        os.chdir(HERE)
    np.savez_compressed(os.path.join(HERE, "training.npz"), **results)
    print(len(cases.SOLVERS), "solvers")


if __name__ == "__main__":
    main()
