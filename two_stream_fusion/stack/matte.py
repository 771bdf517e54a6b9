"""Frames with alpha: what a frame hides is filled from its neighbours in focus.

Not from the paper. Alpha has two meanings. A frame that was moved or masked has holes: there it has no
data, and another frame does. A matte is the outline of a thing: it is soft where the thing is out of focus,
and where the frame in focus is transparent, the result is transparent too. Both have alpha 0. They are told
apart by what defocus can do. A blurred outline is never opaque outside of the sharp one. So a pixel that one
frame shows opaque is opaque. Elsewhere a hidden pixel is a hole where another frame is more opaque than any
blur of the own alpha could make it.

Colours under alpha 0 mean nothing. No method gets to see them.
"""

from __future__ import annotations

from typing import Callable, Iterator, NamedTuple

import cv2
import numpy as np

from two_stream_fusion.base.pixels import round_half_up
from two_stream_fusion.stack.sequences import AlphaFrames

SHOWN_SHARE = 1 / 2  # of the most opaque frame's alpha: a frame with more shows a pixel, others hide it
OPAQUE = 1 - 1 / 510  # of the range: such alpha counts as opaque
BLUR_EXCESS = 1.5  # alpha over this many times the own, blurred, comes from no blur
BLUR_FLOOR = 0.02  # of the range, which is added to that
BLUR_SIGMA = 1  # pixels, of a Gaussian in each of BLUR_LEVELS, which are halved in size: 1 to some 20 pixels
BLUR_LEVELS = 5


class FilledFrame(NamedTuple):
    """A frame whose hidden pixels are filled.

    colours: the image. alpha: H x W. source: H x W uint16, the frame that shows each pixel; it differs from
    the own index in holes alone. None where there are none.
    """

    colours: np.ndarray
    alpha: np.ndarray
    source: np.ndarray | None


