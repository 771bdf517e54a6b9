"""The fusion methods by name: titles, options, and one way to run each of them.

To add a method, write methods/NAME.py and add its row to METHODS. The row is all that commands, tests and the
estimate of memory need. A method without maps has ``fuse(a, b, *, ...) -> image``. A method with maps has
``decide(a, b, *, ...) -> dict`` and ``apply(images, decision) -> image``. Options are keyword-only parameters
with defaults.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Callable, Iterable, NamedTuple

import numpy as np

from two_stream_fusion.base import options as option_grammar


class Method(NamedTuple):
    """A row of the registry.

    name: of `--method`. title: in Tables 1 to 4. module: imported when the method is used.
    takes_many: whether it fuses any number of images at once; others are folded, image by image.
    has_maps: whether it has decide and apply, and its decisions are maps or estimates.
    has_network: whether it runs a net, which takes memory and makes it too slow for some tests.
    in_paper: whether the paper compares it. eval/lytro_tables.csv then needs a reference for it.
    self_error: gray levels by which fuse(A, A) may differ from A; None where no bound holds.
    working_bytes: bytes a pixel at the peak of fusing two colour images of 8 bits, reading and writing them
    too, measured as the growth from 1 to 4 megapixels; None counts as the most of the others.
    """

    name: str
    title: str
    module: str
    takes_many: bool = False
    has_maps: bool = False
    has_network: bool = False
    in_paper: bool = False
    self_error: int | None = None
    working_bytes: int | None = None


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
        Method("dwt", "DWT", _PACKAGE + "dwt", in_paper=True, self_error=1, working_bytes=60),
        Method("lp", "LP", _PACKAGE + "lp", in_paper=True, self_error=1, working_bytes=65),
        Method("sp", "SP", _PACKAGE + "sp", in_paper=True, self_error=0, working_bytes=145),
        Method("rp", "RP", _PACKAGE + "rp", in_paper=True, self_error=1, working_bytes=80),
        Method(
            "psfs", "PSFs", _PACKAGE + "psfs", has_maps=True, in_paper=True, self_error=0, working_bytes=55
        ),
        Method("cp", "CP", _PACKAGE + "cp", in_paper=True, self_error=1, working_bytes=75),
        Method(
            "gf",
            "GF",
            _PACKAGE + "gf",
            takes_many=True,
            has_maps=True,
            in_paper=True,
            self_error=0,
            working_bytes=150,
        ),
        Method("srcnn", "SRCNN", _PACKAGE + "srcnn", has_network=True, in_paper=True),
        Method(
            "cnn",
            "CNN",
            _PACKAGE + "cnn",
            has_maps=True,
            has_network=True,
            in_paper=True,
            self_error=0,
            working_bytes=85,
        ),
        Method(
            "two_stream", "Ours", _PACKAGE + "two_stream", has_network=True, in_paper=True, working_bytes=85
        ),
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
