"""What `debug_info: true` logs."""

import re
from pathlib import Path

import caffe
import pytest

from tests.caffe_torch.helpers import SMALL


@pytest.fixture(autouse=True)
def folder(tmp_folder):
    return tmp_folder


def test_a_net_with_debug_info_logs_its_layers(capfd):
    """BVLC Caffe's lines; a solver's own debug_info counts for its nets."""
    net = SMALL[SMALL.index("{") + 1 : SMALL.rindex("}")]
    Path("debug.prototxt").write_text("debug_info: true" + net)
    debug = caffe.Net("debug.prototxt", caffe.TRAIN)
    debug.forward(end="fc")
    debug.forward(start="loss")
    debug.backward_once()
    lines = re.sub(r"(?m)^[IE]\d{4} .*?\] ", "", capfd.readouterr().err).splitlines()
    assert lines == [
        "    [Forward] Layer data, top blob x data: 1",
        "    [Forward] Layer data, top blob t data: 5",
        "    [Forward] Layer fc, top blob y data: 3",
        "    [Forward] Layer fc, param blob 0 data: 1",
        "    [Forward] Layer fc, param blob 1 data: 0",
        "    [Forward] Layer loss, top blob loss data: 4",
        "    [Backward] Layer loss, bottom blob y diff: 0.5",
        "    [Backward] Layer fc, param blob 0 diff: 2",
        "    [Backward] Layer fc, param blob 1 diff: 2",
        "    [Backward] All net params (data, diff): L1 norm = (6, 16); L2 norm = (2.44949, 5.65685)",
    ]
    text = 'net: "debug.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 1 '
    Path("solver.prototxt").write_text(text)
    caffe.get_solver("solver.prototxt").step(2)
    assert "ward]" not in capfd.readouterr().err