class LazySequence:
    """A sequence of images that are computed when they are asked for. shape: of each. name: of a frame."""

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

    A hidden pixel is filled from the frame before it that shows it, the nearest one; where there is none,
    from the first one after it. So each pass over the frames reads each of them once, in their order. Two
    passes are made to begin with. The second ends where each pixel has been shown.

    Args:
        frames: aligned, in the order of focus.

    Attributes:
        max_alpha: H x W, the most opaque of the frames.
        min_alpha: H x W, the least opaque of `alphas` computed so far.
        background: the level behind `composites`.
    """

    def __init__(self, frames: AlphaFrames):
        self.frames = frames
        self.top = np.iinfo(frames.dtype).max
        self.max_alpha, self.background = self._scan_alpha()
        self.min_alpha = np.full(frames.shape[:2], self.top, frames.dtype)
        self._opaque = self.max_alpha >= self.top * OPAQUE
        self._any_soft = not (self._opaque | (self.max_alpha == 0)).all()
        self._first = self._find_first()
        self._carried = self._first
        self._filled: tuple[int, FilledFrame | None] = (-1, None)

    @property
    def colours(self) -> LazySequence:
        """The images, hidden pixels filled."""
        return LazySequence(self, lambda i: self._fill(i).colours, self.frames.shape)

    @property
    def alphas(self) -> LazySequence:
        """H x W each: opaque where any frame is opaque, holes filled."""
        return LazySequence(self, lambda i: self._fill(i).alpha, self.frames.shape[:2])

    @property
    def composites(self) -> LazySequence:
        """`colours` over `background`, so that the outlines of a matte are details too. Methods decide by
        these."""
        return LazySequence(self, self._composite, self.frames.shape)

    @property
    def layers(self) -> LazySequence:
        """Colours and alpha in one array: H x W x 2 or H x W x 4."""
        depth = 2 if len(self.frames.shape) == 2 else 4
        return LazySequence(self, lambda i: np.dstack(self._fill(i)[:2]), (*self.frames.shape[:2], depth))

    def shown_choice(self, choice: np.ndarray) -> np.ndarray:
        """Name, for each pixel, the frame that shows it.

        Args:
            choice: H x W integers, indices of the frames.

        Returns:
            An array like `choice`: where the frame has a hole, the frame that it is filled from.
        """
        shown = choice.copy()
        for i in range(len(self.frames)):
            source = self._fill(i).source
            if source is not None:
                selected = choice == i
                shown[selected] = source[selected]
        return shown

    def clip_alpha(self, alpha: np.ndarray) -> np.ndarray:
        """Fused alpha within what the frames have at each pixel. All of `alphas` must have been computed."""
        return np.clip(alpha, self.min_alpha, self.max_alpha)

    def _scan_alpha(self):
        """The most opaque alpha, and black or white, whichever differs more from half transparent pixels."""
        max_alpha = np.zeros(self.frames.shape[:2], self.frames.dtype)
        brightness, count = 0.0, 0
        for i in range(len(self.frames)):
            pixels, alpha = self.frames.with_alpha(i)
            if alpha is None:
                max_alpha[:] = self.top
                continue
            np.maximum(max_alpha, alpha, out=max_alpha)
            soft = pixels[(alpha > 0) & (alpha < self.top)]
            brightness, count = brightness + soft.sum(dtype=np.float64), count + soft.size
        return max_alpha, self.top if brightness < count * self.top / 2 else 0

    def _find_first(self):
        """Colours, alpha and index of the first frame that shows each pixel."""
        missing = self.max_alpha > 0
        colours = alpha = source = None
        for i in range(len(self.frames)):
            pixels, own_alpha = self._load(i)
            if colours is None:
                colours, alpha, source = pixels.copy(), own_alpha.copy(), np.zeros(own_alpha.shape, np.uint16)
            first_shown = missing & self._shows(own_alpha)
            colours[first_shown], alpha[first_shown] = pixels[first_shown], own_alpha[first_shown]
            source[first_shown] = i
            missing &= ~first_shown
            if not missing.any():
                break
        return colours, alpha, source

    def _load(self, i):
        pixels, alpha = self.frames.with_alpha(i)
        return pixels, np.full(pixels.shape[:2], self.top, pixels.dtype) if alpha is None else alpha

    def _shows(self, alpha):
        return alpha > self.max_alpha * np.float32(SHOWN_SHARE)

    def _fill(self, i):
        """Frame i, filled. The next one asked for is this one again, the one after it, or the first."""
        if self._filled[0] == i:
            return self._filled[1]
        start = self._filled[0] + 1 if self._filled[0] < i else 0
        self._filled = (-1, None)
        if start == 0:
            self._carried = self._first
        for j in range(start, i + 1):
            filled = self._fill_next(j)
        self._filled = (i, filled)
        return filled

    def _fill_next(self, i):
        own_colours, own_alpha = self._load(i)
        shown = self._shows(own_alpha)
        hidden = ~shown & (self.max_alpha > 0)
        before, before_alpha, before_source = self._carried
        colours, alpha, source = own_colours, np.where(self._opaque, self.max_alpha, own_alpha), None
        if hidden.any():
            holes = hidden & (self._opaque | self._exceeds_blur(own_alpha))
            colours = own_colours.copy()
            colours[hidden] = before[hidden]
            alpha = np.where(holes & ~self._opaque, before_alpha, alpha)
            source = np.where(holes, before_source, np.uint16(i))
        if shown.all():
            self._carried = own_colours, own_alpha, np.full(own_alpha.shape, i, np.uint16)
        else:
            mask = shown if own_colours.ndim == 2 else shown[..., None]
            self._carried = (
                np.where(mask, own_colours, before),
                np.where(shown, own_alpha, before_alpha),
                np.where(shown, np.uint16(i), before_source),
            )
        np.minimum(self.min_alpha, alpha, out=self.min_alpha)
        return FilledFrame(colours, alpha, source)

    def _composite(self, i):
        colours, alpha, _ = self._fill(i)
        if alpha.min() == self.top:
            return colours
        share = alpha.astype(np.float32) / np.float32(self.top)
        share = share if colours.ndim == 2 else share[..., None]
        return round_half_up(colours * share + np.float32(self.background) * (1 - share), colours.dtype)

    def _exceeds_blur(self, alpha):
        """H x W bool: where the most opaque frame is more opaque than any blur of `alpha`."""
        if not self._any_soft:
            return np.zeros(alpha.shape, bool)
        level = alpha.astype(np.float32)
        blurred = level.copy()
        for _ in range(BLUR_LEVELS):
            level = cv2.GaussianBlur(level, (0, 0), BLUR_SIGMA, borderType=cv2.BORDER_REFLECT_101)
            np.maximum(blurred, cv2.resize(level, alpha.shape[::-1]), out=blurred)
            half = tuple(max(1, length // 2) for length in level.shape[::-1])
            level = cv2.resize(level, half, interpolation=cv2.INTER_AREA)
        return self.max_alpha > BLUR_EXCESS * blurred + BLUR_FLOOR * self.top
