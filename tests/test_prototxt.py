"""The hand-written nets and solvers hold together."""

import csv
import re
from pathlib import Path

import caffe
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from data_prep import make_database
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[1]
NETS = sorted(path.name for path in (ROOT / "prototxt").iterdir())
TWO_STREAM = [name for name in NETS if name[0].isdigit()]
MULTI_STREAM = [name for name in NETS if name.startswith("N-")]
SOLVERS = sorted(
    [
        *(ROOT / "solver").glob("*.prototxt"),
        *(ROOT / "models").glob("*/training/[0-9].prototxt"),
        *(ROOT / "models").glob("*/training/solver.prototxt"),
    ]
)
RELEASES = sorted(path.parent for path in (ROOT / "models").glob("*/training/solver.prototxt"))
STAGES = sorted(path.parent for path in (ROOT / "models").glob("*/training/commands.sh"))


def read(path, message):
    return text_format.Parse(path.read_text(), message)


def parts(name):
    """Both files of a net."""
    folder = ROOT / "prototxt" / name
    return [read(folder / f"{n}.prototxt", caffe_pb2.NetParameter()) for n in ("train_val", "deploy")]


@pytest.mark.parametrize("name", sorted(set(NETS) - set(MULTI_STREAM)))
def test_train_val_and_deploy_are_one_net(name):
    train, deploy = parts(name)
    assert train.name == deploy.name == name

    def trained(net):
        layers = {}
        for layer in net.layer:
            if layer.type in ("HDF5Data", "Power", "Input", "Softmax", "Accuracy") or "Loss" in layer.type:
                continue
            layer.convolution_param.ClearField("weight_filler")
            layer.convolution_param.ClearField("bias_filler")
            layers[layer.name] = layer
        return layers

    assert trained(train) == trained(deploy)


@pytest.mark.parametrize("name", MULTI_STREAM)
def test_a_multi_stream_net_scores_a_frame_as_it_trains_six(name):
    """The layers that have filters are the same; methods/test_multi_stream.py compares the numbers."""
    train, deploy = parts(name)
    assert train.name == deploy.name == name

    def trained(net):
        layers = [layer for layer in net.layer if layer.type in ("Convolution", "Deconvolution", "ReLU")]
        for layer in layers:
            layer.convolution_param.ClearField("weight_filler")
            layer.bottom[:] = ["frame" if blob == "frames" else blob for blob in layer.bottom]
        return layers

    assert trained(train) == trained(deploy)
    filters, kernel = map(int, re.match(r"N-stream_f(\d+)_k(\d+)", name).groups())
    first = next(layer for layer in deploy.layer if layer.name == "conv1").convolution_param
    assert (first.num_output, *first.kernel_size) == (filters, kernel)


@pytest.mark.parametrize("name", TWO_STREAM)
def test_nets_are_what_their_names_say(name):
    streams, fusion, decoder, filters, kernel = map(
        int, re.match(r"(\d)-(\d)-(\d)_f(\d+)_k(\d+)", name).groups()
    )
    _, deploy = parts(name)
    layers = {layer.name: layer for layer in deploy.layer}
    for stream in "ab":
        assert sum(n.startswith("conv") and n.endswith(f"_{stream}") for n in layers) == streams
    deconvolutions = [layer for n, layer in layers.items() if n.startswith("deconv")]
    assert len(deconvolutions) == decoder and fusion == 1
    for layer in deploy.layer:
        if layer.type not in ("Convolution", "Deconvolution"):
            continue
        conv, size = layer.convolution_param, 1 if layer.name == "fusion" else kernel
        assert list(conv.kernel_size) == [size]
        if name.endswith("_stride5") and layer.name != "fusion":
            assert list(conv.stride) == [5] and not conv.pad
        else:
            assert sum(conv.pad) == size // 2 and not conv.stride
        assert conv.num_output == (4 if layer is deconvolutions[-1] else filters)
        relus = [after for after in deploy.layer if after.type == "ReLU" and after.bottom == layer.top]
        if layer is deconvolutions[-1] and name.endswith("_linear"):
            assert not relus
        else:
            assert len(relus) == 1 and relus[0].top == layer.top  # in place, after every layer


def test_paired_fusion_interleaves_as_equation_1():
    net = caffe.Net(str(ROOT / "prototxt/2-1-2_f64_k5_paired/deploy.prototxt"), caffe.TEST)
    net.forward()
    for stream, value in (("a", 1), ("b", 2)):
        net.blobs[f"conv2_{stream}"].data[...] = value
        net.blobs[f"conv2_{stream}"].data[:, 5] = 10 * value
    net.forward(start="axis_a", end="interleave")
    row = net.blobs["interleave"].data[0, :, 0, 0]
    # with d counted from 1: y_2d-1 is b's channel d, y_2d is a's
    assert row[0::2].tolist() == [2] * 5 + [20] + [2] * 58
    assert row[1::2].tolist() == [1] * 5 + [10] + [1] * 58
    assert net.params["fusion"][0].shape == (64, 2, 1, 1)


