"""ContrastiveLoss, HingeLoss, MultinomialLogisticLoss and InfogainLoss."""

import math

import torch

from ..images import read_blob
from ..proto import caffe_pb2
from . import Layer, at_least_float32, canonical_axis, register
from .lookup import rows_at
from .loss import _CrossEntropy, at_labels, by_class

_MIN_PROBABILITY = 1e-20  # Caffe's, below which a logarithm is not taken


def _log(probability):
    """The logarithm of the probability, at least _MIN_PROBABILITY; as in Caffe its gradient is never 0."""
    limited = probability.clamp(min=_MIN_PROBABILITY)
    return torch.log(probability + (limited - probability).detach())


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """sum t / (2 N): t is d^2 for similar pairs of rows (label not 0), max(margin - d, 0)^2 for others.

    d is the distance of a pair, N the number of pairs. With legacy_version t is max(margin - d^2, 0) for the
    others. As in Caffe, the gradient divides by d + 0.0001. Source: Hadsell, Chopra and LeCun 2006.
    """

    bottom_count = (3, 3)
    is_loss = True
    no_gradient = (2,)
    options, supported = "contrastive_loss_param", ("margin", "legacy_version")

    def top_shapes(self, a, b, similar):
        if a != b or len(a) < 1 or math.prod(a) != math.prod(a[:2]):
            raise ValueError(f"bottoms of shape {tuple(a)} and {tuple(b)}: both are N x C or N x C x 1 x 1")
        if math.prod(similar) != a[0]:
            raise ValueError(f"{math.prod(similar)} labels for {a[0]} pairs")
        return [()]

    def forward(self, params, a, b, similar):
        self.top_shapes(a.shape, b.shape, similar.shape)
        squares = (at_least_float32(a) - at_least_float32(b)).flatten(1).square().sum(1)
        if self.opt.legacy_version:
            dissimilar = (self.opt.margin - squares).clamp(min=0)
        else:
            distance = squares.detach().sqrt()
            slope = squares / (2 * (distance + 1e-4))
            distance = distance + slope - slope.detach()  # the value is exact, the gradient is Caffe's
            dissimilar = (self.opt.margin - distance).clamp(min=0).square()
        return torch.where(similar.flatten().long() != 0, squares, dissimilar).sum() / (2 * a.shape[0])


def _check_labels(scores, labels):
    """ValueError unless the shapes are those of N rows of scores and N labels."""
    if not scores or math.prod(labels) != scores[0]:
        raise ValueError(f"scores of shape {tuple(scores)} need a label a row, not {math.prod(labels)}")


@register("HingeLoss")
class HingeLoss(Layer):
    """max(0, 1 - s) for the score s of the labelled class, max(0, 1 + s) for the others; squared for norm L2.

    The sum is divided by the number of rows.
    """

    bottom_count = (2, 2)
    is_loss = True
    no_gradient = (1,)
    options, supported = "hinge_loss_param", ("norm",)

    def top_shapes(self, scores, labels):
        _check_labels(scores, labels)
        return [()]

    def forward(self, params, scores, labels):
        self.top_shapes(scores.shape, labels.shape)
        rows, classes = at_least_float32(scores).flatten(1)[..., None], labels.reshape(-1, 1).long()
        label_scores = at_labels(rows, classes)
        losses = (1 + rows).clamp(min=0).squeeze(2)  # of the classes beside the label
        columns = classes.clamp(0, losses.shape[1] - 1)
        losses = losses.scatter(1, columns, (1 - label_scores).clamp(min=0))
        if self.opt.norm == caffe_pb2.HingeLossParameter.L2:
            losses = losses.square()
        return losses.sum() / scores.shape[0]


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """-log of the labelled class's probability, the mean over the rows; the bottom holds probabilities."""

    bottom_count = (2, 2)
    is_loss = True
    no_gradient = (1,)

    def top_shapes(self, scores, labels):
        _check_labels(scores, labels)
        return [()]

    def forward(self, params, scores, labels):
        self.top_shapes(scores.shape, labels.shape)
        label_scores = at_labels(at_least_float32(scores).flatten(1)[..., None], labels.reshape(-1, 1).long())
        return -_log(label_scores).sum() / scores.shape[0]


@register("InfogainLoss")
class InfogainLoss(_CrossEntropy):
    """-sum over classes k of H[label, k] log softmax[k]; a second top is the softmax.

    H is classes x classes: the third bottom, or a BlobProto in the file `source`. With the identity it is
    SoftmaxWithLoss.
    """

    bottom_count, top_count = (2, 3), (1, 2)
    no_gradient = (1, 2)
    supported = ("ignore_label", "normalization")

    def setup(self):
        super().setup()
        self.axis = self.spec.infogain_loss_param.axis
        self.gains = torch.empty(0)  # H, unless it is the third bottom
        if len(self.spec.bottom) < 3:
            source = self.spec.infogain_loss_param.source
            self.gains = torch.from_numpy(read_blob(source, "infogain_loss_param.source"))

    def top_shapes(self, scores, labels, gains=None):
        axis = canonical_axis(self.axis, len(scores))
        count = math.prod(scores) // max(scores[axis], 1)
        if math.prod(labels) != count:
            raise ValueError(f"scores of shape {tuple(scores)} need {count} labels, not {math.prod(labels)}")
        gains = self.gains.shape if gains is None else gains
        if math.prod(gains) != scores[axis] ** 2:
            raise ValueError(f"a matrix of shape {tuple(gains)} for {scores[axis]} classes")
        return [(), scores][: len(self.spec.top)]

    def forward(self, params, scores, labels, gains=None):
        self.top_shapes(scores.shape, labels.shape, None if gains is None else gains.shape)
        gains = self.gains.to(scores.device, scores.dtype) if gains is None else gains
        logits, labels = by_class(scores, labels, self.axis)
        kept, count = self.kept(labels), logits.shape[1]
        rows = torch.where(kept, labels, 0)
        of_labels = rows_at(at_least_float32(gains).reshape(count, count), rows, "label").movedim(2, 1)
        logs = torch.log_softmax(logits, 1)
        logs = logs + (logs.clamp(min=math.log(_MIN_PROBABILITY)) - logs).detach()
        loss = -((of_labels * logs).sum(1) * kept).sum() / self.divisor(kept, labels.shape[0])
        if len(self.spec.top) == 1:
            return loss
        return loss, torch.softmax(logits.detach(), 1).reshape(scores.shape)
