import shutil

import caffe
import numpy as np
import pytest

from data_prep import depth_pair
from fusion import models
from fusion.two_stream import TwoStream


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_the_default_is_there():
    assert models.DEFAULT in models.names()


@pytest.mark.parametrize("name", models.names())
def test_cards_name_whole_files_that_caffe_loads(name):
    head = models.card(name)
    for field in ("name", "net", "caffemodel", "sha256", "license", "recipe", "iterations"):
        assert head[field], field
    deploy, weights = models.files(name)
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    assert all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs)


@pytest.mark.parametrize("name", models.names())
def test_models_fuse_better_than_either_photograph_or_their_mean(name):
    near, far, sharp = (image[:250, 200:500] for image in depth_pair.pair())
    fused = TwoStream(*models.files(name))(near, far)
    mean = (near.astype(float) + far) / 2
    assert psnr(fused, sharp) > 3 + max(psnr(x, sharp) for x in (near, far, mean))


@pytest.mark.parametrize("name", [models.DEFAULT, models.FAST])
def test_models_give_no_tint(name):
    """An image fused with itself keeps its mean colour to half a level."""
    near, _, _ = (image[:250, 200:500] for image in depth_pair.pair())
    fused = TwoStream(*models.files(name))(near, near)
    assert np.abs(fused.mean((0, 1)) - near.mean((0, 1))).max() < 0.5


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    shutil.copytree(models.ROOT / "models" / models.DEFAULT, tmp_path / "models" / models.DEFAULT)
    monkeypatch.setattr(models, "ROOT", tmp_path)
    weights = next((tmp_path / "models").glob("*/*.caffemodel"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="sha256 differs"):
        models.files(models.DEFAULT)


def test_unknown_names_are_refused_with_the_known():
    with pytest.raises(ValueError, match=models.DEFAULT):
        models.files("none")
    with pytest.raises(ValueError, match=f"{models.DEFAULT} is a model of two_stream, cnn has cnn"):
        models.files(models.DEFAULT, "cnn")
