"""Layers that bring images in: BVLC Caffe's batches, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from caffe import TEST, TRAIN, Net, device
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.golden import images as golden

pytest.importorskip("lmdb", reason="pip install lmdb")
EXPECTED = dict(np.load(Path(golden.__file__).with_suffix(".npz")))


@pytest.fixture(scope="module")
def ours():
    return golden.run()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    golden.write_images()
    return tmp_path


def test_the_batches_are_bvlc_caffes(ours):
    assert list(ours) == list(EXPECTED)
    for what, expected in EXPECTED.items():
        assert ours[what].shape == expected.shape, what
        np.testing.assert_allclose(ours[what], expected, rtol=1e-6, atol=1e-5, err_msg=what)


def build(kind, settings, phase=TEST, tops=("data", "label")):
    layer = caffe_pb2.LayerParameter(name="in", type=kind, top=tops)
    net = caffe_pb2.NetParameter(layer=[text_format.Parse(settings, layer)])
    return Net(net, phase)


def files(settings="", transform="", source="list.txt", phase=TEST):
    return build(
        "ImageData",
        f'image_data_param {{ source: "{source}" {settings} }} transform_param {{ {transform} }}',
        phase,
    )


def labels(net, batches):
    return [int(label) for _ in range(batches) for label in net.forward()["label"].ravel()]


def test_shuffled_passes_are_permutations(folder):
    device.set_random_seed(1)
    drawn = labels(files("batch_size: 5 shuffle: true"), 20)
    passes = [drawn[i : i + 5] for i in range(0, 100, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len(set(map(tuple, passes))) > 5


def test_rand_skip_begins_elsewhere(folder):
    starts = set()
    for seed in range(30):
        device.set_random_seed(seed)
        starts.add(labels(files("batch_size: 1 rand_skip: 3"), 1)[0])
    assert starts == {1, 4, 2}  # the labels of the first three images


def test_random_crops_and_mirrors_are_of_the_image(folder):
    device.set_random_seed(2)
    whole = files("batch_size: 1").forward()["data"][0].copy()
    Path("one.txt").write_text("0.png 1\n")
    net, seen = files("batch_size: 1", "crop_size: 9 mirror: true", "one.txt", TRAIN), set()
    windows = {
        whole[:, y : y + 9, x : x + 9][:, :, ::step].tobytes(): (y, x, step)
        for y in range(4)
        for x in range(2)
        for step in (1, -1)
    }
    for _ in range(200):
        seen.add(windows[net.forward()["data"][0].tobytes()])
    assert len(seen) == len(windows) == 16


@pytest.mark.parametrize("kind", ["Data", "ImageData"])
def test_a_restored_layer_goes_on_as_if_not_stopped(folder, kind):
    if kind == "Data":
        golden.command("convert_imageset", "./", "list.txt", "db")
        settings = 'data_param { source: "db" batch_size: 2 backend: LMDB }'
    else:
        settings = 'image_data_param { source: "list.txt" batch_size: 2 shuffle: true }'
    settings += "transform_param { crop_size: 6 mirror: true }"
    net, other = build(kind, settings, TRAIN), build(kind, settings, TRAIN)
    labels(net, 3), labels(other, 1)
    other.layers[0].restore(net.layers[0].state())
    for _ in range(6):
        for a, b in zip(net.forward().values(), other.forward().values(), strict=True):
            assert (a == b).all()


def test_a_position_in_other_images_is_refused(folder):
    state = files("batch_size: 1").layers[0].state()
    with pytest.raises(ValueError, match="does not fit those listed now"):
        files("batch_size: 1", source="mixed.txt").layers[0].restore(state)
    golden.command("convert_imageset", "./", "list.txt", "db")
    net = build("Data", 'data_param { source: "db" batch_size: 2 backend: LMDB }')
    state = net.layers[0].state()
    state["position"] = "ff"
    with pytest.raises(ValueError, match="no record"):
        net.layers[0].restore(state)


LMDB = "backend: LMDB batch_size: 1"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("Data", "data_param { batch_size: 1 }", "data_param.source must be given"),
        ("Data", 'data_param { source: "db" }', "LEVELDB, the default"),
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
        (
            "WindowData",
            'window_data_param { source: "windows.txt" batch_size: 1 }',
            "crop_size must be given",
        ),
        (
            "WindowData",
            'window_data_param { source: "list.txt" batch_size: 1 } transform_param { crop_size: 4 }',
            "image 0: an image is `# number path",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, kind, settings, message):
    Path("empty.txt").touch()
    Path("gone.txt").write_text("gone.png 1\n")
    Path("text.txt").write_text("list.txt 1\n")
    golden.command("convert_imageset", "./", "list.txt", "db")
    with pytest.raises(ValueError, match=message):
        build(kind, settings)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("crop_size: 11", "image '0.png': transform_param.crop_size 11 is larger than 12 x 10 pixels"),
        ('mean_file: "mean.binaryproto" mean_value: 1', "give mean_file or mean_value, not both"),
        ('mean_file: "list.txt"', "'list.txt' is not a BlobProto"),
        ("force_color: true force_gray: true", "force_color or force_gray"),
    ],
)
def test_transformations_that_do_not_fit_are_refused(folder, transform, message):
    with pytest.raises(ValueError, match=message):
        files("batch_size: 1", transform)


@pytest.mark.parametrize(
    ("settings", "transform", "source", "message"),
    [
        ("batch_size: 2", "", "mixed.txt", r"image 'wide.png': 30 x 40 pixels .*begins with \(3, 12, 10\)"),
        ("batch_size: 2", "mean_value: 1 mean_value: 2", "list.txt", "mean_value: give one, or 3"),
        ("is_color: false", 'mean_file: "mean.binaryproto"', "list.txt", r"a mean of shape \(3, 12, 10\)"),
    ],
)
def test_images_that_do_not_fit_are_named(folder, settings, transform, source, message):
    net = files(settings, transform, source)
    with pytest.raises(ValueError, match=message):
        net.forward()


def test_a_damaged_record_is_named(folder):
    import lmdb

    with lmdb.open("db") as environment, environment.begin(write=True) as transaction:
        transaction.put(b"7", caffe_pb2.Datum(channels=3, height=2, width=2, data=b"abc").SerializeToString())
    with pytest.raises(ValueError, match="source 'db', record '7': holds 3 values"):
        build("Data", f'data_param {{ source: "db" {LMDB} }}')


def test_float_records_are_read(folder):
    import lmdb

    datum = caffe_pb2.Datum(channels=1, height=1, width=3, float_data=[0.5, -1, 2], label=4)
    with lmdb.open("db") as environment, environment.begin(write=True) as transaction:
        transaction.put(b"7", datum.SerializeToString())
    found = build("Data", f'data_param {{ source: "db" {LMDB} }} transform_param {{ scale: 2 }}').forward()
    assert found["data"].ravel().tolist() == [1, -2, 4] and found["label"].tolist() == [4]


def test_memory_data_needs_arrays_that_fit():
    net = build("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 }")
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
    assert (old == files("batch_size: 2", "scale: 0.5 crop_size: 6").forward()["data"]).all()
