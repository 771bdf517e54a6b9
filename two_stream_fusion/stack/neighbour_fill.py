"""Frames as alignment sees them: what a frame hides is filled from its neighbours, moved to where it is.

Not from the paper. The empty borders of frames stand still while the scene moves. They pull estimates of
the motion towards none. So hidden pixels are filled by a first estimate, and the motion is estimated anew.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.stack import align
from two_stream_fusion.stack.sequences import AlphaFrames


class NeighbourFilled:
    """A sequence of images whose hidden pixels (alpha 0) are those of the frames beside them.

    Args:
        frames: not moved yet.
        matrices: of the frames, as align.estimate_stack gives them. They say where neighbours are.
    """

    def __init__(self, frames: AlphaFrames, matrices: Sequence[np.ndarray]):
        self.frames, self.matrices = frames, matrices

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> np.ndarray:
        pixels, alpha = self.frames.with_alpha(i)
        if alpha is None:
            return pixels
        hidden = alpha == 0
        for j in (i - 1, i + 1):
            if not hidden.any():
                break
            if 0 <= j < len(self):
                neighbour, neighbour_alpha = self.frames.with_alpha(j)
                motion = self.matrices[j] @ np.linalg.inv(self.matrices[i])
                visible = np.full(alpha.shape, 255, np.uint8)
                if neighbour_alpha is not None:
                    visible[neighbour_alpha == 0] = 0
                filled = hidden & (align.warp(visible, motion, cv2.INTER_LINEAR) == 255)
                pixels = pixels.copy()
                pixels[filled] = align.warp(neighbour, motion)[filled]
                hidden &= ~filled
        return pixels
