"""Embed, BatchReindex and Filter."""

import pytest

from tests.caffe_torch.golden_layers import (
    assert_golden_numbers,
    cases_of,
    net_of,
)
from tests.golden.layers import one


@pytest.mark.parametrize("case", cases_of("lookup"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Embed", "embed_param { num_output: 2 }"), "embed_param.input_dim must be given"),
        (one("Embed", "embed_param { input_dim: 2 }"), "embed_param.num_output must be given"),
        (one("BatchReindex", x=(2, 3), w=(2, 2)), "the second has one axis"),
        (one("Filter", "", "y z", x=(2, 3), w=(2,)), "2 tops for 2 bottoms"),
        (one("Filter", x=(2, 3), w=(3,)), "the selector has 3 rows"),
        (one("Filter", x=(2, 3), w=(2, 2)), "one value a row"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        (
            one("Embed", "embed_param { num_output: 2 input_dim: 3 }", label=(4,)),
            3,
            "index 3 is outside 0 to 2",
        ),
        (one("BatchReindex", x=(2, 3), label=(4,)), -1, "row -1 is outside 0 to 1"),
    ],
)
def test_numbers_outside_their_range_are_named(text, value, message):
    built = net_of(text.replace("force_backward: true\n", ""))
    built.blobs["label"].data[0] = value
    with pytest.raises(ValueError, match=f"layer 'layer' .*{message}"):
        built.forward()


def test_no_row_may_be_selected():
    built = net_of(one("Filter", x=(2, 3), label=(2,), force=False))
    built.blobs["label"].data[...] = 0
    assert built.forward()["y"].shape == (0, 3)
    built.blobs["label"].data[...] = 2
    assert built.forward()["y"].shape == (2, 3)
