"""Classifier finds in photographs what it found with BVLC Caffe 1.0."""

from pathlib import Path

import caffe
import numpy as np
import pytest

from tests.caffe_torch.helpers import WINDOWS, assert_golden_windows
from tests.golden import windows as script


def test_the_script_finds_the_same_things(windows_found):
    assert list(windows_found) == list(WINDOWS)


@pytest.mark.parametrize("array_name", [name for name in WINDOWS if name.startswith(("classify", "default"))])
def test_the_script_finds_the_same(windows_found, array_name):
    assert_golden_windows(windows_found[array_name], WINDOWS[array_name])


def test_what_is_no_image(window_nets):
    classifier = caffe.Classifier(**window_nets)
    with pytest.raises(ValueError, match="no images"):
        classifier.predict([])
    with pytest.raises(ValueError, match=r"image 1 has the shape \(9, 9\), the net takes H x W x 3"):
        classifier.predict([np.zeros((9, 9, 3)), np.zeros((9, 9))])
    with pytest.raises(ValueError, match=r"image_dims \(20, 30\): the net takes crops of 28 x 24"):
        caffe.Classifier(**window_nets, image_dims=(20, 30))
    with pytest.raises(ValueError, match="3 channels"):
        caffe.Classifier(**window_nets, channel_swap=(1, 0))
    Path("two.prototxt").write_text(script.NET.replace('top: "data"', 'top: "data" top: "more"', 1))
    with pytest.raises(ValueError, match="one input of N x C x H x W"):
        caffe.Classifier("two.prototxt", "w.caffemodel")
