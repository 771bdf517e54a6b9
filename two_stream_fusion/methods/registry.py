"""The fusion methods by name: titles, options, and one way to run each of them.

To add a method, write methods/NAME.py and add its row to METHODS. A method without maps has
``fuse(a, b, **options) -> image``. A method with maps has ``decide(a, b, **options) -> dict`` and
``apply(images, decision) -> image``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Callable, Iterable, NamedTuple

import numpy as np

from two_stream_fusion.base import options as option_grammar


class Method(NamedTuple):
    """A row of the registry."""

    name: str
    title: str  # in Tables 1 to 4
    module: str
    takes_many: bool  # whether it fuses any number of images at once; others are folded, image by image
    has_maps: bool  # whether it has decide and apply, and its decisions are maps or estimates


class Fused(NamedTuple):
    """A fused image and how the method decided.

    image: in the shape and dtype of the sources. decisions: what `decide` returned, one dict a step; empty
    for methods without maps.
    """

    image: np.ndarray
    decisions: list[dict[str, object]]


_PACKAGE = "two_stream_fusion.methods."
METHODS: dict[str, Method] = {  # in the order of Tables 1 to 4
    row.name: row
    for row in (
        Method("dwt", "DWT", _PACKAGE + "dwt", takes_many=False, has_maps=False),
        Method("lp", "LP", _PACKAGE + "lp", takes_many=False, has_maps=False),
        Method("sp", "SP", _PACKAGE + "sp", takes_many=False, has_maps=False),
        Method("rp", "RP", _PACKAGE + "rp", takes_many=False, has_maps=False),
        Method("psfs", "PSFs", _PACKAGE + "psfs", takes_many=False, has_maps=True),
        Method("cp", "CP", _PACKAGE + "cp", takes_many=False, has_maps=False),
        Method("gf", "GF", _PACKAGE + "gf", takes_many=True, has_maps=True),
        Method("srcnn", "SRCNN", _PACKAGE + "srcnn", takes_many=False, has_maps=False),
        Method("cnn", "CNN", _PACKAGE + "cnn", takes_many=False, has_maps=True),
        Method("two_stream", "Ours", _PACKAGE + "two_stream", takes_many=False, has_maps=False),
    )
}
TITLES: dict[str, str] = {name: method.title for name, method in METHODS.items()}


def find(name: str) -> Method:
    """The row of a method.

    Raises:
        ValueError: there is no method of this name.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}: there are {', '.join(METHODS)}")
    return METHODS[name]


def load(name: str) -> ModuleType:
    """Import the module of a method. Errors as `find`."""
    return importlib.import_module(find(name).module)


def entry_point(name: str) -> Callable[..., object]:
    """The function that takes the options of a method: `decide` of a method with maps, else `fuse`."""
    return getattr(load(name), "decide" if find(name).has_maps else "fuse")


def options(name: str) -> dict[str, object]:
    """The options of a method and their defaults, in the order of its signature. Errors as `find`."""
    return dict(entry_point(name).__kwdefaults__ or {})


def parse_options(name: str, settings: Iterable[str]) -> dict[str, object]:
    """Parse options of a method.

    Args:
        name: of the method.
        settings: strings KEY=VALUE, each value of the type of its default.

    Returns:
        {option: value} of what was given.

    Raises:
        ValueError: as `find` and base.options.parse_options.
    """
    return option_grammar.parse_options(name, options(name), settings)


def fuse(name: str, images: Iterable[np.ndarray], *, keep_decisions: bool = True, **options: object) -> Fused:
    """Fuse two or more images by a method.

    Args:
        name: of the method.
        images: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype. A method that takes two
            images is folded: it fuses the first two, then the result with the third, and so on. Each image
            is then read once, so that a stack need not be in memory.
        keep_decisions: whether to return the decisions. A fold over a long stack holds all its maps.
        options: of the method.

    Returns:
        The fused image, of the shape and dtype of `images`, and the decisions: a dict for each step, and none
        for a method without maps.

    Raises:
        ValueError: no such method, fewer than two images, images that cannot be fused, or options out of
            range.
        TypeError: an option that the method does not have.
    """
    method, module = find(name), load(name)
    decisions: list[dict[str, object]] = []

    def step(*images):
        if not method.has_maps:
            return module.fuse(*images, **options)
        decision = module.decide(*images, **options)
        if keep_decisions:
            decisions.append(decision)
        return module.apply(images, decision)

    if method.takes_many:
        images = list(images)
        if len(images) > 1:
            return Fused(step(*images), decisions)
    iterator, steps = iter(images), 0
    fused = next(iterator, None)
    for image in iterator:
        fused = step(fused, image)
        steps += 1
    if not steps:
        raise ValueError("two images or more are needed")
    return Fused(fused, decisions)
