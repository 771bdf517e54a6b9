"""The fillers that initialise parameters (FillerParameter.type)."""

import math

import torch

from . import device
from .proto import caffe_pb2

_FAN_IN, _FAN_OUT = caffe_pb2.FillerParameter.FAN_IN, caffe_pb2.FillerParameter.FAN_OUT


def _fan(spec, shape):
    """The fan that variance_norm selects, as Caffe counts it: fan in is the blob's size over its first axis.

    For a Deconvolution, whose blob is (C_in, C_out / group, kh, kw), fan in is C_out k^2 / group and fan out
    C_in k^2.
    """
    count, (outer, inner) = math.prod(shape), (*shape[:2], 1, 1)[:2]
    fan_in, fan_out = count / outer, count / inner
    if spec.variance_norm == _FAN_IN:
        return fan_in
    return fan_out if spec.variance_norm == _FAN_OUT else (fan_in + fan_out) / 2


def _constant(spec, shape):
    return torch.full(shape, spec.value)


def _uniform(spec, shape):
    if not spec.min <= spec.max:
        raise ValueError(
            f"a uniform filler from min {spec.min:g} to max {spec.max:g}: min must be at most max"
        )
    return torch.empty(shape).uniform_(spec.min, spec.max)


def _gaussian(spec, shape):
    if not spec.std >= 0:
        raise ValueError(f"a gaussian filler of std {spec.std:g}: give 0 or more")
    values = torch.empty(shape).normal_(spec.mean, spec.std)
    if spec.sparse >= 0:  # the expected number of nonzero inputs of each output
        keep = spec.sparse / shape[0]
        values *= torch.rand(shape) < keep
    return values


def _positive_unitball(spec, shape):
    values = torch.rand(shape)
    return values / values.reshape(shape[0], -1).sum(1).reshape(-1, *[1] * (len(shape) - 1))


def _xavier(spec, shape):
    bound = math.sqrt(3 / _fan(spec, shape))
    return torch.empty(shape).uniform_(-bound, bound)


def _msra(spec, shape):
    return torch.empty(shape).normal_(0, math.sqrt(2 / _fan(spec, shape)))


def _bilinear(spec, shape):
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"a bilinear filler needs square filters, not the shape {tuple(shape)}")
    factor = math.ceil(shape[3] / 2)
    centre = (shape[3] - 1) / (2 * factor)
    ramp = 1 - (torch.arange(shape[3]) / factor - centre).abs()
    return (ramp[:, None] * ramp).expand(shape).clone()


_FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}


def fill(spec: caffe_pb2.FillerParameter, shape: tuple) -> torch.Tensor:
    """Make the initial values of a parameter, on the CPU: a seed then gives the same weights on every device.

    Args:
        spec: the filler.
        shape: of the parameter.

    Returns:
        A float32 CPU tensor.

    Raises:
        ValueError: the filler is unknown, its settings are wrong, or it cannot fill the shape.

    Sources: xavier, Glorot and Bengio 2010; msra, He et al. 2015 (doi:10.1109/ICCV.2015.123).
    """
    if spec.type not in _FILLERS:
        raise ValueError(f"unknown filler {spec.type!r}: use one of {', '.join(_FILLERS)}")
    if spec.sparse != -1 and spec.type != "gaussian":
        raise ValueError(f"a {spec.type} filler cannot be sparse, only a gaussian one")
    try:
        return _FILLERS[spec.type](spec, tuple(shape))
    except (RuntimeError, IndexError, ZeroDivisionError) as error:
        if device.out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"a {spec.type} filler cannot fill the shape {tuple(shape)}: {reason}") from None
