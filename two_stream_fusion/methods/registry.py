"""The methods by name: what they are called in the paper's tables, their options, how to run them."""

from __future__ import annotations

import importlib
import inspect

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
    return read(name, options(name), settings)


def read(name, known, settings) -> dict[str, object]:
    """As `parse`, for anything that takes the options `known`, {name: default}."""
    chosen = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        if key in chosen:
            raise ValueError(f"{setting!r}: {key} is given twice")
        if not given or key not in known:
            raise ValueError(f"{setting!r}: {name} takes {', '.join(f'{k}={v}' for k, v in known.items())}")
        kind = type(known[key])
        try:
            if kind is bool:
                chosen[key] = {"true": True, "false": False}[value.lower()]
            elif known[key] is None:
                numbers = tuple(map(float, value.split(",")))
                chosen[key] = numbers if len(numbers) > 1 else numbers[0]
            else:
                chosen[key] = kind(value)
        except (KeyError, ValueError):
            wanted = "numbers are" if known[key] is None else f"a value such as {known[key]!r} is"
            raise ValueError(f"{setting!r}: {wanted} needed") from None
    return chosen


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
