"""What several test files of caffe_torch use."""

import contextlib
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import caffe
import h5py
import numpy as np
import torch
from caffe import TEST, Net, layers
from caffe import main as command
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.caffe_torch.golden import training_cases as cases

# The log


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?|nan|inf")


def log_lines(text):
    """The log's lines without time and place, from the last line of starting up on."""
    lines = re.sub(r"(?m)^[IWE]\d{4} [\d:.]+ +\d+ \w+\.py:\d+\] ", "", text)
    lines = re.sub(r"\(.*iter/s.*iters\)", "(SPEED)", lines)
    return lines[lines.index("Solver scaffolding done.") :].strip().splitlines()


def assert_same_log(ours, theirs, rtol=3e-5):
    """The same lines, but for the last digits of numbers."""
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for our, their in zip(ours, theirs, strict=True):
        numbers = [[float(n) for n in NUMBER.findall(line)] for line in (our, their)]
        np.testing.assert_allclose(*numbers, rtol=rtol, err_msg=f"{our}\n{their}")


INPUT_X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def log_of_net(capfd, text, phase=caffe.TEST, **options):
    """What is logged while a net in text form is built."""
    Path("net.prototxt").write_text(text)
    capfd.readouterr()
    caffe.Net("net.prototxt", phase, **options)
    return re.sub(r"(?m)^[IWE]\d{4} .*?\] ", "", capfd.readouterr().err).splitlines()


# The table of layers in caffe_torch/README.md


def readme_layers():
    """{"yes": the types that the table lists as supported, "no": those with a reason why not}, sorted."""
    readme = (Path(__file__).parents[2] / "caffe_torch" / "README.md").read_text()
    table = readme[readme.index("| layers |") : readme.index("## ONNX")]
    rows = re.findall(r"^\| (\w[\w, ]*) \| (yes|no)\b", table, re.M)
    return {
        answer: sorted(name for types, cell in rows if cell == answer for name in types.split(", "))
        for answer in ("yes", "no")
    }


# The command


TIME = ["time", "-model", "net.prototxt", "-iterations", "1"]


def run_caffe(*arguments):
    """Run the `caffe` command in this process: its exit status."""
    return command.main(list(arguments))


class Process:
    """A function in a process of its own, with the methods of subprocess.Popen.

    It is a fork of this process, which has loaded PyTorch: a new one would take two seconds to do so.
    """

    def __init__(self, function, *arguments):
        read, write = os.pipe()
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_run_with_stderr, args=(write, function, arguments))
        self._process.start()
        os.close(write)
        self.pid, self.stderr = self._process.pid, open(read)  # noqa: SIM115 (the test closes it)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        return self._process.exitcode


