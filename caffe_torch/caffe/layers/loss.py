"""Losses, and measures that are only looked at: EuclideanLoss, cross entropies, Accuracy, ArgMax."""

import math

import torch
import torch.nn.functional as F

from ..proto import caffe_pb2
from . import Layer, at_least_float32, canonical_axis, register

_VALID = caffe_pb2.LossParameter.VALID
_BATCH_SIZE = caffe_pb2.LossParameter.BATCH_SIZE
_NONE = caffe_pb2.LossParameter.NONE


@register("EuclideanLoss")
class EuclideanLoss(Layer):
    """Half the sum of squared differences over the number of rows: sum (a - b)^2 / (2 N)."""

    bottom_count = (2, 2)
    is_loss = True

    def top_shapes(self, a, b):
        _check_alike(a, b)
        return [()]

    def forward(self, params, a, b):
        _check_alike(a.shape, b.shape)
        return F.mse_loss(at_least_float32(a), at_least_float32(b).reshape(a.shape), reduction="sum") / (
            2 * a.shape[0]
        )


def _check_alike(a, b):
    if a[:1] != b[:1] or math.prod(a) != math.prod(b):
        raise ValueError(f"bottoms differ in size: {tuple(a)} and {tuple(b)}")


def _classes(scores, labels, axis):
    """(outer, classes, inner) of a shape of scores with classes along `axis`, which the labels' must fit."""
    axis = canonical_axis(axis, len(scores))
    outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
    if math.prod(labels) != outer * inner:
        raise ValueError(
            f"scores of shape {tuple(scores)} with classes along axis {axis} need {outer * inner} "
            f"labels, not {math.prod(labels)}"
        )
    return outer, scores[axis], inner


def by_class(scores: torch.Tensor, labels: torch.Tensor, axis: int) -> tuple:
    """Scores as (outer, classes, inner), classes along `axis`, and labels as integers (outer, inner)."""
    outer, _, inner = _classes(scores.shape, labels.shape, axis)
    return at_least_float32(scores).reshape(outer, -1, inner), labels.reshape(outer, inner).long()


