"""What is logged while nets are built; the order of it all is in golden/building.log (test_command.py)."""

import caffe
import pytest

from tests.caffe_torch.helpers import INPUT_X, log_of_net


@pytest.fixture(autouse=True)
def folder(tmp_folder):
    return tmp_folder


def test_rules_say_why_a_layer_is_left_out(capfd):
    caffe.init_log()
    rules = (
        "include { phase: TRAIN } include { min_level: 2 } include { max_level: -1 } "
        'include { stage: "a" stage: "b" } include { not_stage: "a" }'
    )
    text = INPUT_X + f'layer {{ name: "r" type: "Power" bottom: "x" top: "r" {rules} }}'
    lines = log_of_net(capfd, text, stages=["a"])
    end = " specified by a rule in layer r"
    assert lines[: lines.index("Initializing net from parameters: ")] == [
        f"The NetState phase (1) differed from the phase (0){end}",
        f"The NetState level (0) is above the min_level (2){end}",
        f"The NetState level (0) is above the max_level (-1){end}",
        f"The NetState did not contain stage 'b'{end}",
        f"The NetState contained a not_stage 'a'{end}",
    ]


def test_a_net_that_cannot_be_built_logs_its_error_alone(capfd):
    caffe.init_log()
    with pytest.raises(ValueError, match="layer 'r'"):
        log_of_net(capfd, INPUT_X + 'layer { name: "r" type: "Pooling" bottom: "x" top: "r" }')
    assert capfd.readouterr().err == ""
