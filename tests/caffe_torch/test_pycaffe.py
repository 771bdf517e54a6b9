"""A script written for pycaffe runs unchanged and finds what it found with BVLC Caffe 1.0."""

import importlib.util
import re
import time
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import draw, io
from caffe import layers as L
from caffe.proto import caffe_pb2

from tests.golden import pycaffe as script
from tests.golden.layers import inputs, layer

GOLDEN = dict(np.load(Path(script.__file__).with_suffix(".npz")))


@pytest.fixture(scope="module")
def found():
    return script.run()


def test_the_script_finds_the_same_things(found):
    assert set(found) == set(GOLDEN)


@pytest.mark.parametrize("what", GOLDEN)
def test_the_script_finds_the_same(found, what):
    ours, theirs = np.asarray(found[what]), GOLDEN[what]
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "U":
        assert ours.tolist() == theirs.tolist()
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_layers_are_listed_as_caffe_names_them():
    assert {"Convolution", "PReLU", "InnerProduct", "TanH", "ELU"} <= set(caffe.layer_type_list())
    assert caffe.__version__ == "1.0.0"


def test_the_readme_lists_the_layers():
    readme = (Path(__file__).parents[2] / "caffe_torch" / "README.md").read_text()
    table = readme[readme.index("| family |") : readme.index("## Differences")]
    rows = re.findall(r"^\| `layers/.*?\| (.*?) \|$", table, re.M)
    listed = [name for row in rows for name in row.split(", ")]
    assert sorted(listed) == caffe.layer_type_list()


@pytest.fixture
def pictures(tmp_path):
    """A picture in colour, one with alpha, one in gray: each a file of 4 x 6 pixels."""
    skimage_io = pytest.importorskip("skimage.io")
    colour = np.zeros((4, 6, 4), np.uint8)
    colour[..., 0], colour[..., 3] = 255, 128
    for name, array in {"colour": colour[..., :3], "alpha": colour, "gray": colour[..., 3]}.items():
        skimage_io.imsave(tmp_path / f"{name}.png", array, check_contrast=False)
    return tmp_path


def test_images_are_read_as_colour_or_gray(pictures):
    for name in ("colour", "alpha"):
        image = io.load_image(pictures / f"{name}.png")
        assert image.shape == (4, 6, 3) and image.dtype == np.float32
        assert (image == [1, 0, 0]).all()
        gray = io.load_image(pictures / f"{name}.png", color=False)
        assert gray.shape == (4, 6, 1)
        np.testing.assert_allclose(gray, 0.2125, atol=1e-6)  # the share of red in skimage's gray
    assert (io.load_image(pictures / "gray.png") == np.float32(128 / 255)).all()
    assert io.load_image(pictures / "gray.png").shape == (4, 6, 3)
    assert io.load_image(pictures / "gray.png", color=False).shape == (4, 6, 1)


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("set_transpose", (1, 0), "3 axes"),
        ("set_channel_swap", (1, 0), "3 channels"),
        ("set_mean", np.zeros((3, 4, 4)), "does not fit"),
        ("set_mean", np.zeros(2), "shape"),
    ],
)
def test_settings_that_do_not_fit_the_input(setting, value, reason):
    transformer = io.Transformer({"data": (1, 3, 9, 7)})
    with pytest.raises(ValueError, match=reason):
        getattr(transformer, setting)("data", value)
    with pytest.raises(ValueError, match="'x' is not one of the inputs: data"):
        getattr(transformer, setting)("x", value)


def test_messages_that_do_not_fit():
    with pytest.raises(ValueError, match="does not fit its 1 values"):
        io.blobproto_to_array(caffe_pb2.BlobProto(shape={"dim": [2]}, data=[1]))
    with pytest.raises(ValueError, match="gradient of shape"):
        io.array_to_blobproto(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="C x H x W"):
        io.array_to_datum(np.zeros(2))
    with pytest.raises(ValueError, match="larger than the images"):
        io.oversample(np.zeros((1, 3, 3, 1)), (4, 4))


def test_nets_in_python_name_what_is_wrong():
    data = L.Input(shape={"dim": [1, 3]})
    with pytest.raises(TypeError, match="ReLU input 0 is not a Top"):
        L.ReLU("data")
    with pytest.raises(AttributeError, match="no field 'nosuch'"):
        caffe.to_proto(L.ReLU(data, nosuch=3))
    with pytest.raises(AttributeError):
        _ = caffe.params.Pooling.BEST
    with pytest.raises(AttributeError, match="no layer 'conv'"):
        _ = caffe.NetSpec().conv


