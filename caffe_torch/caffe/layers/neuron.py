"""Element by element: one bottom, one top of the same shape, often in place."""

import torch
import torch.nn.functional as F

from . import Layer, register


@register("ReLU")
class ReLU(Layer):
    """max(0, x), with negative_slope: x where x > 0, else negative_slope x."""

    options, supported = "relu_param", ("negative_slope",)

    def forward(self, params, x):
        slope = self.opt.negative_slope
        return F.leaky_relu(x, slope) if slope else torch.relu(x)


@register("Power")
class Power(Layer):
    """(shift + scale x) ^ power."""

    options, supported = "power_param", ("power", "scale", "shift")

    def forward(self, params, x):
        y = x * self.opt.scale if self.opt.scale != 1 else x
        y = y + self.opt.shift if self.opt.shift else y
        if self.opt.power == 1:
            return y if y is not x else x.clone()
        return y**self.opt.power
