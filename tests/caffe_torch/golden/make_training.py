"""Golden numbers of training, made by BVLC Caffe 1.0.

make bvlc-caffe && build/bvlc/bin/python tests/caffe_torch/golden/make_training.py

Writes training.npz (losses, weights and history over ten iterations for every solver of
training_cases.py), what `caffe train` logs (building.log up to the solver being there, command.log from then
on, the same run resumed, and with debug_info) and snapshots/ (its files after five iterations).
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

HERE = os.path.dirname(os.path.abspath(__file__))
CAFFE = os.path.join(HERE, "../../../build/bvlc/bin/caffe")


def caffe_train(text, *flags):
    """What `caffe train` logs for a solver, without times, places and speeds: (before, from its start on)."""
    with open("solver.prototxt", "w") as file:
        file.write(text)
    run = subprocess.run(
        [CAFFE, "train", "-solver", "solver.prototxt", *flags],
        env=dict(os.environ, GLOG_minloglevel="0"),
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    log = re.sub(r"(?m)^[IWE].*?\] ", "", run.stderr)
    start = log.index("Solver scaffolding done.")
    return log[:start], re.sub(r"\(.*iter/s.*iters\)", "(SPEED)", log[start:])


def commands():
    """Logs of whole runs and their snapshots, into the golden folder."""
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    cases.first_weights(net)
    net.save("first.caffemodel")
    first = ["-weights", "first.caffemodel"]
    logs = {
        "hdf5": caffe_train(cases.COMMAND + "snapshot_format: HDF5", *first),
        "command": caffe_train(cases.COMMAND, *first),
        "resumed": caffe_train(cases.COMMAND, "-snapshot", "snap_iter_5.solverstate"),
        "debug": caffe_train(cases.DEBUG, *first),
    }
    del logs["hdf5"]  # run for its snapshots
    command_log = logs["command"][0]
    # Caffe says so of each file of integers
    logs["building"] = None, re.sub(r"(?m)^Datatype class: H5T_INTEGER\n", "", command_log)
    for name, (_, text) in logs.items():
        with open(os.path.join(HERE, name + ".log"), "w") as file:
            file.write(text)
    for name in ("first.caffemodel", "snap_iter_5.caffemodel", "snap_iter_5.solverstate"):
        shutil.copy(name, os.path.join(HERE, "snapshots"))
    for name in ("snap_iter_5.caffemodel.h5", "snap_iter_5.solverstate.h5"):
        shutil.copy(name, os.path.join(HERE, "snapshots"))


def main():
    results = {}
    os.makedirs(os.path.join(HERE, "snapshots"), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        cases.write_inputs()
        for name, text in cases.SOLVERS.items():
            for quantity, values in zip(("losses", "weights", "history", "step"), cases.trained(text)):
                results[name + "/" + quantity] = values
        commands()
        os.chdir(HERE)
    np.savez_compressed(os.path.join(HERE, "training.npz"), **results)
    print(len(cases.SOLVERS), "solvers")


if __name__ == "__main__":
    main()
