"""Frames with alpha: what a frame hides is filled from its neighbours in focus.

Ours, beyond the paper. Alpha has two meanings. A frame that was moved or masked has holes: there it has no
data, and another frame does. A matte is the outline of a thing: it is soft where the thing is out of focus,
and where the frame in focus is transparent, the result is transparent too. Both have alpha 0. They are told
apart by what defocus can do. A blurred outline is never opaque outside of the sharp one. So a pixel that one
frame shows opaque is opaque. Elsewhere a hidden pixel is a hole where another frame is more opaque than any
blur of the own alpha could make it.

Colours under alpha 0 mean nothing. No method gets to see them.
"""

from __future__ import annotations

from typing import Callable, Iterator, NamedTuple, Protocol

import cv2
import numpy as np

from two_stream_fusion.base.pixels import round_half_up

SHOWN = 1 / 2  # of the most opaque frame's alpha: a frame with more shows a pixel, one with less hides it
OPAQUE = 1 - 1 / 510  # of the range: such alpha counts as opaque
BLUR_EXCESS = 1.5  # alpha over this many times the own, blurred, comes from no blur
BLUR_FLOOR = 0.02  # of the range, which is added to that
BLUR_SIGMA = 1  # pixels, of a Gaussian in each of BLUR_LEVELS, which are halved in size: 1 to some 20 pixels
BLUR_LEVELS = 5


class AlphaFrames(Protocol):
    """Frames."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...

    def with_alpha(self, i: int, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Frame i and its alpha, as of frames.Frames."""

    def name(self, i: int, /) -> str:
        """The name of frame i in messages."""


class Filled(NamedTuple):
    """A frame whose hidden pixels are filled.

    colours: the image. alpha: H x W. source: H x W uint16, the frame that shows each pixel; it differs from
    the own place in holes alone. None where there are none.
    """

    colours: np.ndarray
    alpha: np.ndarray
    source: np.ndarray | None


class View:
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
        frames: in register, in the order of their focus.

    Attributes:
        highest: H x W, the most opaque of the frames.
        lowest: H x W, the least opaque of `alphas` computed so far.
        background: the level behind `composites`.
    """

    def __init__(self, frames: AlphaFrames):
        self.frames = frames
        self.top = np.iinfo(frames.dtype).max
        self.highest, self.background = self._survey()
        self.lowest = np.full(frames.shape[:2], self.top, frames.dtype)
        self._opaque = self.highest >= self.top * OPAQUE
        self._any_soft = not (self._opaque | (self.highest == 0)).all()
        self._first = self._find_first()
        self._carried = self._first
        self._filled: tuple[int, Filled | None] = (-1, None)

    @property
    def colours(self) -> View:
        """The images, hidden pixels filled."""
        return View(self, lambda i: self._fill(i).colours, self.frames.shape)

    @property
    def alphas(self) -> View:
        """H x W each: opaque where any frame is opaque, holes filled."""
        return View(self, lambda i: self._fill(i).alpha, self.frames.shape[:2])

    @property
    def composites(self) -> View:
        """`colours` over `background`, so that the outlines of a matte are details too. Methods decide by
        these."""
        return View(self, self._composite, self.frames.shape)

    @property
    def layers(self) -> View:
        """Colours and alpha in one array: H x W x 2 or H x W x 4."""
        depth = 2 if len(self.frames.shape) == 2 else 4
        return View(self, lambda i: np.dstack(self._fill(i)[:2]), (*self.frames.shape[:2], depth))

    def shown_choice(self, choice: np.ndarray) -> np.ndarray:
        """Name, for each pixel, the frame that shows it.

        Args:
            choice: H x W integers, places in the frames.

        Returns:
            An array like `choice`: where the frame has a hole, the frame that it is filled from.
        """
        shown = choice.copy()
        for i in range(len(self.frames)):
            source = self._fill(i).source
            if source is not None:
                taken = choice == i
                shown[taken] = source[taken]
        return shown

    def clip_alpha(self, alpha: np.ndarray) -> np.ndarray:
        """Fused alpha within what the frames have at each pixel. All of `alphas` must have been computed."""
        return np.clip(alpha, self.lowest, self.highest)

    def _survey(self):
        """The most opaque alpha, and black or white, whichever differs more from half transparent pixels."""
        highest = np.zeros(self.frames.shape[:2], self.frames.dtype)
        brightness, count = 0.0, 0
        for i in range(len(self.frames)):
            pixels, alpha = self.frames.with_alpha(i)
            if alpha is None:
                highest[:] = self.top
                continue
            np.maximum(highest, alpha, out=highest)
            soft = pixels[(alpha > 0) & (alpha < self.top)]
            brightness, count = brightness + soft.sum(dtype=np.float64), count + soft.size
        return highest, self.top if brightness < count * self.top / 2 else 0

    def _find_first(self):
        """Colours, alpha and place of the first frame that shows each pixel."""
        missing = self.highest > 0
        colours = alpha = source = None
        for i in range(len(self.frames)):
            pixels, own = self._load(i)
            if colours is None:
                colours, alpha, source = pixels.copy(), own.copy(), np.zeros(own.shape, np.uint16)
            here = missing & self._shows(own)
            colours[here], alpha[here], source[here] = pixels[here], own[here], i
            missing &= ~here
            if not missing.any():
                break
        return colours, alpha, source

    def _load(self, i):
        pixels, alpha = self.frames.with_alpha(i)
        return pixels, np.full(pixels.shape[:2], self.top, pixels.dtype) if alpha is None else alpha

    def _shows(self, alpha):
        return alpha > self.highest * np.float32(SHOWN)

    def _fill(self, i):
        """Frame i, filled. The next one asked for is this one again, the one after it, or the first."""
        if self._filled[0] == i:
            return self._filled[1]
        at = self._filled[0] + 1 if self._filled[0] < i else 0
        self._filled = (-1, None)
        if at == 0:
            self._carried = self._first
        for place in range(at, i + 1):
            filled = self._fill_next(place)
        self._filled = (i, filled)
        return filled

    def _fill_next(self, i):
        own_colours, own = self._load(i)
        shown = self._shows(own)
        hidden = ~shown & (self.highest > 0)
        before, before_alpha, before_source = self._carried
        colours, alpha, source = own_colours, np.where(self._opaque, self.highest, own), None
        if hidden.any():
            holes = hidden & (self._opaque | self._exceeds_blur(own))
            colours = own_colours.copy()
            colours[hidden] = before[hidden]
            alpha = np.where(holes & ~self._opaque, before_alpha, alpha)
            source = np.where(holes, before_source, np.uint16(i))
        if shown.all():
            self._carried = own_colours, own, np.full(own.shape, i, np.uint16)
        else:
            where = shown if own_colours.ndim == 2 else shown[..., None]
            self._carried = (
                np.where(where, own_colours, before),
                np.where(shown, own, before_alpha),
                np.where(shown, np.uint16(i), before_source),
            )
        np.minimum(self.lowest, alpha, out=self.lowest)
        return Filled(colours, alpha, source)

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
        return self.highest > BLUR_EXCESS * blurred + BLUR_FLOOR * self.top
