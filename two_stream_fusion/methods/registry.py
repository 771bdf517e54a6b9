"""The methods by name: what they are called in the paper's tables, their options, how to run them."""

from __future__ import annotations

import importlib
import inspect

from two_stream_fusion.base.options import parse_options

TITLES = {  # in the order of Tables 1 to 4
    "dwt": "DWT",
    "lp": "LP",
    "sp": "SP",
    "rp": "RP",
    "psfs": "PSFs",
    "cp": "CP",
    "gf": "GF",
    "srcnn": "SRCNN",
    "cnn": "CNN",
    "two_stream": "Ours",
}


def load(name):
    """The module of a method; ValueError for a name that is none."""
    if name not in TITLES:
        raise ValueError(f"no method {name!r}: there are {', '.join(TITLES)}")
    return importlib.import_module(f"two_stream_fusion.methods.{name}")


def options(name) -> dict[str, object]:
    """The options of a method and their defaults."""
    parameters = inspect.signature(load(name).fuse).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def parse(name, settings) -> dict[str, object]:
    """Options from strings KEY=VALUE, each of the type of its default; ValueError for what does not fit.

    Where the default is None, a number or several with commas between.
    """
    return parse_options(name, options(name), settings)


def decides(name) -> bool:
    """Whether a method has maps or estimates that it decides by, and thus `decide` and `apply`."""
    return hasattr(load(name), "decide")


def fuse(name, images, decided=None, **chosen):
    """Fuse two or more images with a method: all at once where it can, else folded in their order.

    images: any sequence; folded, each is asked for once. decided: a list that is given what each step
    decides by, as the method's `decide` returns it, of methods that have one. ValueError for fewer than two
    images, and what the method refuses.
    """
    module = load(name)

    def step(*images):
        if decided is None:
            return module.fuse(*images, **chosen)
        decided.append(module.decide(*images, **chosen))
        return module.apply(images, decided[-1])

    if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(module.fuse).parameters.values()):
        images = list(images)
        if len(images) > 1:
            return step(*images)
    images, steps = iter(images), 0
    fused = next(images, None)
    for image in images:
        fused = step(fused, image)
        steps += 1
    if not steps:
        raise ValueError("two images or more are needed")
    return fused
