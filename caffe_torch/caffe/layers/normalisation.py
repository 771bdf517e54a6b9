"""Normalisation over a batch, over neighbours, over classes or over pixels: BatchNorm, LRN, Softmax, MVN."""

import math

import torch
import torch.nn.functional as F

from ..proto import caffe_pb2
from . import Layer, at_least_float32, canonical_axis, register


@register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps), for each channel.

    With use_global_stats, the default in phase TEST, mean and variance are the stored ones. Else they are the
    batch's, which are added to the stored ones. The three blobs are the decayed sums of means and of unbiased
    variances, and the decayed count that divides both. They are not learned: their lr_mult is 0.
    Source: Ioffe and Szegedy 2015 (arXiv 1502.03167).
    """

    options = "batch_norm_param"
    supported = ("use_global_stats", "moving_average_fraction", "eps")
    in_place = True

    def setup(self):
        self.use_stored = self.phase == caffe_pb2.TEST
        if self.opt.HasField("use_global_stats"):
            self.use_stored = self.opt.use_global_stats
        if any(param.lr_mult for param in self.spec.param if param.HasField("lr_mult")):
            raise ValueError("param.lr_mult: the statistics are not learned, leave it out or 0")
        while len(self.spec.param) < 3:
            self.spec.param.add()
        for param in self.spec.param:
            param.lr_mult = 0

    def param_shapes(self, shape):
        if len(shape) < 2 or shape[1] < 1:
            raise ValueError(f"bottom of shape {shape}: 2 axes are needed, the second for channels")
        zero = caffe_pb2.FillerParameter()
        return [((shape[1],), zero), ((shape[1],), zero), ((1,), zero)]

    def top_shapes(self, shape):
        return [shape]

    def forward(self, params, x):
        means, variances, count = (param.detach() for param in params)
        x = at_least_float32(x)
        if self.use_stored:
            factor = torch.where(count == 0, 0, 1 / count)
            mean, variance = means * factor, variances * factor
        else:
            variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
            if not self.is_repeated:
                n, keep = x.numel() // x.shape[1], self.opt.moving_average_fraction
                with torch.no_grad():
                    count.mul_(keep).add_(1)
                    means.mul_(keep).add_(mean)
                    variances.mul_(keep).add_(variance, alpha=n / (n - 1) if n > 1 else 1)
        channels = (-1, *[1] * (x.dim() - 2))
        sigma = torch.sqrt(variance + self.opt.eps)
        return (x - mean.reshape(channels)) / sigma.reshape(channels)


@register("LRN")
class LRN(Layer):
    """x / (k + alpha m)^beta, m the mean of x^2 over local_size channels or over a square window.

    The mean counts zeros beyond the edges. Over a window k is always 1, as in Caffe.
    Source: Krizhevsky et al. 2012, section 3.3.
    """

    options = "lrn_param"
    supported = ("local_size", "alpha", "beta", "norm_region", "k")

    def setup(self):
        if self.opt.local_size % 2 == 0:
            raise ValueError(f"lrn_param.local_size {self.opt.local_size} is not odd")

    def top_shapes(self, shape):
        if len(shape) != 4:
            raise ValueError(f"bottom of shape {tuple(shape)}: 4 axes are needed")
        return [shape]

    def forward(self, params, x):
        self.top_shapes(x.shape)
        opt, size, radius = self.opt, self.opt.local_size, self.opt.local_size // 2
        x = at_least_float32(x)
        if opt.norm_region == caffe_pb2.LRNParameter.WITHIN_CHANNEL:
            mean, k = F.avg_pool2d(x * x, size, 1, radius), 1
        else:
            squares = F.pad(x * x, (0, 0, 0, 0, radius, radius))
            mean, k = sum(squares[:, i : i + x.shape[1]] for i in range(size)) / size, opt.k
        return x * (k + opt.alpha * mean) ** -opt.beta


@register("Softmax")
class Softmax(Layer):
    """e^x / sum of e^x, the sum along `axis`."""

    options, supported = "softmax_param", ("axis",)
    in_place = True

    def top_shapes(self, shape):
        canonical_axis(self.opt.axis, len(shape))
        return [shape]

    def forward(self, params, x):
        return torch.softmax(at_least_float32(x), canonical_axis(self.opt.axis, x.dim()))


@register("MVN")
class MVN(Layer):
    """(x - mean) / (sigma + eps), over the pixels of each channel, or with across_channels of each row.

    Without normalize_variance it is x - mean. The top has four axes, as in Caffe.
    """

    options, supported = "mvn_param", ("normalize_variance", "across_channels", "eps")

    def top_shapes(self, shape):
        if len(shape) > 4:
            raise ValueError(f"bottom of shape {tuple(shape)}: 4 axes at most are supported")
        return [(*shape, 1, 1, 1, 1)[:4]]

    def forward(self, params, x):
        [shape] = self.top_shapes(x.shape)
        x, axes = at_least_float32(x).reshape(shape), [1, 2, 3] if self.opt.across_channels else [2, 3]
        x = x - x.mean(axes, keepdim=True)
        if not self.opt.normalize_variance:
            return x
        count = math.prod(shape[axis] for axis in axes)
        # The norm's gradient is 0 where all pixels are equal; a square root's would be infinite.
        sigma = torch.linalg.vector_norm(x, dim=axes, keepdim=True) / math.sqrt(count)
        return x / (sigma + self.opt.eps)
