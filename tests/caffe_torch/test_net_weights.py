"""Weights into a net and out of it: what fits, what is passed over, what is refused."""

from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import (
    INPUT_X,
    SMALL,
    assert_arrays_equal,
    log_of_net,
    solver_with_first_weights,
    stored_net,
    weights_of,
)


@pytest.fixture(autouse=True)
def folder(snapshot_folder):
    return snapshot_folder


def changed(path, change):
    stored = stored_net(path)
    change({layer.name: layer for layer in stored.layer})
    Path("changed.caffemodel").write_bytes(stored.SerializeToString())
    return "changed.caffemodel"


def set_shape(blob, *dims):
    blob.shape.dim[:] = dims


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda layers: set_shape(layers["conv1"].blobs[0], 2, 3, 3, 3),
            r"layer 'conv1', parameter 0: stored shape \(2, 3, 3, 3\), the net has \(3, 2, 3, 3\)",
        ),
        (
            lambda layers: layers["conv1"].blobs[1].data.append(1),
            r"layer 'conv1', parameter 1: stored shape \(3,\) does not fit its 4 values",
        ),
        (
            lambda layers: layers["conv1"].blobs.add(),
            r"layer 'conv1': 3 parameters stored, the net has 2",
        ),
        (
            lambda layers: layers["conv1"].blobs.pop(),
            r"layer 'conv1': 1 parameters stored, the net has 2",
        ),
        (
            lambda layers: layers["conv1"].ClearField("blobs"),
            r"layer 'conv1': 0 parameters stored, the net has 2",
        ),
        (
            lambda layers: layers["relu1"].blobs.add().data.append(1),
            r"layer 'relu1': 1 parameters stored, the net has 0",
        ),
        (
            lambda layers: layers["conv1"].blobs[0].data.__setitem__(0, np.nan),
            r"layer 'conv1', parameter 0 has NaN",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    path = changed("first.caffemodel", change)
    with pytest.raises(ValueError, match=rf"changed\.caffemodel: {message}"):
        caffe.Net("net.prototxt", path, caffe.TEST)


def inner(settings="", name="fc"):
    """A net of an InnerProduct whose parameters are 1."""
    one = 'weight_filler { type: "constant" value: 1 } bias_filler { type: "constant" value: 1 }'
    text = (
        f'{INPUT_X} layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "y" '
        f"inner_product_param {{ num_output: 2 {one} {settings} }} }}"
    )
    Path("inner.prototxt").write_text(text)
    return caffe.Net("inner.prototxt", caffe.TEST)


def test_hdf5_with_more_parameters_than_the_net_is_refused():
    """CHECK_LE of BVLC Caffe; with fewer, the missing one is named."""
    inner().save_hdf5("two.h5")
    with pytest.raises(ValueError, match=r"^two\.h5: layer 'fc': 2 parameters stored, the net has 1$"):
        inner("bias_term: false").load_hdf5("two.h5")
    with pytest.raises(ValueError, match=r"^two\.h5: layer 'x': 1 parameters stored, the net has 0$"):
        inner(name="other").load_hdf5(renamed("two.h5", "fc", "x", drop="1"))
    inner("bias_term: false").save_hdf5("one.h5")
    with pytest.raises(ValueError, match=r"^one\.h5: layer 'fc', parameter 1: missing$"):
        inner().load_hdf5("one.h5")


def renamed(path, old, new, drop):
    """Give a layer of an HDF5 file another name, without one of its parameters."""
    with h5py.File(path, "r+") as file:
        del file["data"][new], file["data"][old][drop]
        file["data"].move(old, new)
    return path


def test_a_layer_of_hdf5_that_is_no_group_is_named():
    inner().save_hdf5("w.h5")
    with h5py.File("w.h5", "r+") as file:
        del file["data/fc"]
        file["data/fc"] = 1.0
    caffe.init_log()
    with pytest.raises(ValueError, match=r"^w\.h5: layer 'fc': not a group of parameters$"):
        inner().load_hdf5("w.h5")


def test_layers_of_hdf5_may_have_names_with_a_slash():
    """The group of `fc/a` stands in that of `fc`, and is none of its parameters."""
    net = inner(name="fc/a")
    net.save_hdf5("w.h5")
    net.params["fc/a"][0].data[...] = 3
    Path("both.prototxt").write_text(
        Path("inner.prototxt").read_text() + 'layer { name: "fc" type: "ReLU" bottom: "y" top: "z" }'
    )
    both = caffe.Net("both.prototxt", caffe.TEST, weights="w.h5")
    assert (both.params["fc/a"][0].data == 1).all()


def test_of_several_layers_of_one_name_the_one_with_parameters_is_meant():
    text = INPUT_X + (
        'layer { name: "a" type: "Power" bottom: "x" top: "p" } '
        'layer { name: "a" type: "InnerProduct" bottom: "p" top: "y" inner_product_param { num_output: 1 } } '
        'layer { name: "a" type: "ReLU" bottom: "y" top: "z" }'
    )
    Path("named.prototxt").write_text(text)
    net, copy, shared = (caffe.Net("named.prototxt", caffe.TEST) for _ in range(3))
    net.params["a"][0].data[...] = 2
    net.save("named.caffemodel")
    copy.copy_from("named.caffemodel")
    shared.share_with(net)
    assert (copy.params["a"][0].data == 2).all() and (shared.params["a"][0].data == 2).all()


def test_older_shapes_of_four_numbers_are_read():
    def legacy(layers):
        for blob, dims in zip(layers["conv1"].blobs, [(3, 2, 3, 3), (1, 1, 1, 3)], strict=True):
            blob.ClearField("shape")
            blob.num, blob.channels, blob.height, blob.width = dims

    path = changed("first.caffemodel", legacy)
    expected = caffe.Net("net.prototxt", "first.caffemodel", caffe.TEST)
    assert_arrays_equal(weights_of(caffe.Net("net.prototxt", path, caffe.TEST)), weights_of(expected))


def test_weights_of_before_2015_are_read():
    """Layers as V1LayerParameter, shapes of four numbers; as BVLC Caffe reads them."""
    net = caffe.Net("net.prototxt", caffe.TEST)
    old = caffe_pb2.NetParameter()
    for name, blobs in net.params.items():
        layer = old.layers.add(name=name, type=caffe_pb2.V1LayerParameter.CONVOLUTION)
        for blob in blobs:
            num, channels, height, width = (*[1] * (4 - len(blob.shape)), *blob.shape)
            stored = layer.blobs.add(num=num, channels=channels, height=height, width=width)
            stored.data.extend(np.arange(blob.count) / 8)
    Path("old.caffemodel").write_bytes(old.SerializeToString())
    net.copy_from("old.caffemodel")
    for blobs in net.params.values():
        for blob in blobs:
            np.testing.assert_array_equal(blob.data.ravel(), np.arange(blob.count) / 8)


def test_layers_of_one_side_only_are_passed_over():
    def rename(layers):
        layers["conv1"].name = "other"

    net = caffe.Net("net.prototxt", caffe.TEST)
    weights_before = weights_of(net)
    net.copy_from(changed("first.caffemodel", rename))
    weights_after = weights_of(net)
    np.testing.assert_array_equal(weights_after[0], weights_before[0])
    assert not np.array_equal(weights_after[2], weights_before[2])


def test_phase_and_weight_of_a_loss_are_saved():
    """As BVLC Caffe fills them in, and no top that it has no name for."""
    text = Path("net.prototxt").read_text()
    Path("loss.prototxt").write_text(text.replace('top: "loss" loss_weight: 0.25', ""))
    for phase in (caffe.TRAIN, caffe.TEST):
        caffe.Net("loss.prototxt", phase).save("saved.caffemodel")
        saved = stored_net("saved.caffemodel")
        assert {layer.phase for layer in saved.layer} == {phase}
        assert [(list(x.top), list(x.loss_weight)) for x in saved.layer if x.type.endswith("Loss")] == [
            ([], [1])
        ]
        assert not any(x.loss_weight for x in saved.layer if not x.type.endswith("Loss"))


def test_weights_of_layers_that_the_net_lacks(capfd):
    caffe.init_log()
    inner = (
        'layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" '
        "inner_product_param {{ num_output: 1 }} }}\n"
    )
    log_of_net(capfd, INPUT_X + inner.format("b") + inner.format("a"))
    net = caffe.Net("net.prototxt", caffe.TEST)
    net.save("w.caffemodel")
    net.save_hdf5("w.h5")
    ignored = ["Ignoring source layer x_x_0_split", "Ignoring source layer b"]
    assert log_of_net(capfd, INPUT_X + inner.format("a"), weights="w.caffemodel")[-2:] == ignored
    lines = ["Datatype class: H5T_FLOAT", *ignored[::-1]]  # once
    assert log_of_net(capfd, INPUT_X + inner.format("a"), weights="w.h5")[-3:] == lines
    assert "Datatype class: H5T_FLOAT" not in log_of_net(capfd, INPUT_X + inner.format("a"), weights="w.h5")


def test_shared_weights_follow_the_training():
    solver = solver_with_first_weights(cases.SOLVER + cases.SOLVERS["sgd"])
    net = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(net)
    solver.step(2)
    np.testing.assert_array_equal(net.params["conv2"][0].data, solver.net.params["conv2"][0].data)


def test_weights_that_cannot_be_shared_are_named():
    text = SMALL.replace("train_net_param", "net_param") + 'lr_policy: "fixed" '
    Path("solver.prototxt").write_text(text)
    solver = caffe.get_solver("solver.prototxt")
    Path("other.prototxt").write_text(
        text[text.index("{") + 1 : text.rindex("}")].replace("dim: 3", "dim: 4")
    )
    message = r"^layer 'fc': .* shapes are \[\(2, 4\), \(2,\)\], in the other net \[\(2, 3\), \(2,\)\]$"
    with pytest.raises(ValueError, match=message):
        solver.share_weights(caffe.Net("other.prototxt", caffe.TEST))


@pytest.mark.parametrize("settings, count", [("bias_term: false", 1), (None, 0)])
def test_another_number_of_parameters_cannot_be_shared(settings, count):
    """In either direction, and where one side has none."""
    net = inner()
    if settings is None:
        text = INPUT_X + 'layer { name: "fc" type: "ReLU" bottom: "x" top: "y" }'
        Path("other.prototxt").write_text(text)
        other = caffe.Net("other.prototxt", caffe.TEST)
    else:
        other = inner(settings)
    for ours, theirs, numbers in ((net, other, (count, 2)), (other, net, (2, count))):
        message = r"^layer 'fc': {} parameters in the other net, this net has {}$".format(*numbers)
        with pytest.raises(ValueError, match=message):
            ours.share_with(theirs)
