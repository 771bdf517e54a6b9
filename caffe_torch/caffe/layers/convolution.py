"""Convolution, Deconvolution and InnerProduct, the layers with weights, and Im2col."""

import math

import torch
import torch.nn.functional as F

from .. import device
from ..proto import caffe_pb2
from . import Layer, canonical_axis, register


def read_geometry(opt: caffe_pb2.ConvolutionParameter, dims: int) -> tuple:
    """Read the geometry of a convolution.

    Args:
        opt: the settings.
        dims: the number of spatial axes.

    Returns:
        kernel, stride, pad, dilation: each a tuple of ints over the spatial axes.

    Raises:
        ValueError: the settings contradict each other or do not fit `dims`.
    """

    def sizes(name, default, stem):
        split_fields = [f"{stem}_h", f"{stem}_w"]
        values = list(getattr(opt, name))
        if any(hasattr(opt, field) and opt.HasField(field) for field in split_fields):
            single = name == "pad"  # a missing pad is 0; a kernel or stride of 0 does not exist
            if values or dims != 2 or not (single or all(opt.HasField(field) for field in split_fields)):
                raise ValueError(
                    f"convolution_param: give {name}, or both {' and '.join(split_fields)} (2-D only)"
                )
            return tuple(getattr(opt, field) for field in split_fields)
        if not values and default is not None:
            return (default,) * dims
        if len(values) not in (1, dims):
            raise ValueError(f"convolution_param.{name}: give 1 or {dims} values, not {len(values)}")
        return tuple(values) if len(values) == dims else tuple(values) * dims

    kernel, stride = sizes("kernel_size", None, "kernel"), sizes("stride", 1, "stride")
    if min(kernel) < 1 or min(stride) < 1:
        raise ValueError("convolution_param: kernel sizes and strides must be at least 1")
    return kernel, stride, sizes("pad", 0, "pad"), sizes("dilation", 1, "dilation")


class _Filters(Layer):
    """The base of Convolution and Deconvolution: ConvolutionParameter, in 1, 2 or 3 dimensions."""

    options = "convolution_param"
    supported = (
        *("num_output", "bias_term", "pad", "kernel_size", "group", "stride", "dilation"),
        *("kernel_h", "kernel_w", "pad_h", "pad_w", "stride_h", "stride_w"),
        *("weight_filler", "bias_filler", "axis", "force_nd_im2col"),
    )
    bottom_count = (1, None)
    top_count = (1, None)

    def setup(self):
        if self.opt.axis != 1:
            raise ValueError(f"convolution_param.axis {self.opt.axis} is not supported: use 1")
        if self.opt.num_output < 1:
            raise ValueError("convolution_param.num_output must be given, 1 or more")
        if len(self.spec.bottom) != len(self.spec.top):
            raise ValueError("needs as many tops as bottoms")

    def param_shapes(self, *shapes):
        if any(shape[:2] != shapes[0][:2] for shape in shapes):
            raise ValueError("all bottoms must have the same number of channels")
        dims = len(shapes[0]) - 2
        if dims not in (1, 2, 3):
            raise ValueError(f"bottom of shape {shapes[0]}: 1, 2 or 3 spatial axes are supported")
        self.kernel, self.stride, self.pad, self.dilation = read_geometry(self.opt, dims)
        group, channels, outputs = self.opt.group, shapes[0][1], self.opt.num_output
        self.channels = channels
        if group < 1 or channels % group or outputs % group:
            raise ValueError(f"group {group} must divide the {channels} channels in and the {outputs} out")
        params = [(self.filter_shape(channels), self.opt.weight_filler)]
        if self.opt.bias_term:
            params.append(((outputs,), self.opt.bias_filler))
        return params

    def top_shapes(self, *shapes):
        return [self._top_shape(shape) for shape in shapes]

    def _top_shape(self, shape):
        if len(shape) != 2 + len(self.kernel) or shape[1] != self.channels:
            raise ValueError(f"does not fit bottoms of shape {tuple(shape)}: {self.channels} channels needed")
        geometry = zip(shape[2:], self.kernel, self.stride, self.pad, self.dilation, strict=True)
        sizes = [self.size(n, d * (k - 1) + 1, stride, pad) for n, k, stride, pad, d in geometry]
        if min(sizes) < 1:
            raise ValueError(f"does not fit bottoms of shape {tuple(shape)}: the top would be empty")
        return (shape[0], self.opt.num_output, *sizes)

    def filter_shape(self, channels):
        """The shape of the filters for bottoms of a number of channels."""
        raise NotImplementedError

    def size(self, n, extent, stride, pad):
        """The size of the top along an axis of n values. `extent`: of the dilated filter along it."""
        raise NotImplementedError

    def convolve(self, x, weight, bias):
        """Compute the top of one bottom."""
        raise NotImplementedError

    def forward(self, params, *bottoms):
        weight, bias = params[0], params[1] if len(params) > 1 else None
        return tuple(self.convolve(device.images(x), weight, bias) for x in bottoms)


