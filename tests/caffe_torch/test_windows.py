"""Classifier and Detector find in photographs what they found with BVLC Caffe 1.0."""

import sys
import types
from pathlib import Path

import caffe
import numpy as np
import pytest

from tests.golden import windows as script

GOLDEN = dict(np.load(Path(script.__file__).with_suffix(".npz")))


@pytest.fixture(scope="module")
def found():
    return script.run()


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder with the script's nets and weights."""
    monkeypatch.chdir(tmp_path)
    script.write_net(np.random.RandomState(0))
    return {"model_file": "net.prototxt", "pretrained_file": "w.caffemodel"}


def test_the_script_finds_the_same_things(found):
    assert list(found) == list(GOLDEN)


@pytest.mark.parametrize("what", GOLDEN)
def test_the_script_finds_the_same(found, what):
    ours, theirs = found[what], GOLDEN[what]
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    else:
        assert ours.tolist() == theirs.tolist()


def test_what_is_no_image(nets):
    classifier = caffe.Classifier(**nets)
    with pytest.raises(ValueError, match="no images"):
        classifier.predict([])
    with pytest.raises(ValueError, match=r"image 1 has the shape \(9, 9\), the net takes H x W x 3"):
        classifier.predict([np.zeros((9, 9, 3)), np.zeros((9, 9))])
    with pytest.raises(ValueError, match=r"image_dims \(20, 30\): the net takes crops of 28 x 24"):
        caffe.Classifier(**nets, image_dims=(20, 30))
    with pytest.raises(ValueError, match="3 channels"):
        caffe.Classifier(**nets, channel_swap=(1, 0))
    Path("two.prototxt").write_text(script.NET.replace('top: "data"', 'top: "data" top: "more"', 1))
    with pytest.raises(ValueError, match="one input of N x C x H x W"):
        caffe.Classifier("two.prototxt", "w.caffemodel")


def test_windows_that_are_none(nets, monkeypatch):
    monkeypatch.setattr(caffe.io, "load_image", script.photograph)
    detector = caffe.Detector(**nets)
    file = "0:0:40:50"
    with pytest.raises(ValueError, match="no windows"):
        detector.detect_windows([(file, [])])
    for pad in (None, 2):
        detector.configure_crop(pad)
        for window in ((0, 60, 40, 70), (60, 0, 70, 20)):
            with pytest.raises(ValueError, match=f"^{file}: window .* outside the image"):
                detector.detect_windows([(file, [window])])
    with pytest.raises(ValueError, match="empty"):
        caffe.Detector(**nets).detect_windows([(file, [(5, 5, 5, 9)])])
    with pytest.raises(ValueError, match="context_pad 12 does not fit"):
        caffe.Detector(**nets, context_pad=12)


def test_selective_search_is_asked_for_windows(nets, monkeypatch):
    monkeypatch.setattr(caffe.io, "load_image", script.photograph)
    detector, name = caffe.Detector(**nets), "selective_search_ijcv_with_python"
    with pytest.raises(ValueError, match=name):
        detector.detect_selective_search(["0:0:40:50"])
    search = types.ModuleType(name)
    search.get_windows = lambda files, cmd: [[(0.0, 0.0, 9.0, 9.0)] * (1 + i) for i in range(len(files))]
    monkeypatch.setitem(sys.modules, name, search)
    found = detector.detect_selective_search(iter(["0:0:40:50", "9:9:40:50"]))
    assert [one["filename"] for one in found] == ["0:0:40:50", "9:9:40:50", "9:9:40:50"]
    assert found[0]["prediction"].shape == (7,)