def at_labels(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What `values` (outer, classes, inner) has at `labels` (outer, inner).

    A label that is no class is an error on a CPU. A GPU cannot report it, so it gives NaN.
    """
    if values.is_cuda:
        known = (labels >= 0) & (labels < values.shape[1])
        found = values.gather(1, torch.where(known, labels, 0)[:, None]).squeeze(1)
        return torch.where(known, found, math.nan)
    try:
        return values.gather(1, labels[:, None]).squeeze(1)
    except RuntimeError:
        classes = values.shape[1]
        wrong = labels[(labels < 0) | (labels >= classes)]
        raise ValueError(f"the label {wrong[0]} is none of {classes} classes, 0 to {classes - 1}") from None


class _CrossEntropy(Layer):
    """What the cross entropies share: LossParameter, which labels to leave out and what to divide by."""

    bottom_count = (2, 2)
    is_loss = True
    no_gradient = (1,)
    options, supported = "loss_param", ("ignore_label", "normalize", "normalization")
    default_mode = _VALID

    def setup(self):
        self.mode = self.default_mode
        if self.opt.HasField("normalization"):
            self.mode = self.opt.normalization
        elif self.opt.HasField("normalize"):  # how it was said before there was `normalization`
            self.mode = _VALID if self.opt.normalize else _BATCH_SIZE

    def kept(self, labels):
        """Which labels count."""
        if not self.opt.HasField("ignore_label"):
            return torch.ones_like(labels, dtype=torch.bool)
        return labels.long() != self.opt.ignore_label

    def divisor(self, kept, rows):
        if self.mode == _VALID:
            return kept.sum().clamp(min=1)
        return {_BATCH_SIZE: max(rows, 1), _NONE: 1}.get(self.mode, kept.numel())


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(_CrossEntropy):
    """-log of the softmax along softmax_param.axis at the label; a second top is the softmax.

    The sum over all labels but ignore_label is divided by the number of them (normalization VALID),
    of all (FULL), of rows (BATCH_SIZE) or by 1 (NONE). A probability below the smallest
    normal float counts as that, so one label costs at most 87.3, as in Caffe.
    """

    top_count = (1, 2)

    def top_shapes(self, scores, labels):
        rows, labelled = ((shape[:1] or ("no",))[0] for shape in (scores, labels))
        if rows != labelled:
            raise ValueError(f"{rows} rows of scores and {labelled} of labels")
        _classes(scores, labels, self.spec.softmax_param.axis)
        return [(), scores][: len(self.spec.top)]

    def forward(self, params, scores, labels):
        self.top_shapes(scores.shape, labels.shape)
        logits, classes = by_class(scores, labels, self.spec.softmax_param.axis)
        kept = self.kept(classes)
        places = torch.where(kept, classes, 0)
        logs = at_labels(torch.log_softmax(logits, 1), places)
        least = math.log(torch.finfo(torch.float32).tiny)
        logs = logs + (logs.clamp(min=least) - logs).detach()  # the gradient goes past the bound
        loss = -(logs * kept).sum() / self.divisor(kept, classes.shape[0])
        if len(self.spec.top) == 1:
            return loss
        return loss, torch.softmax(logits.detach(), 1).reshape(scores.shape)


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(_CrossEntropy):
    """-(t log s + (1 - t) log(1 - s)), s the sigmoid of the first bottom and t the second, 0..1.

    Summed over all but ignore_label; divided by the rows unless loss_param says otherwise.
    """

    default_mode = _BATCH_SIZE

    def top_shapes(self, scores, targets):
        _check_alike(scores, targets)
        return [()]

    def forward(self, params, scores, targets):
        _check_alike(scores.shape, targets.shape)
        scores, targets = at_least_float32(scores), at_least_float32(targets).reshape(scores.shape)
        kept = self.kept(targets)
        losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return (losses * kept).sum() / self.divisor(kept, scores.shape[0])


@register("Accuracy")
class Accuracy(Layer):
    """The share of labels among the top_k scores along `axis`; a second top has it for each class.

    A class that scores as much as the labelled one counts as better, as in Caffe.
    """

    options, supported = "accuracy_param", ("top_k", "axis", "ignore_label")
    bottom_count, top_count = (2, 2), (1, 2)
    no_gradient = (0, 1)

    def top_shapes(self, scores, labels):
        _, classes, _ = _classes(scores, labels, self.opt.axis)
        if self.opt.top_k > classes:
            raise ValueError(f"accuracy_param.top_k {self.opt.top_k} is more than {classes} classes")
        return [(), (classes,)][: len(self.spec.top)]

    def forward(self, params, scores, labels):
        self.top_shapes(scores.shape, labels.shape)
        scores, labels = by_class(scores, labels, self.opt.axis)
        kept = torch.ones_like(labels, dtype=torch.bool)
        if self.opt.HasField("ignore_label"):
            kept = labels != self.opt.ignore_label
        labels = torch.where(kept, labels, 0)
        of_label = at_labels(scores, labels)
        right = kept & ((scores >= of_label[:, None]).sum(1) <= self.opt.top_k)
        overall = right.sum() / kept.sum().clamp(min=1)
        overall = torch.where(of_label.isnan().any(), math.nan, overall)
        if len(self.spec.top) == 1:
            return overall
        classes = torch.arange(scores.shape[1], device=labels.device)[:, None, None]
        of_class = kept & (labels == classes)
        each = (right & of_class).sum((1, 2)) / of_class.sum((1, 2)).clamp(min=1)
        return overall, each


@register("ArgMax")
class ArgMax(Layer):
    """The places of the top_k largest values along `axis` or, without an axis, of each row.

    With out_max_val the values: instead of the places along an axis, beside them (N x 2 x top_k)
    without one. Of equal values the last comes first, as in Caffe.
    """

    options, supported = "argmax_param", ("out_max_val", "top_k", "axis")
    no_gradient = (0,)

    def top_shapes(self, shape):
        axis, top_k = self._axis(len(shape)), self.opt.top_k
        size = math.prod(shape[1:]) if axis is None else shape[axis]
        if not 1 <= top_k <= size:
            raise ValueError(f"argmax_param.top_k {top_k} is not in 1 .. {size}")
        if axis is None:
            return [(shape[0], 2 if self.opt.out_max_val else 1, top_k, *[1] * (len(shape) - 3))]
        return [(*shape[:axis], top_k, *shape[axis + 1 :])]

    def _axis(self, dims):
        return canonical_axis(self.opt.axis, dims) if self.opt.HasField("axis") else None

    def forward(self, params, x):
        (shape,) = self.top_shapes(x.shape)
        axis, top_k = self._axis(x.dim()), self.opt.top_k
        along = axis is not None
        rows, axis = (x, axis) if along else (x.flatten(1), 1)
        size = rows.shape[axis]
        values, places = torch.sort(rows.flip(axis), dim=axis, descending=True, stable=True)
        values = values.narrow(axis, 0, top_k)
        places = (size - 1 - places).narrow(axis, 0, top_k).to(x.dtype)
        if along:
            return values if self.opt.out_max_val else places
        return torch.stack([places, values] if self.opt.out_max_val else [places], 1).reshape(shape)
