"""EuclideanLoss, cross-entropy losses, and measures without a gradient: Accuracy, ArgMax."""

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
        _check_sizes(a, b)
        return [()]

    def forward(self, params, a, b):
        _check_sizes(a.shape, b.shape)
        return F.mse_loss(at_least_float32(a), at_least_float32(b).reshape(a.shape), reduction="sum") / (
            2 * a.shape[0]
        )


def _check_sizes(a, b):
    if a[:1] != b[:1] or math.prod(a) != math.prod(b):
        raise ValueError(f"bottoms differ in size: {tuple(a)} and {tuple(b)}")


def _classes(scores, labels, axis):
    """(outer, classes, inner): the scores' shape before, along and after `axis`; the labels must fit it."""
    axis = canonical_axis(axis, len(scores))
    outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
    if math.prod(labels) != outer * inner:
        raise ValueError(
            f"scores of shape {tuple(scores)} with classes along axis {axis} need {outer * inner} "
            f"labels, not {math.prod(labels)}"
        )
    return outer, scores[axis], inner


def by_class(scores: torch.Tensor, labels: torch.Tensor, axis: int) -> tuple:
    """Bring scores and labels to a common form.

    Args:
        scores: with classes along `axis`.
        labels: class indices, in any dtype.
        axis: of the classes.

    Returns:
        The scores as (outer, classes, inner), float32 or more; the labels as (outer, inner), int64.

    Raises:
        ValueError: the labels do not fit the scores.
    """
    outer, _, inner = _classes(scores.shape, labels.shape, axis)
    return at_least_float32(scores).reshape(outer, -1, inner), labels.reshape(outer, inner).long()


def at_labels(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Select the value of the labelled class.

    On a GPU a label outside the classes gives NaN: checking it would wait for the GPU.

    Args:
        values: (outer, classes, inner).
        labels: (outer, inner), int64.

    Returns:
        (outer, inner).

    Raises:
        ValueError: on a CPU, a label is outside the classes.
    """
    if values.is_cuda:
        valid = (labels >= 0) & (labels < values.shape[1])
        selected = values.gather(1, torch.where(valid, labels, 0)[:, None]).squeeze(1)
        return torch.where(valid, selected, math.nan)
    try:
        return values.gather(1, labels[:, None]).squeeze(1)
    except RuntimeError:
        classes = values.shape[1]
        invalid = labels[(labels < 0) | (labels >= classes)]
        raise ValueError(
            f"the label {invalid[0]} is not one of {classes} classes, 0 to {classes - 1}"
        ) from None


class _CrossEntropy(Layer):
    """The base of the cross-entropy losses: LossParameter, the ignored label and the normalisation."""

    bottom_count = (2, 2)
    is_loss = True
    no_gradient: tuple[int, ...] = (1,)
    options = "loss_param"
    supported: tuple[str, ...] = ("ignore_label", "normalize", "normalization")
    default_mode = _VALID

    def setup(self):
        self.mode = self.default_mode
        if self.opt.HasField("normalization"):
            self.mode = self.opt.normalization
        elif self.opt.HasField("normalize"):  # the older form of `normalization`
            self.mode = _VALID if self.opt.normalize else _BATCH_SIZE

    def kept(self, labels):
        """A mask of the labels that are not ignored."""
        if not self.opt.HasField("ignore_label"):
            return torch.ones_like(labels, dtype=torch.bool)
        return labels.long() != self.opt.ignore_label

    def divisor(self, kept, rows):
        """The number that the sum of the losses is divided by."""
        if self.mode == _VALID and self.opt.HasField("ignore_label"):
            return kept.sum().clamp(min=1)
        return {_VALID: max(kept.numel(), 1), _BATCH_SIZE: max(rows, 1), _NONE: 1}.get(
            self.mode, kept.numel()
        )


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(_CrossEntropy):
    """-log of the softmax along softmax_param.axis at the label; a second top is the softmax.

    The sum over the labels other than ignore_label is divided by their number (normalization VALID), that of
    all labels (FULL), that of rows (BATCH_SIZE) or 1 (NONE). As in Caffe, probabilities are at least the
    smallest normal float, so a label adds at most 87.3.
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
        ignores = self.opt.HasField("ignore_label")
        kept = self.kept(classes) if ignores else classes  # for their number
        labels = torch.where(kept, classes, 0) if ignores else classes
        logs = at_labels(torch.log_softmax(logits, 1), labels)
        minimum = math.log(torch.finfo(torch.float32).tiny)
        logs = logs + (logs.clamp(min=minimum) - logs).detach()  # the gradient ignores the bound
        losses = logs * kept if ignores else logs
        loss = -losses.sum() / self.divisor(kept, classes.shape[0])
        if len(self.spec.top) == 1:
            return loss
        return loss, torch.softmax(logits.detach(), 1).reshape(scores.shape)


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(_CrossEntropy):
    """-(t log s + (1 - t) log(1 - s)), s the sigmoid of the first bottom and t the second, 0..1.

    The sum over the values other than ignore_label is divided by the number of rows, unless loss_param has
    another normalisation.
    """

    default_mode = _BATCH_SIZE

    def top_shapes(self, scores, targets):
        _check_sizes(scores, targets)
        return [()]

    def forward(self, params, scores, targets):
        _check_sizes(scores.shape, targets.shape)
        scores, targets = at_least_float32(scores), at_least_float32(targets).reshape(scores.shape)
        kept = self.kept(targets)
        losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return (losses * kept).sum() / self.divisor(kept, scores.shape[0])


@register("Accuracy")
class Accuracy(Layer):
    """The fraction of labels among the top_k scores along `axis`; a second top has it for each class.

    As in Caffe, a class with the same score as the labelled one ranks before it.
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
        correct = kept & ((scores >= of_label[:, None]).sum(1) <= self.opt.top_k)
        overall = correct.sum() / kept.sum().clamp(min=1)
        overall = torch.where(of_label.isnan().any(), math.nan, overall)
        if len(self.spec.top) == 1:
            return overall
        classes = torch.arange(scores.shape[1], device=labels.device)[:, None, None]
        of_class = kept & (labels == classes)
        each = (correct & of_class).sum((1, 2)) / of_class.sum((1, 2)).clamp(min=1)
        return overall, each


@register("ArgMax")
class ArgMax(Layer):
    """The indices of the top_k largest values along `axis`; without an axis, of each row.

    With out_max_val and an axis, the values instead of the indices. With out_max_val and no axis both,
    N x 2 x top_k. Of equal values the last comes first, as in Caffe.
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
        values, indices = torch.sort(rows.flip(axis), dim=axis, descending=True, stable=True)
        values = values.narrow(axis, 0, top_k)
        indices = (size - 1 - indices).narrow(axis, 0, top_k).to(x.dtype)
        if along:
            return values if self.opt.out_max_val else indices
        return torch.stack([indices, values] if self.opt.out_max_val else [indices], 1).reshape(shape)
