"""Elementwise layers: one bottom, one top of the same shape, often in place."""

import math

import torch
import torch.nn.functional as F

from ..proto import caffe_pb2
from . import Layer, register


class _Neuron(Layer):
    in_place = True

    def top_shapes(self, shape):
        return [shape]


@register("ReLU")
class ReLU(_Neuron):
    """max(0, x), with negative_slope: x where x > 0, else negative_slope x."""

    options, supported = "relu_param", ("negative_slope",)

    def forward(self, params, x):
        slope = self.opt.negative_slope
        if slope:
            return F.leaky_relu(x, slope)
        # Without gradients it works in place: allocating memory costs more than the comparison.
        return x.relu_() if self.overwrites and not torch.is_grad_enabled() else torch.relu(x)


@register("PReLU")
class PReLU(_Neuron):
    """x where x > 0, else a x, with a learned for each channel (or one for all)."""

    options, supported = "prelu_param", ("filler", "channel_shared")

    def param_shapes(self, shape):
        if len(shape) < 2:
            raise ValueError(f"bottom of shape {shape}: 2 axes are needed, the second for channels")
        filler = self.opt.filler
        if not self.opt.HasField("filler"):
            filler = caffe_pb2.FillerParameter(type="constant", value=0.25)
        return [(() if self.opt.channel_shared else (shape[1],), filler)]

    def forward(self, params, x):
        return F.prelu(x, params[0])


@register("ELU")
class ELU(_Neuron):
    """x where x > 0, else alpha (e^x - 1)."""

    options, supported = "elu_param", ("alpha",)

    def forward(self, params, x):
        return F.elu(x, self.opt.alpha)


@register("Sigmoid")
class Sigmoid(_Neuron):
    """1 / (1 + e^-x)."""

    options = "sigmoid_param"

    def forward(self, params, x):
        return torch.sigmoid(x)


@register("TanH")
class TanH(_Neuron):
    """Hyperbolic tangent."""

    options = "tanh_param"

    def forward(self, params, x):
        return torch.tanh(x)


@register("AbsVal")
class AbsVal(_Neuron):
    """|x|."""

    in_place = False

    def forward(self, params, x):
        return torch.abs(x)


@register("Power")
class Power(_Neuron):
    """(shift + scale x) ^ power."""

    options, supported = "power_param", ("power", "scale", "shift")

    def forward(self, params, x):
        y = x * self.opt.scale if self.opt.scale != 1 else x
        y = y + self.opt.shift if self.opt.shift else y
        if self.opt.power == 1:
            return y if y is not x else x.clone()
        return y**self.opt.power


class _WithBase(_Neuron):
    """The base of Exp and Log: the setting `base`, above 0, or -1 for e."""

    supported = ("base", "scale", "shift")

    def setup(self):
        if self.opt.base <= 0 and self.opt.base != -1:
            raise ValueError(f"{self.options}.base {self.opt.base:g}: a base is above 0; -1 stands for e")
        self.log_base = 1.0 if self.opt.base == -1 else math.log(self.opt.base)


@register("Exp")
class Exp(_WithBase):
    """base ^ (shift + scale x)."""

    options = "exp_param"

    def setup(self):
        super().setup()
        try:
            self.factor = math.exp(self.log_base * self.opt.shift)
        except OverflowError:
            raise ValueError(f"exp_param.shift {self.opt.shift:g}: base ^ shift is too large") from None

    def forward(self, params, x):
        return torch.exp(x * (self.log_base * self.opt.scale)) * self.factor


@register("Log")
class Log(_WithBase):
    """Logarithm of shift + scale x, to the base."""

    options = "log_param"

    def setup(self):
        super().setup()
        if self.log_base == 0:
            raise ValueError("log_param.base 1 has no logarithm")

    def forward(self, params, x):
        return torch.log(x * self.opt.scale + self.opt.shift) / self.log_base


@register("Dropout")
class Dropout(_Neuron):
    """In training, 0 with probability dropout_ratio, else x / (1 - dropout_ratio); in testing x."""

    options, supported = "dropout_param", ("dropout_ratio",)

    def setup(self):
        if not 0 <= self.opt.dropout_ratio < 1:
            raise ValueError(f"dropout_param.dropout_ratio {self.opt.dropout_ratio:g} is not in 0 .. 1")
        self._factors = None  # of the last forward pass

    def forward(self, params, x):
        if self.phase == caffe_pb2.TEST or self.opt.dropout_ratio == 0:
            return x.clone()
        if not self.is_repeated or self._factors is None or self._factors.shape != x.shape:
            self._factors = F.dropout(torch.ones_like(x), self.opt.dropout_ratio)
        return x * self._factors


@register("BNLL")
class BNLL(_Neuron):
    """log(1 + e^x), a smooth ReLU."""

    def forward(self, params, x):
        return F.softplus(x)


@register("Swish")
class Swish(_Neuron):
    """x / (1 + e^(-beta x)). Source: Ramachandran et al. 2017 (arXiv 1710.05941)."""

    options, supported = "swish_param", ("beta",)

    def forward(self, params, x):
        return x * torch.sigmoid(x * self.opt.beta)


@register("Clip")
class Clip(_Neuron):
    """x limited to min .. max; the gradient is 0 outside."""

    options, supported = "clip_param", ("min", "max")

    def setup(self):
        if not (self.opt.HasField("min") and self.opt.HasField("max")):
            raise ValueError("clip_param: give min and max")
        if self.opt.min > self.opt.max:
            raise ValueError(f"clip_param: min {self.opt.min:g} is above max {self.opt.max:g}")

    def forward(self, params, x):
        return x.clamp(self.opt.min, self.opt.max)


@register("Threshold")
class Threshold(_Neuron):
    """1 where x > threshold, else 0; no gradient."""

    options, supported = "threshold_param", ("threshold",)
    no_gradient = (0,)

    def forward(self, params, x):
        return (x > self.opt.threshold).to(x.dtype)
