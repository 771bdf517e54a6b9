import os
import shutil

import caffe
import h5py
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from two_stream_fusion.methods import models
from two_stream_fusion.methods.two_stream import TwoStream


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_the_default_model_exists():
    assert models.DEFAULT in models.names()


@pytest.mark.parametrize("name", models.names())
def test_cards_name_whole_files_that_caffe_loads(name):
    head = models.card(name)
    for field in ("name", "net", "caffemodel", "sha256", "license", "recipe", "iterations"):
        assert head[field], field
    deploy, weights = models.model_files(name)
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    assert all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs)


@pytest.mark.parametrize("name", models.names())
def test_models_fuse_better_than_either_photograph_or_their_mean(name, rendered_pair):
    near, far, sharp = (image[:250, 200:500] for image in rendered_pair)
    fused = TwoStream(*models.model_files(name))(near, far)
    mean = (near.astype(float) + far) / 2
    assert psnr(fused, sharp) > 3 + max(psnr(x, sharp) for x in (near, far, mean))


@pytest.mark.parametrize("name", [models.DEFAULT, models.FAST])
def test_models_give_no_tint(name, rendered_pair):
    """An image fused with itself keeps its mean colour to half a level."""
    near, _, _ = (image[:250, 200:500] for image in rendered_pair)
    fused = TwoStream(*models.model_files(name))(near, near)
    assert np.abs(fused.mean((0, 1)) - near.mean((0, 1))).max() < 0.5


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    shutil.copytree(models.data_folder() / "models" / models.DEFAULT, tmp_path / "models" / models.DEFAULT)
    monkeypatch.setattr(models, "data_folder", lambda: tmp_path)
    weights = next((tmp_path / "models").glob("*/*.caffemodel"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="sha256 differs"):
        models.model_files(models.DEFAULT)


def test_unknown_names_are_refused_with_the_known():
    with pytest.raises(ValueError, match=models.DEFAULT):
        models.model_files("none")
    with pytest.raises(ValueError, match=f"{models.DEFAULT} is a model of two_stream, cnn has cnn"):
        models.model_files(models.DEFAULT, "cnn")


def own(tmp_path, monkeypatch, text):
    """models/ with one model of somebody's own, whose readme.md is `text`."""
    (tmp_path / "models/mine").mkdir(parents=True)
    (tmp_path / "models/mine/readme.md").write_text(text)
    monkeypatch.setattr(models, "data_folder", lambda: tmp_path)


def test_a_readme_without_a_head_is_named(tmp_path, monkeypatch):
    own(tmp_path, monkeypatch, "# my model\n")
    with pytest.raises(ValueError, match=r"mine/readme\.md: no line 'method': between --- and ---"):
        models.names()


@pytest.mark.parametrize("missing", models.CARD_KEYS)
def test_a_head_that_lacks_a_line_is_named(missing, tmp_path, monkeypatch):
    lines = [f"{key}: x" for key in models.CARD_KEYS if key != missing]
    own(tmp_path, monkeypatch, "\n".join(["---", *lines, "---", "", "words --- and more"]))
    with pytest.raises(ValueError, match=f"no line '{missing}'"):
        models.card("mine")


def test_weights_that_a_card_names_have_to_be_there(tmp_path, monkeypatch):
    own(tmp_path, monkeypatch, "\n".join(["---", *(f"{key}: x" for key in models.CARD_KEYS), "---"]))
    with pytest.raises(ValueError, match=r"mine/x: does not exist, though its readme\.md names it"):
        models.model_files("mine")


@pytest.mark.parametrize("kind", ["caffemodel", "h5"])
def test_weights_of_another_net_are_refused(kind, tmp_path):
    """Caffe leaves a layer that a file has nothing for as its fillers have it: a dark, wrong image."""
    deploy, weights = models.model_files(models.FAST)
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    same = str(tmp_path / f"w.{kind}")
    (net.save if kind == "caffemodel" else net.save_hdf5)(same)
    assert models.open_net(deploy, same).params["conv1_a"][0].shape == net.params["conv1_a"][0].shape
    renamed = tmp_path / "deploy.prototxt"
    renamed.write_text(deploy.read_text().replace('"conv2_a"', '"convZ_a"'))
    with pytest.raises(ValueError, match=rf"w\.{kind}: no weights for convZ_a of .*; it has .*conv2_a"):
        models.open_net(renamed, same)


def test_files_that_are_no_caffemodels_are_refused(tmp_path):
    deploy, _ = models.model_files(models.FAST)
    (tmp_path / "notes.caffemodel").write_text("no weights, but words")
    with pytest.raises(ValueError, match=r"notes\.caffemodel: not a caffemodel"):
        models.open_net(deploy, tmp_path / "notes.caffemodel")


def test_the_net_of_what_is_no_file_is_refused(tmp_path):
    deploy, weights = models.model_files(models.FAST)
    for pair in ((tmp_path / "none", weights), (deploy, tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match=r"no such file: .*none"):
            models.open_net(*pair)


def test_files_without_an_end_are_refused(tmp_path):
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2**40)  # takes no room
    for path, words in (
        (tmp_path / "large", "larger than"),
        ("/dev/zero", "is a FIFO, a socket or a device"),
    ):
        with pytest.raises(ValueError, match=words):
            models.read_prototxt(path, caffe_pb2.NetParameter())
        with pytest.raises(ValueError, match=words):
            models.read_caffemodel(path)


@pytest.mark.parametrize("data", [3, [1, 2], "text", None])
def test_other_hdf5_is_no_file_of_weights(data, tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        if data is None:
            file["data/conv1"] = 3.0
        else:
            file["data"] = data
    deploy = models.data_folder() / "prototxt/2-1-2_f32_k3/deploy.prototxt"
    with pytest.raises(
        ValueError, match=r"w\.h5: (not a complete HDF5 file of|layer|no weights for|damaged)"
    ):
        models.open_net(deploy, path)
