"""Detector finds in photographs what it found with BVLC Caffe 1.0."""

import sys
import types

import caffe
import pytest

from tests.caffe_torch.helpers import WINDOWS, assert_golden_windows
from tests.golden import windows as script


@pytest.mark.parametrize("array_name", [name for name in WINDOWS if name.startswith(("detect", "crops"))])
def test_the_script_finds_the_same(windows_found, array_name):
    assert_golden_windows(windows_found[array_name], WINDOWS[array_name])


def test_windows_that_are_none(window_nets, monkeypatch):
    monkeypatch.setattr(caffe.io, "load_image", script.photograph)
    detector = caffe.Detector(**window_nets)
    file = "0:0:40:50"
    with pytest.raises(ValueError, match="no windows"):
        detector.detect_windows([(file, [])])
    for pad in (None, 2):
        detector.configure_crop(pad)
        for window in ((0, 60, 40, 70), (60, 0, 70, 20)):
            with pytest.raises(ValueError, match=f"^{file}: window .* outside the image"):
                detector.detect_windows([(file, [window])])
    with pytest.raises(ValueError, match="empty"):
        caffe.Detector(**window_nets).detect_windows([(file, [(5, 5, 5, 9)])])
    with pytest.raises(ValueError, match="context_pad 12 does not fit"):
        caffe.Detector(**window_nets, context_pad=12)


def test_selective_search_is_asked_for_windows(window_nets, monkeypatch):
    monkeypatch.setattr(caffe.io, "load_image", script.photograph)
    detector, name = caffe.Detector(**window_nets), "selective_search_ijcv_with_python"
    with pytest.raises(ValueError, match=name):
        detector.detect_selective_search(["0:0:40:50"])
    search = types.ModuleType(name)
    search.get_windows = lambda files, cmd: [[(0.0, 0.0, 9.0, 9.0)] * (1 + i) for i in range(len(files))]
    monkeypatch.setitem(sys.modules, name, search)
    detections = detector.detect_selective_search(iter(["0:0:40:50", "9:9:40:50"]))
    assert [detection["filename"] for detection in detections] == ["0:0:40:50", "9:9:40:50", "9:9:40:50"]
    assert detections[0]["prediction"].shape == (7,)
