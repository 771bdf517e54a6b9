"""Small nets run fastest on one thread, and always give the same numbers there."""

import os
import shutil
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
import torch
from caffe import glog, training

from tests.caffe_torch.golden import training_cases

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def the_log_as_a_process_begins(monkeypatch):
    """What one test asks of the log is not asked of the next."""
    monkeypatch.delenv("GLOG_minloglevel", raising=False)  # commands of this project set it
    monkeypatch.setattr(glog, "nets", False)
    monkeypatch.setattr(glog, "_min_level", 0)
    monkeypatch.setattr(glog, "_logged_once", set())


@pytest.fixture(autouse=True)
def the_device():
    """With TEST_GPU=N in the environment (`make test-gpu`) the tests compute on that GPU."""
    if "TEST_GPU" not in os.environ:
        yield
        return
    caffe.set_device(int(os.environ["TEST_GPU"]))
    caffe.set_mode_gpu()
    torch.backends.cudnn.deterministic = True  # else a resumed run differs by rounding
    yield
    caffe.set_mode_cpu()


@pytest.fixture
def net(tmp_path):
    """A function that builds a net from a text, by a file."""

    def build(text, phase=caffe.TEST, **options):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return caffe.Net(str(path), phase, **options)

    return build


# Working folders


@pytest.fixture
def tmp_folder(tmp_path, monkeypatch):
    """An empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def training_folder(tmp_folder):
    """With net.prototxt and its rows, 0.h5 and 1.h5."""
    training_cases.write_inputs()
    return tmp_folder


@pytest.fixture
def snapshot_folder(training_folder):
    """With BVLC Caffe's weights and solver states of that net too."""
    for file in (Path(__file__).with_name("golden") / "snapshots").iterdir():
        shutil.copy(file, training_folder)
    return training_folder


NET = """
name: "n"
layer { name: "d" type: "HDF5Data" top: "a" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: 4 shuffle: true } }
layer { name: "c1" type: "Convolution" bottom: "a" top: "c1" param { lr_mult: 1 decay_mult: 1 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 1 weight_filler { type: "xavier" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "l1" type: "LRN" bottom: "p1" top: "l1" lrn_param { local_size: 3 alpha: 0.0001 beta: 0.75 } }
layer { name: "s1" type: "Scale" bottom: "l1" top: "s1" scale_param { bias_term: true axis: 1 } }
layer { name: "sl" type: "Slice" bottom: "s1" top: "s2" top: "s3" slice_param { axis: 1 slice_point: 2 } }
layer { name: "cc" type: "Concat" bottom: "s2" bottom: "s3" top: "cc" concat_param { axis: 1 } }
layer { name: "dc" type: "Deconvolution" bottom: "cc" top: "dc" convolution_param {
  num_output: 3 kernel_h: 2 kernel_w: 2 stride: 2 group: 1 dilation: 1
  weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "rs" type: "Reshape" bottom: "dc" top: "rs" reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: "dr" type: "Dropout" bottom: "rs" top: "rs" dropout_param { dropout_ratio: 0.5 } }
layer { name: "pw" type: "Power" bottom: "rs" top: "pw" power_param { power: 1 scale: 0.5 shift: 0.1 } }
layer { name: "ip" type: "InnerProduct" bottom: "pw" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "uniform" min: -0.1 max: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 1 }
"""
SOLVER = """
net: "net.prototxt" type: "Adam" base_lr: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 5 power: 0.75
momentum: 0.9 momentum2: 0.999 delta: 1e-8 weight_decay: 0.001 max_iter: 2 display: 2 average_loss: 2
iter_size: 1 test_iter: 1 test_interval: 2 clip_gradients: 10 snapshot: 2 snapshot_prefix: "s"
random_seed: 1 solver_mode: CPU regularization_type: "L2"
"""


@pytest.fixture(scope="session")
def trained_files(tmp_path_factory):
    """The files of `trained_folder`, made once."""
    folder = tmp_path_factory.mktemp("trained")
    previous_folder = os.getcwd()
    os.chdir(folder)
    try:
        random_numbers = np.random.default_rng(0)
        with h5py.File("data.h5", "w") as file:
            file["a"] = random_numbers.random((6, 2, 8, 8), np.float32)
            file["label"] = random_numbers.integers(0, 5, (6, 1)).astype(np.float32)
        Path("list.txt").write_text("data.h5\n")
        Path("net.prototxt").write_text(NET)
        for form in ("HDF5", "BINARYPROTO"):
            Path("solver.prototxt").write_text(f"{SOLVER} snapshot_format: {form}\n")
            training.Solver("solver.prototxt").solve()
    finally:
        os.chdir(previous_folder)
    return folder


@pytest.fixture
def trained_folder(trained_files, tmp_folder):
    """A trained net: net.prototxt, solver.prototxt, weights and states in both forms, data.h5."""
    shutil.copytree(trained_files, tmp_folder, dirs_exist_ok=True)
    return tmp_folder


@pytest.fixture
def image_folder(tmp_folder):
    """With images and lists of them."""
    from tests.golden import images  # needs OpenCV

    images.write_images()
    return tmp_folder


# What the scripts of tests/golden find: by both Caffes


@pytest.fixture(scope="session")
def image_batches():
    """({what: array}, the same by BVLC Caffe) of tests/golden/images.py."""
    from tests.golden import images

    return images.run(), dict(np.load(Path(images.__file__).with_suffix(".npz")))


@pytest.fixture(scope="session")
def windows_found():
    """{what: array} of tests/golden/windows.py."""
    from tests.golden import windows  # needs scikit-image

    return windows.run()


@pytest.fixture
def window_nets(tmp_folder):
    """The net and the weights of tests/golden/windows.py, as keyword arguments."""
    from tests.golden import windows

    windows.write_net(np.random.RandomState(0))
    return {"model_file": "net.prototxt", "pretrained_file": "w.caffemodel"}
