"""The sequences of images that the functions of stack/ accept: lists, or frames.Frames, which read files."""

from __future__ import annotations

from typing import Iterator, Protocol

import numpy as np


class ImageSequence(Protocol):
    """A list of images, or Frames."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> np.ndarray: ...


class NamedSequence(Protocol):
    """Images alike: frames.Frames, and what matte.Matte makes of them."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> np.ndarray: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...

    def name(self, i: int, /) -> str:
        """The name of image i in messages."""
        ...


class AlphaFrames(Protocol):
    """Frames with alpha: what frames.Frames has, and what tests have in its place."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...

    def with_alpha(self, i: int, /) -> tuple[np.ndarray, np.ndarray | None]:
        """Frame i, and its alpha (None where it is opaque)."""
        ...

    def name(self, i: int, /) -> str:
        """The name of frame i in messages."""
        ...
