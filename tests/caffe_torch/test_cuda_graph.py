"""Training on a GPU, where iterations are captured and replayed: the same as done one by one.

Also on a CPU, with a stand-in for CUDA graphs; `make test-gpu` runs all tests of caffe_torch on a GPU.
"""

import caffe
import h5py
import numpy as np
import pytest
import torch
from caffe import cuda_graph, training
from caffe.layers import data
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.caffe_torch import fake_cuda_graph

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"))
LINEAR = """
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "scale" type: "Power" bottom: "x" top: "x" power_param { scale: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {
  num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
"""
ROWS = """
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "scale" type: "Power" bottom: "x" top: "x" power_param { scale: 0.5 shift: 1 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param {
  num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "mean" type: "Pooling" bottom: "conv" top: "mean" pooling_param {
  pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "mean" bottom: "y" top: "loss" }
"""
CLASSES = """
layer { name: "data" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "quiet" type: "Silence" bottom: "y" }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param {
  shape { dim: 4 } data_filler { type: "constant" value: 1 } } }
layer { name: "one" type: "Pooling" bottom: "x" top: "one" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "two" type: "Pooling" bottom: "x" top: "two" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "concat" type: "Concat" bottom: "one" bottom: "two" top: "both" }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip" inner_product_param {
  num_output: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture(autouse=True, params=["cpu", GPU])
def captured(request, the_device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param == "cuda":
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
        fake_cuda_graph.capture_on_cpu(monkeypatch)
    random = np.random.default_rng(1)
    for i in range(3):
        with h5py.File(f"{i}.h5", "w") as file:
            file["x"] = random.integers(0, 3, (5, 2, 7, 7), np.uint8)
            file["y"] = random.normal(size=(5, 2, 3, 3)).astype(np.float32)
    with open("list.txt", "w") as file:
        file.writelines(f"{i}.h5\n" for i in range(3))
    yield
    caffe.set_precision("float32")
    caffe.set_mode_cpu()


def solver(net, settings='type: "Adam"', rate=0.01):
    text = f'{settings} base_lr: {rate} lr_policy: "inv" gamma: 0.1 power: 1 random_seed: 3'
    param = text_format.Parse(text, caffe_pb2.SolverParameter())
    text_format.Parse(net, param.net_param)
    built = training.Solver(param)
    random = np.random.default_rng(0)
    for name in built.net.inputs:
        built.net.blobs[name].data[...] = random.normal(size=built.net.blobs[name].shape)
    return built


def weights(trainer):
    return np.concatenate([blob.data.ravel() for blob in trainer.net.learnable_params])


def trained(net, iterations=12, **options):
    trainer = solver(net, **options)
    trainer.step(iterations)
    return trainer


SETTINGS = [
    'type: "SGD" momentum: 0.9 weight_decay: 0.1',
    'type: "Nesterov" momentum: 0.9',
    'type: "AdaGrad"',
    'type: "RMSProp" rms_decay: 0.9',
    'type: "AdaDelta" momentum: 0.9 delta: 1e-5',
    'type: "Adam" weight_decay: 0.1 regularization_type: "L1"',
    'type: "Adam" clip_gradients: 75',
    'type: "SGD" weight_decay: 0.1 clip_gradients: 0',
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_captured_iterations_are_those_done_one_by_one(settings, monkeypatch):
    captured = trained(ROWS, settings=settings)
    assert captured._captured
    monkeypatch.setattr(cuda_graph, "WARM_UP", 100)
    by_one = trained(ROWS, settings=settings)
    assert not by_one._captured
    np.testing.assert_allclose(weights(captured), weights(by_one), rtol=1e-5, atol=1e-6)
    for name, blob in captured.net.blobs.items():
        np.testing.assert_allclose(blob.data, by_one.net.blobs[name].data, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(captured.net.learnable_params, by_one.net.learnable_params, strict=True):
        np.testing.assert_allclose(ours.diff, theirs.diff, rtol=1e-3, atol=1e-6)


def test_captured_losses_of_classes_are_those_done_one_by_one(monkeypatch):
    captured = trained(CLASSES)
    assert captured._captured
    monkeypatch.setattr(cuda_graph, "WARM_UP", 100)
    by_one = trained(CLASSES)
    assert not by_one._captured
    np.testing.assert_allclose(weights(captured), weights(by_one), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(captured.net.blobs["loss"].data, by_one.net.blobs["loss"].data, rtol=1e-4)


@pytest.mark.parametrize("captured", [GPU], indirect=True)
def test_the_cpu_computes_the_same():
    on_gpu = trained(ROWS)
    caffe.set_mode_cpu()
    np.testing.assert_allclose(weights(on_gpu), weights(trained(ROWS)), rtol=1e-4, atol=1e-5)


def test_captured_iterations_log_each_clipped_gradient(monkeypatch, capfd):
    def logged():
        lines = capfd.readouterr().err.splitlines()
        return [line.partition("] ")[2] for line in lines if "Gradient clipping" in line]

    options = {"settings": 'type: "SGD" clip_gradients: 65', "rate": 1e-5}  # norms are 50 to 80
    assert trained(ROWS, **options)._captured
    captured = logged()
    monkeypatch.setattr(cuda_graph, "WARM_UP", 100)
    trained(ROWS, **options)
    assert captured == logged() and 3 < len(captured) < 12


def test_what_cannot_be_captured_is_done_one_by_one():
    trainer = trained(ROWS, settings='iter_size: 2 type: "SGD"')
    assert not trainer._captured and np.isfinite(weights(trainer)).all()


def test_callbacks_and_hooks_are_called_every_time():
    for add in ("add_callback", "after_forward"):
        trainer, calls = solver(ROWS), []
        if add == "add_callback":
            trainer.add_callback(lambda: None, lambda calls=calls: calls.append(0))
        else:
            trainer.net.after_forward(lambda i, calls=calls: i or calls.append(0))
        trainer.step(8)
        assert len(calls) == 8


def test_callbacks_may_change_gradients():
    trainer = trained(ROWS, 8, settings='type: "SGD"')
    trainer.add_callback(lambda: None, trainer.net.clear_param_diffs)
    weights_before = weights(trainer)
    trainer.step(3)
    np.testing.assert_array_equal(weights(trainer), weights_before)


def test_parameters_shared_since_are_those_trained():
    trainer, sharer = trained(ROWS, 8), solver(ROWS)
    trainer.net.share_with(sharer.net)
    weights_before = weights(sharer)
    trainer.step(8)
    assert trainer._captured and (weights(sharer) != weights_before).any()
    np.testing.assert_array_equal(weights(trainer), weights(sharer))


def test_arrays_given_out_show_what_is_replayed():
    trainer = solver(LINEAR)
    array, step = trainer.net.params["ip"][0].data, trainer.net.params["ip"][0].diff
    output = trainer.net.blobs["ip"].data
    for _ in range(8):
        weights_before = array.copy()
        trainer.step(1)
        np.testing.assert_allclose(weights_before - array, step, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(output, trainer.net.blobs["ip"].tensor.cpu().numpy())
        x, (_, bias) = trainer.net.blobs["x"].data, trainer.net.params["ip"]
        np.testing.assert_allclose(output, x @ weights_before.T + bias.data + bias.diff, rtol=1e-4, atol=1e-5)
    assert trainer._captured


def test_what_a_program_writes_counts():
    trainer = trained(LINEAR)
    trainer.net.params["ip"][0].data[...] = 0
    trainer.net.params["ip"][1].data[...] = 7
    trainer.net.blobs["x"].data[...] = 1
    trainer.net.blobs["y"].data[...] = 0
    trainer.step(1)
    np.testing.assert_allclose(trainer.net.blobs["ip"].data, 7)
    np.testing.assert_allclose(trainer.net.blobs["loss"].data, 49 * 3 / 2, rtol=1e-6)


def test_other_shapes_and_precisions_are_captured_anew():
    trainer = trained(LINEAR)
    first = trainer._captured
    for name in "xy":
        trainer.net.blobs[name].reshape(9, 3)
        trainer.net.blobs[name].data[...] = 1
    trainer.net.reshape()
    trainer.step(12)
    assert trainer._captured and trainer._captured is not first
    assert trainer.net.blobs["ip"].data.shape == (9, 3)
    second = trainer._captured
    caffe.set_precision("bfloat16")
    trainer.step(12)
    assert trainer._captured and trainer._captured is not second
    assert trainer.net.blobs["ip"].tensor.dtype == torch.bfloat16


@pytest.mark.parametrize("captured", [GPU], indirect=True)
def test_the_cpu_goes_on_where_the_gpu_stopped():
    trainer = trained(ROWS)
    caffe.set_mode_cpu()
    trainer.step(3)
    caffe.set_mode_gpu()
    trainer.step(12)
    np.testing.assert_allclose(weights(trainer), weights(trained(ROWS, 27)), rtol=1e-3, atol=1e-4)


def test_a_layer_that_waits_for_the_gpu_cannot_be_captured(monkeypatch):
    trainer = solver(LINEAR)
    forward = type(trainer.net.layers[-1]).forward
    waiting = lambda self, params, *bottoms: forward(self, params, *bottoms) * bottoms[0].sum().item()  # noqa: E731
    monkeypatch.setattr(type(trainer.net.layers[-1]), "forward", waiting)
    with pytest.raises(ValueError, match=r"layer 'loss' .*capturing"):
        trainer.step(12)


def test_dropout_drops_others_every_time():
    drop = 'layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }\nlayer { name: "loss"'
    trainer, masks = solver(LINEAR.replace('layer { name: "loss"', drop), rate=1e-9), set()
    for _ in range(20):
        trainer.step(1)
        masks.add((trainer.net.blobs["ip"].data == 0).tobytes())
    assert trainer._captured and len(masks) > 10


@pytest.mark.parametrize("resident", [True, False])
def test_batches_follow_each_other(resident, monkeypatch):
    if not resident:
        monkeypatch.setattr(data, "_free_memory", lambda device: 0)
    trainer = solver(ROWS, rate=0)
    stored = np.concatenate([h5py.File(f"{i}.h5")["y"][()] for i in range(3)])
    for i in range(9):
        trainer.step(1)
        expected = stored[np.arange(4 * i, 4 * i + 4) % 15]
        np.testing.assert_array_equal(trainer.net.blobs["y"].data, expected)


def test_a_training_resumed_goes_on_to_the_same_numbers():
    settings = 'type: "Adam" snapshot_prefix: "run"'
    uninterrupted = trained(ROWS, 20, settings=settings)
    trained(ROWS, 10, settings=settings).snapshot()
    resumed = solver(ROWS, settings=settings)
    resumed.restore("run_iter_10.solverstate")
    resumed.step(10)
    np.testing.assert_allclose(weights(resumed), weights(uninterrupted), rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_stops():
    with pytest.raises(FloatingPointError, match=r"iteration \d+: the loss is"):
        trained(LINEAR, 300, settings='type: "SGD"', rate=1e9)
