"""Every differentiable layer by itself: gradients against finite differences in float64, and bfloat16."""

import pytest
import torch
from caffe import layers
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.golden import layers as golden
from tests.golden import more_layers as more

NOT_DIFFERENTIABLE = {"Accuracy", "ArgMax", "Silence", "Threshold"}
# Cases that sit on the bends of a function, whose tops are partly NaN (as Caffe's are) or are places.
LEFT_OUT = ("ties", "zeros", "gap", "mask")


def single_layers():
    """pytest parameters (shapes of the bottoms by name, LayerParameter) of the golden cases of one layer."""
    cases = []
    for case, text in {**golden.CASES, **more.CASES}.items():
        net = text_format.Parse(text, caffe_pb2.NetParameter())
        inputs = [spec for spec in net.layer if spec.type == "Input"]
        specs = [spec for spec in net.layer if spec.type != "Input"]
        if len(specs) == 1 and specs[0].type not in NOT_DIFFERENTIABLE and not case.endswith(LEFT_OUT):
            shapes = {spec.top[0]: tuple(spec.input_param.shape[0].dim) for spec in inputs}
            specs[0].phase = net.state.phase
            cases.append(pytest.param(shapes, specs[0], id=case))
    return cases


CASES = single_layers()


def test_every_differentiable_layer_is_checked():
    sources = {
        "Input",
        "HDF5Data",
        "HDF5Output",
        "DummyData",
        "Data",
        "ImageData",
        "MemoryData",
        "WindowData",
    }
    checked = {param.values[1].type for param in CASES}
    no_gradient_of_ours = {"Parameter", "Python"}  # a parameter itself; a program writes its own
    assert checked == set(layers.type_list()) - sources - NOT_DIFFERENTIABLE - no_gradient_of_ours


@pytest.mark.parametrize(("shapes", "spec"), CASES)
def test_gradient(shapes, spec):
    layer = layers.create(spec, spec.phase)
    generator = torch.Generator().manual_seed(1)

    def draw(name, shape):
        if name.startswith("label"):
            return torch.randint(0, 3, shape, generator=generator).double()
        values = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
        if name.startswith("positive"):
            return values
        return torch.where(torch.rand(shape, generator=generator) < 0.5, values, -values)

    statistics = layer.type == "BatchNorm"  # its blobs are no parameters, and forward changes them
    learned = [
        draw("positive" if statistics else "", shape) for shape, _ in layer.param_shapes(*shapes.values())
    ]
    inputs = {name: draw(name, shape) for name, shape in shapes.items()}
    scores = [name for name in inputs if not name.startswith("label")]
    variables = [inputs[name] for name in scores] + ([] if statistics else learned)

    def run(*values):
        bottoms = {**inputs, **dict(zip(scores, values, strict=False))}
        params = [blob.clone() for blob in learned] if statistics else values[len(scores) :]
        return layer.forward(list(params), *bottoms.values())

    assert torch.autograd.gradcheck(run, [v.requires_grad_() for v in variables], atol=1e-6)


@pytest.mark.parametrize(("shapes", "spec"), CASES)
def test_bfloat16_bottoms(shapes, spec):
    """With -precision bfloat16 a layer may find any mixture of float32 and bfloat16 below it."""
    layer = layers.create(spec, spec.phase)
    generator = torch.Generator().manual_seed(2)
    params = [
        torch.rand(shape, generator=generator) + 0.5 for shape, _ in layer.param_shapes(*shapes.values())
    ]
    exact = [
        torch.randint(0, 3, shape, generator=generator).float()
        if name.startswith("label")
        else torch.rand(shape, generator=generator).add(0.1).bfloat16()
        for name, shape in shapes.items()
    ]
    expected = layer.forward([p.clone() for p in params], *[x.float() for x in exact])
    with torch.autocast("cpu", torch.bfloat16):
        actual = layer.forward([p.clone() for p in params], *exact)
    pairs = zip(expected, actual, strict=True) if isinstance(actual, tuple) else [(expected, actual)]
    for a, b in pairs:  # bfloat16 has 8 bits
        assert (a - b.float()).abs().max() <= 0.02 * a.abs().max()
