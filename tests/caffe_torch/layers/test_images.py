"""Data, ImageData and MemoryData: BVLC Caffe's batches, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from caffe import TEST, TRAIN, Net, device

from tests.caffe_torch.helpers import LMDB, assert_golden_batches, image_net, next_labels, source_net
from tests.golden import digits
from tests.golden import images as golden

pytest.importorskip("lmdb", reason="pip install lmdb")


@pytest.fixture
def folder(image_folder):
    return image_folder


def test_batches_are_bvlc_caffes(image_batches):
    assert_golden_batches(*image_batches, "data", "files", "memory")


def test_shuffled_passes_are_permutations(folder):
    device.set_random_seed(1)
    labels = next_labels(image_net("batch_size: 5 shuffle: true"), 20)
    epochs = [labels[i : i + 5] for i in range(0, 100, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 5


def test_rand_skip_begins_elsewhere(folder):
    starts = set()
    for seed in range(30):
        device.set_random_seed(seed)
        starts.add(next_labels(image_net("batch_size: 1 rand_skip: 3"), 1)[0])
    assert starts == {1, 4, 2}  # the labels of the first three images


@pytest.mark.parametrize("layer_type", ["Data", "ImageData"])
def test_a_restored_layer_goes_on_as_if_not_stopped(folder, layer_type):
    if layer_type == "Data":
        golden.command("convert_imageset", "./", "list.txt", "db")
        settings = 'data_param { source: "db" batch_size: 2 backend: LMDB }'
    else:
        settings = 'image_data_param { source: "list.txt" batch_size: 2 shuffle: true }'
    settings += "transform_param { crop_size: 6 mirror: true }"
    net, restored = source_net(layer_type, settings, TRAIN), source_net(layer_type, settings, TRAIN)
    next_labels(net, 3), next_labels(restored, 1)
    restored.layers[0].restore(net.layers[0].state())
    for _ in range(6):
        for a, b in zip(net.forward().values(), restored.forward().values(), strict=True):
            assert (a == b).all()


def test_a_position_in_other_images_is_refused(folder):
    state = image_net("batch_size: 1").layers[0].state()
    with pytest.raises(ValueError, match="does not fit those listed now"):
        image_net("batch_size: 1", source="mixed.txt").layers[0].restore(state)
    golden.command("convert_imageset", "./", "list.txt", "db")
    net = source_net("Data", 'data_param { source: "db" batch_size: 2 backend: LMDB }')
    state = net.layers[0].state()
    state["position"] = "ff"
    with pytest.raises(ValueError, match="no record"):
        net.layers[0].restore(state)


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("lenet", [2.3599796, 1.9572521, 2.6371322]),
        ("cifar10_quick", [48.658340, 65.661346, 87.336548]),
    ],
)
def test_published_examples_train_from_an_lmdb(name, losses, tmp_folder):
    """BVLC Caffe's losses of LeNet and CIFAR-10 quick, in training and of the test net."""
    assert digits.losses(name) == pytest.approx(losses, rel=1e-5)


def test_an_lmdb_is_read_where_the_backend_is_not_given(folder):
    """As in nets of 2013, which have no field for it."""
    golden.command("convert_imageset", "./", "list.txt", "db")
    old = 'name: "d" type: "data" source: "db" batchsize: 1 scale: 2'
    Path("net.prototxt").write_text(f'layers {{ layer {{ {old} }} top: "data" top: "label" }}')
    net = Net("net.prototxt", TEST)
    new = source_net("Data", f'data_param {{ source: "db" {LMDB} }}')
    np.testing.assert_array_equal(net.forward()["data"], 2 * new.forward()["data"])


@pytest.mark.parametrize(
    ("layer_type", "settings", "message"),
    [
        ("Data", "data_param { batch_size: 1 }", "data_param.source must be given"),
        ("Data", 'data_param { source: "db" backend: LEVELDB }', "LEVELDB, the default"),
        ("Data", 'data_param { source: "." }', "LEVELDB, the default"),
        ("Data", 'data_param { source: "none" backend: LMDB }', "source 'none': no such folder .*relative"),
        ("Data", 'data_param { source: "list.txt" backend: LMDB }', "'list.txt' is not an LMDB"),
        ("Data", f'data_param {{ source: "db" {LMDB} mirror: true }}', "give transform_param.mirror"),
        ("Data", 'data_param { source: "db" backend: LMDB }', "data_param.batch_size must be given"),
        ("Data", f'data_param {{ source: "db" {LMDB} force_encoded_color: true }}', "not supported"),
        ("ImageData", "image_data_param { }", "image_data_param.source must be given"),
        ("ImageData", 'image_data_param { source: "none" }', "'none': No such file"),
        ("ImageData", 'image_data_param { source: "empty.txt" }', "lists no images"),
        ("ImageData", 'image_data_param { source: "gone.txt" }', "image 'gone.png': no such file"),
        ("ImageData", 'image_data_param { source: "text.txt" }', "'list.txt': not an image"),
        (
            "ImageData",
            'image_data_param { source: "list.txt" new_width: 3 }',
            "both new_height and new_width",
        ),
        ("ImageData", 'image_data_param { source: "list.txt" scale: 2 }', "give transform_param.scale"),
        ("MemoryData", "memory_data_param { batch_size: 2 }", "channels, height, width must be given"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, layer_type, settings, message):
    Path("empty.txt").touch()
    Path("gone.txt").write_text("gone.png 1\n")
    Path("text.txt").write_text("list.txt 1\n")
    golden.command("convert_imageset", "./", "list.txt", "db")
    with pytest.raises(ValueError, match=message):
        source_net(layer_type, settings)


def test_memory_data_needs_arrays_that_fit():
    net = source_net("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }")
    with pytest.raises(ValueError, match=r"call net\.set_input_arrays first"):
        net.forward()
    rows = np.zeros((4, 1, 1, 3), np.float32)
    for data, label, message in (
        (rows[:3], np.zeros(3, np.float32), "3 rows are not a multiple of the batch size 2"),
        (rows.astype(float), np.zeros(4, np.float32), "C-contiguous float32"),
        (rows[:, :, :, :2].copy(), np.zeros(4, np.float32), r"the layer takes N x \(1, 1, 3\)"),
        (rows, np.zeros(3, np.float32), "for 4 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            net.set_input_arrays(data, label)


def test_fields_of_before_2014_move_to_transform_param(folder):
    Path("old.prototxt").write_text(
        'layers { name: "in" type: IMAGE_DATA top: "data" top: "label" '
        'image_data_param { source: "list.txt" batch_size: 2 scale: 0.5 crop_size: 6 } }'
    )
    old = Net("old.prototxt", TEST).forward()["data"]
    assert (old == image_net("batch_size: 2", "scale: 0.5 crop_size: 6").forward()["data"]).all()