def test_input_arrays_are_refused_with_the_way_to_go(tmp_path):
    (tmp_path / "net.prototxt").write_text(str(caffe.to_proto(L.Input(shape={"dim": [1]}))))
    with pytest.raises(ValueError, match="the first layer is not MemoryData"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).set_input_arrays(np.zeros(1), np.zeros(1))


@pytest.mark.skipif(importlib.util.find_spec("pydot") is not None, reason="pydot is here")
def test_drawing_without_pydot_says_what_to_install(tmp_path):
    with pytest.raises(ValueError, match="pip install pydot"):
        draw.draw_net_to_file(script.classifier(1), str(tmp_path / "net.png"))
    assert not list(tmp_path.iterdir())


HOOKED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "out" type: "Power" bottom: "ip" top: "out" power_param { scale: 2 } }
"""


def test_functions_are_called_around_layers(tmp_path):
    (tmp_path / "net.prototxt").write_text(HOOKED)
    net, calls = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST), []
    net.params["ip"][0].data[...] = 1
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda i, when=when: calls.append((when, i, net.blobs["ip"].data[0, 0])))
    net.forward(x=np.ones((1, 2)))
    net.backward()
    ways = [("forward", range(3)), ("backward", range(2, -1, -1))]
    wanted = [(f"{at}_{way}", i) for way, layers in ways for i in layers for at in ("before", "after")]
    assert [call[:2] for call in calls] == wanted  # BVLC Caffe's order
    assert [value for *_, value in calls] == [0, 0, 0] + [2] * 9
    net.forward(start="out", end="out")
    assert [call[:2] for call in calls[12:]] == [("before_forward", 2), ("after_forward", 2)]


def test_a_timer(capfd):
    timer = caffe.Timer()
    assert timer.ms == 0 and "Timer has never been run" in capfd.readouterr().err
    timer.start()
    time.sleep(0.02)
    timer.start()  # goes on
    assert timer.ms >= 20
    assert timer.ms == timer.ms  # it stands


def test_the_log_from_python(capfd, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.log("a line")
    assert re.match(r"I\d{4} .* test_pycaffe\.py:\d+\] a line\n", capfd.readouterr().err)
    try:
        caffe.init_log(2, True)
        caffe.log("a line")
        caffe.Timer().ms  # noqa: B018 (it warns)
        assert capfd.readouterr().err == ""
    finally:
        caffe.init_log()


def test_one_process_is_one_solver():
    caffe.set_multiprocess(True)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    with pytest.raises(ValueError, match="solver_count 2: it is 1 here; caffe train -gpu 0,1"):
        caffe.set_solver_count(2)
    with pytest.raises(ValueError, match="solver_rank 1"):
        caffe.set_solver_rank(1)


def test_names_that_scripts_take_from_pycaffe():
    from caffe.pycaffe import Net, get_solver

    assert (Net, get_solver) == (caffe.Net, caffe.get_solver)
    pytest.importorskip("skimage")
    assert io.resize(np.zeros((2, 2)), (3, 4)).shape == io.zoom(np.zeros((3, 2)), (1, 2)).shape == (3, 4)
    assert callable(io.skimage.io.imread)


def test_blobs_and_layers_by_number(tmp_path):
    """pycaffe's private names, with what they gave there."""
    text = inputs(a=(4, 3), t=(4, 2)) + layer(
        "InnerProduct", "inner_product_param { num_output: 2 }", "a", "b"
    )
    (tmp_path / "net.prototxt").write_text(text + layer("EuclideanLoss", "", "b t", "l", "loss"))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    assert net._blob_names == ["a", "t", "b", "l"]
    assert [blob.data.shape for blob in net._blobs] == [(4, 3), (4, 2), (4, 2), ()]
    assert (net._inputs, net._outputs, net._blob_loss_weights) == ([0, 1], [3], [0, 0, 0, 1])
    assert [net._top_ids(i) for i in range(4)] == [[0], [1], [2], [3]]
    assert [net._bottom_ids(i) for i in range(4)] == [[], [], [0], [2, 1]]
    net.blobs["t"].data[...] = 1
    assert (net._forward(0, 3), net._forward(0, 2)) == (1, 0)
    assert net._backward(3, 0) is None
