"""Pooling over windows: Pooling, SPP."""

import math

import torch
import torch.nn.functional as F

from ..proto import caffe_pb2
from . import Layer, register

_AVE, _STOCHASTIC = caffe_pb2.PoolingParameter.AVE, caffe_pb2.PoolingParameter.STOCHASTIC


@register("Pooling")
class Pooling(Layer):
    """The maximum or mean of each window, by Caffe's rules for the edges.

    The number of windows is rounded up, so the last may extend beyond the edge. With padding along either
    axis, a window that starts beyond the edge is left out. The mean includes the padding, but nothing beyond
    it.
    The second top of MAX is the index of each maximum in its plane, in row-major order.
    """

    options = "pooling_param"
    supported = (
        *("pool", "kernel_size", "stride", "pad", "kernel_h", "kernel_w", "stride_h", "stride_w"),
        *("pad_h", "pad_w", "global_pooling", "round_mode"),
    )
    top_count = (1, 2)

    def setup(self):
        opt = self.opt
        if opt.pool == _STOCHASTIC:
            raise ValueError("pooling_param.pool: STOCHASTIC is not supported, use MAX or AVE")
        if opt.pool == _AVE and len(self.spec.top) > 1:
            raise ValueError("pooling_param.pool: AVE has one top")
        self.stride, self.pad = self._pair("stride", "stride"), self._pair("pad", "pad")
        if opt.global_pooling:
            if any(opt.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
                raise ValueError("pooling_param: give no kernel with global_pooling")
            if self.stride != (1, 1) or self.pad != (0, 0):
                raise ValueError("pooling_param: global_pooling needs stride 1 and pad 0")
            return
        self.kernel = self._pair("kernel_size", "kernel", required=True)
        if min(self.kernel) < 1 or min(self.stride) < 1:
            raise ValueError("pooling_param: kernel sizes and strides must be at least 1")
        if any(p >= k for p, k in zip(self.pad, self.kernel, strict=True)):
            raise ValueError(f"pooling_param: pad {self.pad} must be less than the kernel {self.kernel}")

    def _pair(self, name, stem, required=False):
        """(height, width) from `name`, or from `stem`_h and `stem`_w."""
        opt, split_fields = self.opt, [f"{stem}_h", f"{stem}_w"]
        single, split = opt.HasField(name), [opt.HasField(field) for field in split_fields]
        if (any(split) and (single or not all(split))) or (required and not single and not any(split)):
            raise ValueError(f"pooling_param: give {name}, or both {' and '.join(split_fields)}")
        if all(split):
            return tuple(getattr(opt, field) for field in split_fields)
        return (getattr(opt, name),) * 2

    def _windows(self, size, kernel, stride, pad):
        """The number of windows along an axis."""
        range_ = size + 2 * pad - kernel  # of the windows' starts
        floor = self.opt.round_mode == caffe_pb2.PoolingParameter.FLOOR
        count = (range_ // stride if floor else -(-range_ // stride)) + 1
        if any(self.pad) and (count - 1) * stride >= size + pad:  # padding along either axis counts for both
            count -= 1
        if count < 1:
            raise ValueError(f"a window of {kernel} does not fit {size} values with pad {pad}")
        return count

    def _axes(self, shape):
        """The kernel, and the number of windows along both axes."""
        if len(shape) != 4:
            raise ValueError(f"bottom of shape {tuple(shape)}: 4 axes are needed")
        kernel = tuple(shape[2:]) if self.opt.global_pooling else self.kernel
        axes = zip(shape[2:], kernel, self.stride, self.pad, strict=True)
        return kernel, [self._windows(*axis) for axis in axes]

    def _covered(self, x, i, kernel, count):
        """The number of values that the mean of each window counts, along spatial axis i of x."""
        starts = torch.arange(count, device=x.device) * self.stride[i] - self.pad[i]
        return ((starts + kernel).clamp(max=x.shape[2 + i] + self.pad[i]) - starts).to(x.dtype)

    def top_shapes(self, shape):
        return [(*shape[:2], *self._axes(shape)[1])] * len(self.spec.top)

    def forward(self, params, x):
        kernel, counts = self._axes(x.shape)
        padding = []  # up to the end of the last window, beyond PyTorch's own padding
        for i in (1, 0):
            end = (counts[i] - 1) * self.stride[i] + kernel[i]
            padding += [self.pad[i], end - self.pad[i] - x.shape[2 + i]]
        if self.opt.pool == _AVE:
            sums = F.avg_pool2d(F.pad(x, padding), kernel, self.stride, divisor_override=1)
            rows, columns = (self._covered(x, i, kernel[i], counts[i]) for i in (0, 1))
            return sums / (rows[:, None] * columns)
        padded = F.pad(x, padding, value=torch.finfo(x.dtype).min) if any(padding) else x
        if len(self.spec.top) == 1:
            return F.max_pool2d(padded, kernel, self.stride)
        top, index = F.max_pool2d(padded, kernel, self.stride, return_indices=True)
        row, column = index // padded.shape[3] - self.pad[0], index % padded.shape[3] - self.pad[1]
        return top, (row * x.shape[3] + column).to(x.dtype)


@register("SPP")
class SPP(Layer):
    """Spatial pyramid pooling: 1, 4, 16, ... windows over a plane of any size, concatenated.

    The top is N x (C times the number of windows); with pyramid_height 1 it is N x C x 1 x 1, as in Caffe.
    Source: He et al. 2014 (arXiv 1406.4729).
    """

    options, supported = "spp_param", ("pyramid_height", "pool")

    def setup(self):
        if self.opt.pyramid_height < 1:
            raise ValueError("spp_param.pyramid_height must be given, 1 or more")
        if self.opt.pool == caffe_pb2.SPPParameter.STOCHASTIC:
            raise ValueError("spp_param.pool: STOCHASTIC is not supported, use MAX or AVE")

    def _levels(self, shape):
        """A Pooling layer for each level of the pyramid over planes of this shape."""
        if len(shape) != 4:
            raise ValueError(f"bottom of shape {tuple(shape)}: 4 axes are needed")
        return [self._level(2**i, *shape[2:]) for i in range(self.opt.pyramid_height)]

    def _level(self, count, height, width):
        spec = caffe_pb2.LayerParameter(name=self.spec.name, type="Pooling", top=["level"])
        spec.pooling_param.pool = self.opt.pool
        for axis, size in (("h", height), ("w", width)):
            kernel = -(-size // count)
            pad = (kernel * count - size + 1) // 2
            if pad >= kernel:
                raise ValueError(f"spp_param.pyramid_height: {size} pixels cannot have {count} windows")
            for name, value in (("kernel", kernel), ("stride", kernel), ("pad", pad)):
                setattr(spec.pooling_param, f"{name}_{axis}", value)
        return Pooling(spec, self.phase)

    def top_shapes(self, shape):
        tops = [level.top_shapes(shape)[0] for level in self._levels(shape)]
        return tops if len(tops) == 1 else [(shape[0], sum(math.prod(top[1:]) for top in tops))]

    def forward(self, params, x):
        tops = [level.forward([], x) for level in self._levels(x.shape)]
        return tops[0] if len(tops) == 1 else torch.cat([top.flatten(1) for top in tops], 1)