@register("Convolution")
class Convolution(_Filters):
    """Cross-correlation with learned filters, plus a bias."""

    def filter_shape(self, channels):
        return (self.opt.num_output, channels // self.opt.group, *self.kernel)

    def size(self, n, extent, stride, pad):
        return _places(n + 2 * pad - extent, stride)

    def convolve(self, x, weight, bias):
        x = _fit(x, self.kernel, self.pad, self.dilation)
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
        return conv(x, weight, bias, self.stride, self.pad, self.dilation, self.opt.group)


@register("Deconvolution")
class Deconvolution(_Filters):
    """The transpose of a Convolution: its forward pass is a Convolution's backward pass."""

    def filter_shape(self, channels):
        return (channels, self.opt.num_output // self.opt.group, *self.kernel)

    def size(self, n, extent, stride, pad):
        return (n - 1) * stride + extent - 2 * pad

    def convolve(self, x, weight, bias):
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(self.kernel) - 1]
        return conv(x, weight, bias, self.stride, self.pad, 0, self.opt.group, self.dilation)


@register("InnerProduct")
class InnerProduct(Layer):
    """y = W x + b, x being all axes from `axis` on."""

    options = "inner_product_param"
    supported = ("num_output", "bias_term", "weight_filler", "bias_filler", "axis", "transpose")

    def setup(self):
        if self.opt.num_output < 1:
            raise ValueError("inner_product_param.num_output must be given, 1 or more")

    def param_shapes(self, shape):
        self.axis = canonical_axis(self.opt.axis, len(shape))
        self.inputs, outputs = math.prod(shape[self.axis :]), self.opt.num_output
        weight = (self.inputs, outputs) if self.opt.transpose else (outputs, self.inputs)
        params = [(weight, self.opt.weight_filler)]
        return [*params, ((outputs,), self.opt.bias_filler)] if self.opt.bias_term else params

    def top_shapes(self, shape):
        if math.prod(shape[self.axis :]) != self.inputs:
            raise ValueError(
                f"a bottom of shape {tuple(shape)} has not {self.inputs} values from axis {self.axis} on"
            )
        return [(*shape[: self.axis], self.opt.num_output)]

    def forward(self, params, x):
        self.top_shapes(x.shape)
        weight = params[0].t() if self.opt.transpose else params[0]
        # In C order as in Caffe, whatever the memory order of the tensor.
        rows = torch.flatten(x, self.axis)
        return F.linear(rows, weight, params[1] if len(params) > 1 else None)


@register("Im2col")
class Im2col(Layer):
    """The values under a Convolution's filter at each place, as channels: N x (C times kernel) x places."""

    options = "convolution_param"
    supported = (
        *("pad", "kernel_size", "stride", "dilation", "axis", "force_nd_im2col"),
        *("kernel_h", "kernel_w", "pad_h", "pad_w", "stride_h", "stride_w"),
        *("num_output", "bias_term", "group", "weight_filler", "bias_filler"),  # no effect, as in Caffe
    )

    def setup(self):
        if self.opt.axis != 1:
            raise ValueError(f"convolution_param.axis {self.opt.axis} is not supported: use 1")

    def _windows(self, shape):
        """(size, kernel, stride, pad, dilation, places) of each spatial axis."""
        if len(shape) < 3:
            raise ValueError(f"bottom of shape {tuple(shape)}: a spatial axis is needed")
        geometry = zip(shape[2:], *read_geometry(self.opt, len(shape) - 2), strict=True)
        windows = [
            (n, k, stride, pad, d, _places(n + 2 * pad - d * (k - 1) - 1, stride))
            for n, k, stride, pad, d in geometry
        ]
        if any(places < 1 for *_, places in windows):
            raise ValueError(f"does not fit bottoms of shape {tuple(shape)}: the top would be empty")
        return windows

    def top_shapes(self, shape):
        windows = self._windows(shape)
        kernel = math.prod(kernel for _, kernel, *_ in windows)
        return [(shape[0], shape[1] * kernel, *(places for *_, places in windows))]

    def forward(self, params, x):
        windows = self._windows(x.shape)
        [shape] = self.top_shapes(x.shape)
        _, kernel, _, pad, dilation, _ = zip(*windows, strict=True)
        x = _fit(x, kernel, pad, dilation)
        x = F.pad(x, [pad for *_, pad, _, _ in reversed(windows) for _ in range(2)])
        for i, (_, kernel, stride, _, dilation, _) in enumerate(windows):
            x = x.unfold(2 + i, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        axes = range(2, 2 + len(windows))
        return x.permute(0, 1, *(i + len(windows) for i in axes), *axes).reshape(shape)


def _places(room, stride):
    """The number of places of a filter that can move by `room` pixels.

    Caffe divides as C does, towards zero: a filter that is too large by less than a stride has one place.
    """
    return (room // stride if room >= 0 else -(-room // stride)) + 1


def missing_zeros(sizes: tuple, kernel: tuple, pad: tuple, dilation: tuple) -> list:
    """How many zeros a filter needs beyond those of `pad`, along each spatial axis.

    Args:
        sizes: of the bottom.
        kernel, pad, dilation: as `read_geometry` returns them.

    Returns:
        0 where the filter fits.
    """
    axes = zip(sizes, kernel, pad, dilation, strict=True)
    return [max(0, d * (k - 1) + 1 - n - 2 * p) for n, k, p, d in axes]


def _fit(x, kernel, pad, dilation):
    """x with zeros after it, along axes that are too short for the filter."""
    missing = missing_zeros(x.shape[2:], kernel, pad, dilation)
    return F.pad(x, [zeros for m in reversed(missing) for zeros in (0, m)]) if any(missing) else x
