"""Further layers give the numbers that BVLC Caffe 1.0 gave; what their settings may not be; V1 files."""

from pathlib import Path

import numpy as np
import pytest
from caffe import TEST, Net, layers
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.golden import more_layers as golden
from tests.golden.layers import one

GOLDEN = {}
for _key, _array in np.load(Path(golden.__file__).with_suffix(".npz")).items():
    GOLDEN.setdefault(_key.split("/")[0], {})[_key.split("/")[1]] = _array


def test_every_case_has_golden_numbers():
    assert set(golden.CASES) == set(GOLDEN)


@pytest.mark.parametrize("case", golden.CASES)
def test_forward_and_backward(case):
    ours = golden.run(golden.CASES[case])
    assert set(ours) == set(GOLDEN[case])
    for what, array in ours.items():
        assert array.shape == GOLDEN[case][what].shape, what
        np.testing.assert_allclose(array, GOLDEN[case][what], rtol=1e-5, atol=2e-6, err_msg=what)


def net(text):
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), TEST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Clip", "clip_param { min: 2 max: 1 }"), "clip_param: min 2 is above max 1"),
        (one("Clip"), "clip_param: give min and max"),
        (one("Tile"), "tile_param.tiles must be given, 1 or more"),
        (one("Tile", "tile_param { tiles: 2 axis: 4 }"), "axis 4 is outside a blob of 4 axes"),
        (one("Reduction", "reduction_param { axis: -5 }"), "axis -5 is outside"),
        (one("Embed", "embed_param { num_output: 2 }"), "embed_param.input_dim must be given"),
        (one("Embed", "embed_param { input_dim: 2 }"), "embed_param.num_output must be given"),
        (one("SPP"), "spp_param.pyramid_height must be given"),
        (one("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"), "STOCHASTIC is not supported"),
        (one("SPP", "spp_param { pyramid_height: 4 }"), "5 pixels cannot have 4 windows"),
        (one("SPP", "spp_param { pyramid_height: 1 }", x=(2, 3)), "4 axes are needed"),
        (one("MVN", x=(1, 2, 3, 4, 5)), "4 axes at most"),
        (one("Im2col", "convolution_param { kernel_size: 9 }"), "the top would be empty"),
        (one("Im2col", "convolution_param { kernel_size: 1 axis: 2 }"), "axis 2 is not supported"),
        (one("BatchReindex", x=(2, 3), w=(2, 2)), "the second has one axis"),
        (one("Filter", "", "y z", x=(2, 3), w=(2,)), "2 tops for 2 bottoms"),
        (one("Filter", x=(2, 3), w=(3,)), "the selector has 3 rows"),
        (one("Filter", x=(2, 3), w=(2, 2)), "one value a row"),
        (one("ContrastiveLoss", x=(2, 3), w=(2, 4), label=(2,)), r"\(2, 3\) and \(2, 4\)"),
        (one("ContrastiveLoss", x=(2, 3), w=(2, 3), label=(3,)), "3 labels for 2 pairs"),
        (one("HingeLoss", x=(2, 3), label=(3,)), "need a label a row, not 3"),
        (one("MultinomialLogisticLoss", x=(2, 3), label=(3,)), "need a label a row, not 3"),
        (one("InfogainLoss", x=(2, 3), label=(2,)), "infogain_loss_param.source must be given"),
        (one("InfogainLoss", x=(2, 3), label=(2,), w=(2, 2)), r"shape \(2, 2\) for 3 classes"),
        (one("InfogainLoss", "loss_param { normalize: true }", x=(2, 3), label=(2,), w=(3, 3)), "normalize"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net(text)


def test_the_line_of_a_layer_is_named(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(one("Tile", "tile_param { tiles: 0 }", force=False))
    with pytest.raises(ValueError, match=r"net.prototxt: line 2: layer 'layer' \(Tile\): tile_param.tiles"):
        Net(str(path), TEST)


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        (
            one("Embed", "embed_param { num_output: 2 input_dim: 3 }", label=(4,)),
            3,
            "index 3 is outside 0 to 2",
        ),
        (one("BatchReindex", x=(2, 3), label=(4,)), -1, "row -1 is outside 0 to 1"),
        (one("HingeLoss", x=(2, 3), label=(2,)), 3, "label 3 is none of 3 classes"),
        (one("MultinomialLogisticLoss", x=(2, 3), label=(2,)), 5, "label 5 is none of 3 classes"),
        (one("InfogainLoss", x=(2, 3), label=(2,), w=(3, 3)), 4, "label 4 is outside 0 to 2"),
    ],
)
def test_numbers_outside_their_range_are_named(text, value, message):
    built = net(text.replace("force_backward: true\n", ""))
    built.blobs["label"].data[0] = value
    with pytest.raises(ValueError, match=f"layer 'layer' .*{message}"):
        built.forward()


def test_infogain_reads_its_matrix_from_a_file(tmp_path):
    gains = np.random.default_rng(1).random((1, 1, 3, 3), np.float32)
    path = tmp_path / "gains.binaryproto"
    path.write_bytes(caffe_pb2.BlobProto(shape={"dim": gains.shape}, data=gains.ravel()).SerializeToString())
    scores = np.random.default_rng(2).random((4, 3), np.float32)
    of_file = net(one("InfogainLoss", f'infogain_loss_param {{ source: "{path}" }}', x=(4, 3), label=(4,)))
    of_blob = net(one("InfogainLoss", x=(4, 3), label=(4,), w=(1, 1, 3, 3), force=False))
    given = {"x": scores, "label": np.array([0, 1, 2, 1], np.float32)}
    assert of_file.forward(**given)["y"] == of_blob.forward(**given, w=gains)["y"]


def test_no_row_may_be_selected():
    built = net(one("Filter", x=(2, 3), label=(2,), force=False))
    built.blobs["label"].data[...] = 0
    assert built.forward()["y"].shape == (0, 3)
    built.blobs["label"].data[...] = 2
    assert built.forward()["y"].shape == (2, 3)


def test_equal_pixels_have_a_gradient():
    built = net(one("MVN", "mvn_param { eps: 0.5 }"))
    built.blobs["x"].data[...] = 3
    built.forward()
    built.blobs["y"].diff[...] = np.random.default_rng(1).random(built.blobs["y"].shape)
    assert np.isfinite(built.backward()["x"]).all()


@pytest.mark.parametrize("number", ["BNLL", "IM2COL", "THRESHOLD", "MVN", "CONTRASTIVE_LOSS", "HINGE_LOSS"])
def test_types_by_number_are_of_before_2015(number):
    assert number.replace("_", "") in {name.upper() for name in layers.type_list()}