def _run_with_stderr(descriptor, function, arguments):
    os.dup2(descriptor, 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 (the process ends with it)
    sys.exit(function(*arguments))


def start_caffe(*arguments):
    """The `caffe` command in a process of its own, with its log in a pipe."""
    if torch.cuda.is_initialized():  # a fork cannot use the GPU
        command = [sys.executable, "-m", "caffe.main", *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    return Process(run_caffe, *arguments)


def loads_torch(pid):
    """Whether a process that was started as the command has begun to load PyTorch."""
    started = "caffe_command" in Path(f"/proc/{pid}/cmdline").read_text()
    return started and "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def wait_until(condition):
    """Wait for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


# Solvers and weights


SMALL = """
train_net_param {
  layer {
    name: "data" type: "DummyData" top: "x" top: "t"
    dummy_data_param {
      shape { dim: 4 dim: 3 } data_filler { type: "constant" value: 1 }
      shape { dim: 4 dim: 2 } data_filler { type: "constant" value: 5 }
    }
  }
  layer {
    name: "fc" type: "InnerProduct" bottom: "x" top: "y"
    inner_product_param { num_output: 2 weight_filler { type: "constant" value: 1 } }
  }
  layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
}
base_lr: 0.1 gamma: 0.5 momentum: 0.9
"""


MULTISTEP = 'lr_policy: "multistep" stepvalue: 0 stepvalue: 2 stepvalue: 2 stepvalue: 5 display: 2 '


def solver_with_first_weights(text, cls=None):
    """`solver_of`, with the weights that BVLC Caffe began with where the golden numbers are from."""
    Path("solver.prototxt").write_text(text)
    solver = (cls or caffe.get_solver)("solver.prototxt")
    cases.first_weights(solver.net)
    return solver


def solver_of(text):
    """The solver of a text."""
    Path("solver.prototxt").write_text(text)
    return caffe.get_solver("solver.prototxt")


def weights_of(net):
    """Copies of its parameters."""
    return [blob.data.copy() for blob in net.learnable_params]


def assert_arrays_equal(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our, their)


def stored_net(path):
    """The NetParameter in a .caffemodel."""
    return caffe_pb2.NetParameter.FromString(Path(path).read_bytes())


# Rows of HDF5 files


def write_rows(*lengths, folder=".", **datasets):
    """Files 0.h5, 1.h5, ... whose rows of x number all rows, and their list."""
    first = 0
    for i, length in enumerate(lengths):
        with h5py.File(f"{folder}/{i}.h5", "w") as file:
            file["x"] = np.arange(first, first + length, dtype=np.float32).reshape(-1, 1)
            for name, array in datasets.items():
                file[name] = array
        first += length
    with open("list.txt", "w") as file:
        file.writelines(f"{folder}/{i}.h5\n" for i in range(len(lengths)))


def data_layer(text, tops=("x",), layer_type="HDF5Data"):
    """A layer with these settings, for training."""
    spec = caffe_pb2.LayerParameter(name="data", type=layer_type, top=tops)
    return layers.create(text_format.Parse(text, spec), caffe_pb2.TRAIN)


def hdf5_data(batch, tops=("x",), shuffle=False):
    """An HDF5Data layer that reads the files of `write_rows`."""
    settings = "shuffle: true" if shuffle else ""
    return data_layer(f'hdf5_data_param {{ source: "list.txt" batch_size: {batch} {settings} }}', tops)


def load_rows(source, batches):
    """The numbers of the rows in the next batches."""
    return [int(row) for _ in range(batches) for row in source.load()[0]]


# Layers that bring images in


LMDB = "backend: LMDB batch_size: 1"


# Records of an LMDB that cannot be read, and what the error says after their name.
DAMAGED_RECORDS = {
    "too few values": (
        caffe_pb2.Datum(channels=3, height=2, width=2, data=b"abc").SerializeToString(),
        ": holds 3 values",
    ),
    "other bytes": (b"\xff\xff", " is not a Datum: "),
}


def write_records(*records):
    """The LMDB `db` with these records, whose keys are 0, 1, ..."""
    import lmdb

    with lmdb.open("db") as environment, environment.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(str(i).encode(), record)


def source_net(layer_type, settings, phase=TEST, tops=("data", "label")):
    """A net of one layer without bottoms."""
    layer = caffe_pb2.LayerParameter(name="in", type=layer_type, top=tops)
    net = caffe_pb2.NetParameter(layer=[text_format.Parse(settings, layer)])
    return Net(net, phase)


def image_net(settings="", transform="", source="list.txt", phase=TEST):
    """A net of an ImageData layer."""
    return source_net(
        "ImageData",
        f'image_data_param {{ source: "{source}" {settings} }} transform_param {{ {transform} }}',
        phase,
    )


def next_labels(net, batches):
    """The labels in the next batches."""
    return [int(label) for _ in range(batches) for label in net.forward()["label"].ravel()]


# The trained net of `trained_folder`


STATE = "s_iter_2.solverstate"


WEIGHTS = "s_iter_2.caffemodel"


def train_status(capfd, *arguments):
    """The exit status of the command, and the last line of its log."""
    status = run_caffe("train", "-solver", "solver.prototxt", *arguments)
    return status, capfd.readouterr().err.splitlines()[-1]


# Limits


@contextlib.contextmanager
def file_size_limit(size):
    """No file grows beyond `size` bytes: what is written to it is cut off there, as by a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def memory_limit(extra=3 * 2**30):
    """This process may take so many bytes more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# Golden numbers

WINDOWS = dict(np.load(Path(__file__).parents[1] / "golden/windows.npz"))


def assert_golden_windows(ours, theirs):
    """An array of tests/golden/windows.py is BVLC Caffe's."""
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    else:
        assert ours.tolist() == theirs.tolist()


def assert_golden_batches(ours, theirs, *families):
    """The arrays of tests/golden/images.py whose names begin with a family are BVLC Caffe's."""
    names = [[name for name in arrays if name.startswith(families)] for arrays in (ours, theirs)]
    assert names[0] == names[1] != []
    for name in names[0]:
        assert ours[name].shape == theirs[name].shape, name
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-5, err_msg=name)