def test_shared_streams_have_one_set_of_filters():
    net = caffe.Net(str(ROOT / "prototxt/2-1-2_f64_k5_shared/deploy.prototxt"), caffe.TEST)
    net.params["conv1_a"][0].data[0, 0, 0, 0] = 42
    assert net.params["conv1_b"][0].data[0, 0, 0, 0] == 42


@pytest.mark.parametrize("path", SOLVERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_solvers_name_nets_and_folders_that_exist(path):
    solver = read(path, caffe_pb2.SolverParameter())
    assert (ROOT / solver.net).is_file()
    model = path.parent.parent.name
    released = f"build/release/{model}/snapshots/{model}"
    expected = released if path.name == "solver.prototxt" else "build/snapshots/"
    assert solver.snapshot_prefix.startswith(expected)
    assert not solver.HasField("solver_mode")  # -gpu decides


@pytest.mark.parametrize("folder", STAGES, ids=lambda path: path.parent.name)
def test_stages_of_a_released_model_have_their_files(folder):
    solvers = sorted(folder.glob("[0-9].prototxt"))
    assert [path.name for path in solvers] == [f"{i + 1}.prototxt" for i in range(len(solvers))]
    commands = (folder / "commands.sh").read_text()
    stages = re.findall(rf"-solver models/{folder.parent.name}/training/(\d+)\.prototxt", commands)
    assert sorted(set(stages)) == [path.stem for path in solvers]
    with open(folder / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    assert {row["stage"] for row in log} == set(stages)
    assert all(20 < float(row["val_psnr"]) < 60 for row in log)
    for path in solvers:
        assert f'build/snapshots/{folder.parent.name}_{path.stem}"' in path.read_text()
    assert (folder / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize("folder", RELEASES, ids=lambda path: path.parent.name)
def test_a_release_is_a_training_of_one_solver(folder):
    """Its net is one of prototxt/, with its own database and batch; its database has its options."""
    name = folder.parent.name
    net = read(folder / "train_val.prototxt", caffe_pb2.NetParameter())
    assert read(folder / "solver.prototxt", caffe_pb2.SolverParameter()).net == (
        f"models/{name}/training/train_val.prototxt"
    )
    for layer in net.layer:
        if layer.type == "HDF5Data":
            split = "val" if layer.include[0].phase == caffe_pb2.TEST else "train"
            assert layer.hdf5_data_param.source == f"build/release/{name}/database/{split}.txt"
            layer.hdf5_data_param.source = f"build/data/{split}.txt"
            layer.hdf5_data_param.batch_size = 16
    assert net == parts(net.name)[0]
    assert name.startswith(f"{net.name}-")
    if name in models.names():
        assert models.card(name)["net"] == net.name
    options = (folder / "database.txt").read_text()
    request = make_database.parse_arguments(options.split())
    assert request.spec.patch == 50 and request.spec.val_patches == 1600
    command = f"python data_prep/make_database.py {options.strip()} --out build/release/{name}/database"
    assert command in (folder / "solver.prototxt").read_text()


def test_adam_is_the_papers():
    solver = read(ROOT / "solver/adam.prototxt", caffe_pb2.SolverParameter())
    assert solver.type == "Adam" and solver.lr_policy == "fixed"
    got = [solver.base_lr, solver.momentum, solver.momentum2, solver.delta]
    assert got == pytest.approx([1e-5, 0.9, 0.999, 1e-8])


@pytest.mark.parametrize("seed", range(5))
def test_training_starts_whatever_the_seed(seed):
    """Every channel of the output is above zero everywhere at first, so its ReLU passes gradients."""
    train, _ = parts("2-1-2_f64_k5")
    shape = {"dim": [2, 4, 20, 20]}
    data = [layer for layer in train.layer if layer.type == "HDF5Data"]
    for layer in data:
        train.layer.remove(layer)
    source = caffe_pb2.LayerParameter(name="in", type="Input", top=["a", "b", "label"])
    source.input_param.shape.add(**shape)
    train.layer.insert(0, source)
    caffe.set_random_seed(seed)
    net = caffe.Net(train, caffe.TRAIN)
    for name in ("a", "b"):
        net.blobs[name].data[...] = 128
    net.forward()
    assert (net.blobs["fused"].data > 0.3).all() and (net.blobs["fused"].data < 0.7).all()
