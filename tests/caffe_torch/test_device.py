"""The device in force, its precision, its memory and the random numbers."""

import random
from pathlib import Path

import caffe
import pytest
import torch
from caffe import device

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import run_caffe


@pytest.fixture(autouse=True)
def folder(training_folder):
    return training_folder


def without_gpu():
    return pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@without_gpu()
@pytest.mark.parametrize("gpu", ["0", "all", "0,1"])
def test_a_gpu_that_is_not_there_says_what_to_do(gpu, capfd):
    Path("solver.prototxt").write_text(cases.COMMAND)
    assert run_caffe("train", "-solver", "solver.prototxt", "-gpu", gpu) == 1
    assert "leave out -gpu to use the CPU" in capfd.readouterr().err.splitlines()[-1]
    assert run_caffe("device_query") == 1
    assert "no CUDA GPU" in capfd.readouterr().err


@without_gpu()
def test_a_solver_for_a_gpu_that_is_not_there_says_what_to_do(capfd):
    Path("solver.prototxt").write_text(cases.COMMAND.replace("solver_mode: CPU", "solver_mode: GPU"))
    assert run_caffe("train", "-solver", "solver.prototxt") == 1
    assert "set solver_mode: CPU" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_on_a_cpu_without_it_is_warned_of(able, capfd, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    try:
        assert run_caffe("time", "-model", "net.prototxt", "-iterations", "1", "-precision", "bfloat16") == 0
    finally:
        caffe.set_precision("float32")
    assert ("no bfloat16 arithmetic" in capfd.readouterr().err) != able


LARGE = """
layer {{ name: "in" type: "DummyData" top: "x" dummy_data_param {{ shape {{ dim: {} dim: 1000000 }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ num_output: {} }} }}
"""


@pytest.mark.parametrize("rows, outputs", [(2, 2**32 - 1), (10**11, 2)], ids=["a parameter", "a batch"])
def test_too_little_memory_is_told_in_a_line(rows, outputs, capfd, monkeypatch):
    """Before it is asked for, by the machine's memory; after that by PyTorch, with an error of its own."""
    Path("large.prototxt").write_text(LARGE.format(rows, outputs))
    assert run_caffe("time", "-model", "large.prototxt", "-iterations", "1") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("caffe: error: large.prototxt: line ") and " GiB; there are " in error
    monkeypatch.setattr(caffe.device, "memory", lambda: 2**80)
    assert run_caffe("time", "-model", "large.prototxt", "-iterations", "1") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("caffe: error: out of memory: a smaller batch_size needs less (")


def test_a_seed_repeats_all_random_numbers():
    """Of PyTorch, NumPy and Python; a negative seed counts as the unsigned number of its bits."""

    def draw(seed):
        device.set_random_seed(seed)
        return torch.rand(3).tolist(), device.rng().random(3).tolist(), random.random()

    assert draw(7) == draw(7) != draw(8)
    assert draw(-1) == draw(2**32 - 1)
