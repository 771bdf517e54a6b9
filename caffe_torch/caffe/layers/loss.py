"""Losses and measures."""

import torch.nn.functional as F

from . import Layer, register


@register("EuclideanLoss")
class EuclideanLoss(Layer):
    """Half the sum of squared differences over the number of rows: sum (a - b)^2 / (2 N)."""

    bottom_count = (2, 2)
    is_loss = True

    def forward(self, params, a, b):
        if a.shape[0] != b.shape[0] or a.numel() != b.numel():
            raise ValueError(f"bottoms differ in size: {tuple(a.shape)} and {tuple(b.shape)}")
        return F.mse_loss(a.float(), b.float().reshape(a.shape), reduction="sum") / (2 * a.shape[0])
