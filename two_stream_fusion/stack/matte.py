"""Frames with alpha: what a frame hides is filled from the nearest frame that shows it.

Ours, beyond the paper. Alpha has two meanings. A frame that was moved or masked has holes: there it has no
data, and another frame does. A matte is the outline of a thing: it is soft where the thing is out of focus,
and where the frame in focus is transparent, the result is transparent too. Both have alpha 0. They are told
apart by what defocus can do. A blurred outline is never opaque outside of the sharp one. So a pixel that one
frame shows opaque is opaque. Elsewhere a hidden pixel is a hole where another frame is more opaque than any
blur of the own alpha could make it.

Colours under alpha 0 mean nothing. No method gets to see them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Iterator, Protocol

import cv2
import numpy as np

from two_stream_fusion.base.pixels import round_half_up

HIDDEN = 1 / 8  # of the most opaque frame's alpha: a frame with no more hides a pixel
SHOWN = 1 / 2  # of the same: a frame with more shows it
OPAQUE = 1 - 1 / 510  # of the range: such alpha counts as opaque
BLUR_EXCESS = 1.5  # alpha over this many times the own, blurred, comes from no blur
BLUR_FLOOR = 0.02  # of the range, which is added to that
BLUR_LEVELS = 5  # halvings of size: Gaussians of a standard deviation of 1 to some 20 pixels
KEPT = 3  # frames in memory


class AlphaFrames(Protocol):
    """Frames."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...

    def with_alpha(self, i: int, /) -> tuple[np.ndarray, np.ndarray | None]: ...

    def name(self, i: int, /) -> str: ...


class View:
    """A sequence of images that are computed when they are asked for. shape: of each."""

    def __init__(self, matte: Matte, compute: Callable[[int], np.ndarray], shape: tuple[int, ...]):
        self.shape, self.name = shape, matte.frames.name
        self._compute, self._count = compute, len(matte.frames)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> np.ndarray:
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self._compute(i % len(self))

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._compute, range(len(self)))


class Matte:
    """Frames of which some have alpha, as methods see them.

    All frames are read once to begin with. A frame with hidden pixels needs its neighbours too, so KEPT
    frames are kept.

    Args:
        frames: in register, in the order of their focus.

    Attributes:
        colours: the images, hidden pixels filled.
        alphas: H x W each, opaque where any frame is opaque, holes filled.
        composites: `colours` over plain black or white, whichever differs more from what is half transparent.
            So the outlines of a matte are details too. Methods decide by these.
        layers: colours and alpha in one array, H x W x 2 or H x W x 4.
        highest: H x W, the most opaque of the frames.
        lowest: H x W, the least opaque of `alphas` computed so far.
    """

    def __init__(self, frames: AlphaFrames):
        self.frames = frames
        self.top = np.iinfo(frames.dtype).max
        self.highest = np.zeros(frames.shape[:2], frames.dtype)
        self.lowest = np.full(frames.shape[:2], self.top, frames.dtype)
        brightness = weight = 0.0
        for i in range(len(frames)):
            pixels, alpha = frames.with_alpha(i)
            if alpha is None:
                self.highest[:] = self.top
                continue
            np.maximum(self.highest, alpha, out=self.highest)
            soft = (alpha > 0) & (alpha < self.top)
            brightness += pixels[soft].mean(dtype=np.float64) * soft.sum() if soft.any() else 0
            weight += soft.sum()
        self.background = self.top if brightness < weight * self.top / 2 else 0
        self._opaque = self.highest >= self.top * OPAQUE
        self._any_soft = not self._opaque.all()
        self._fill = lru_cache(1)(self._fill_frame)  # the layers of one frame are asked for in turn
        self._load = lru_cache(KEPT)(frames.with_alpha)
        plane, depth = frames.shape[:2], 1 if len(frames.shape) == 2 else 3
        self.colours = View(self, lambda i: self._fill(i)[0], frames.shape)
        self.alphas = View(self, lambda i: self._fill(i)[1], plane)
        self.composites = View(self, self._composite, frames.shape)
        self.layers = View(self, lambda i: np.dstack(self._fill(i)[:2]), (*plane, depth + 1))

    def shown_choice(self, choice: np.ndarray) -> np.ndarray:
        """Name, for each pixel, the frame that shows it.

        Args:
            choice: H x W integers, places in the frames.

        Returns:
            An array like `choice`: where the frame has a hole, the frame that it is filled from.
        """
        shown = choice.copy()
        for i in range(len(self.frames)):
            source = self._fill(i)[2]
            if source is not None:
                taken = choice == i
                shown[taken] = source[taken]
        return shown

    def clip_alpha(self, alpha: np.ndarray) -> np.ndarray:
        """Fused alpha within what the frames have at each pixel. None of `alphas` may be left to compute."""
        return np.clip(alpha, self.lowest, self.highest)

    def _composite(self, i):
        colours, alpha, _ = self._fill(i)
        if alpha.min() == self.top:
            return colours
        share = alpha.astype(np.float32) / np.float32(self.top)
        share = share if colours.ndim == 2 else share[..., None]
        return round_half_up(colours * share + np.float32(self.background) * (1 - share), colours.dtype)

    def _fill_frame(self, i):
        """(colours, alpha, source) of frame i; source: H x W, the frame each pixel is from, None for i."""
        colours, own = self._load(i)
        if own is None:
            return colours, np.full(colours.shape[:2], self.top, colours.dtype), None
        limit = self.highest * np.float32(HIDDEN)
        hidden = (own <= limit) & (self.highest > 0)
        holes = hidden & (self._opaque | self._exceeds_blur(own))
        alpha = np.where(self._opaque, self.highest, own)
        source = None
        if hidden.any():
            colours, source = colours.copy(), np.full(own.shape, i, np.uint16)
            enough = self.highest * np.float32(SHOWN)
            for j in sorted(set(range(len(self.frames))) - {i}, key=lambda j: abs(j - i)):
                other, shown = self._load(j)
                here = hidden if shown is None else hidden & (shown > enough)
                colours[here] = other[here]
                source[here & holes] = j
                if shown is not None:
                    alpha = np.where(here & holes & ~self._opaque, shown, alpha)
                hidden = hidden & ~here
                if not hidden.any():
                    break
        np.minimum(self.lowest, alpha, out=self.lowest)
        return colours, alpha, source

    def _exceeds_blur(self, alpha):
        """H x W bool: where the most opaque frame is more opaque than any blur of `alpha`."""
        if not self._any_soft:
            return np.zeros(alpha.shape, bool)
        level = alpha.astype(np.float32)
        blurred = level.copy()
        for _ in range(BLUR_LEVELS):
            if min(level.shape) < 3:
                break
            level = cv2.pyrDown(level)
            np.maximum(blurred, cv2.resize(level, alpha.shape[::-1]), out=blurred)
        return self.highest > BLUR_EXCESS * blurred + BLUR_FLOOR * self.top
