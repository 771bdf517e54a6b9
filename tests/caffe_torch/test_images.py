"""Images as data layers read them: transformations, databases, records."""

import threading
from pathlib import Path

import pytest
from caffe import TRAIN, device, images
from caffe.proto import caffe_pb2

from tests.caffe_torch.helpers import DAMAGED_RECORDS, LMDB, image_net, source_net, write_records

lmdb = pytest.importorskip("lmdb", reason="pip install lmdb")


@pytest.fixture
def folder(image_folder):
    return image_folder


def test_random_crops_and_mirrors_are_of_the_image(folder):
    device.set_random_seed(2)
    image = image_net("batch_size: 1").forward()["data"][0].copy()
    Path("one.txt").write_text("0.png 1\n")
    net, crops = image_net("batch_size: 1", "crop_size: 9 mirror: true", "one.txt", TRAIN), set()
    windows = {
        image[:, y : y + 9, x : x + 9][:, :, ::step].tobytes(): (y, x, step)
        for y in range(4)
        for x in range(2)
        for step in (1, -1)
    }
    for _ in range(200):
        crops.add(windows[net.forward()["data"][0].tobytes()])
    assert len(crops) == len(windows) == 16


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
        image_net("batch_size: 1", transform)


@pytest.mark.parametrize(
    ("settings", "transform", "source", "message"),
    [
        ("batch_size: 2", "", "mixed.txt", r"image 'wide.png': 30 x 40 pixels .*begins with \(3, 12, 10\)"),
        ("batch_size: 2", "mean_value: 1 mean_value: 2", "list.txt", "mean_value: give one, or 3"),
        ("is_color: false", 'mean_file: "mean.binaryproto"', "list.txt", r"a mean of shape \(3, 12, 10\)"),
    ],
)
def test_images_that_do_not_fit_are_named(folder, settings, transform, source, message):
    net = image_net(settings, transform, source)
    with pytest.raises(ValueError, match=message):
        net.forward()


@pytest.mark.parametrize("damage", DAMAGED_RECORDS)
def test_a_damaged_record_is_named(damage, folder):
    record, message = DAMAGED_RECORDS[damage]
    write_records(record)
    with pytest.raises(ValueError, match=f"^net: .*data_param.source 'db', record '0'{message}"):
        source_net("Data", f'data_param {{ source: "db" {LMDB} }}')


def test_float_records_are_read(folder):
    import lmdb

    datum = caffe_pb2.Datum(channels=1, height=1, width=3, float_data=[0.5, -1, 2], label=4)
    with lmdb.open("db") as environment, environment.begin(write=True) as transaction:
        transaction.put(b"7", datum.SerializeToString())
    outputs = source_net(
        "Data", f'data_param {{ source: "db" {LMDB} }} transform_param {{ scale: 2 }}'
    ).forward()
    assert outputs["data"].ravel().tolist() == [1, -2, 4] and outputs["label"].tolist() == [4]


def test_a_database_that_another_thread_is_closing_is_opened(tmp_path):
    """The reference to an environment goes before it is closed, in whichever thread collects garbage."""
    path = str(tmp_path / "db")
    with lmdb.open(path) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"0", b"record")
    closing = lmdb.open(path, readonly=True, lock=False)
    threading.Timer(0.05, closing.close).start()
    assert images.Database(path).next() == (b"0", b"record")
