"""The trained models that ship with the project: models/NAME/, with a readme.md that is their card."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = "2-1-2_f64_k5-defocus"
FAST = "2-1-2_f32_k3-defocus"


def names(method="two_stream") -> list[str]:
    """Names of the models of a method, sorted."""
    return [name for name in _all() if card(name)["method"] == method]


def card(name) -> dict[str, str]:
    """The head of a model's readme.md: name, method, net, caffemodel, sha256, license, ...

    ValueError for a name that is none, such as that of a model which is not trained yet.
    """
    path = ROOT / "models" / name / "readme.md"
    if not path.is_file():
        raise ValueError(f"no model {name!r}: there are {', '.join(_all()) or 'none'}")
    head = path.read_text(encoding="utf-8").split("---")[1]
    return dict(line.split(": ", 1) for line in head.strip().splitlines())


def files(name, method=None) -> tuple[Path, Path]:
    """The deploy.prototxt and the .caffemodel of a model.

    ValueError where there is no such model, it is not of the `method` named, or its weights are not whole.
    """
    head = card(name)
    if method not in (None, head["method"]):
        raise ValueError(f"{name} is a model of {head['method']}, {method} has {', '.join(names(method))}")
    weights = ROOT / "models" / name / head["caffemodel"]
    if hashlib.sha256(weights.read_bytes()).hexdigest() != head["sha256"]:
        raise ValueError(f"{weights}: not the file its readme.md describes (sha256 differs)")
    return ROOT / "prototxt" / head["net"] / "deploy.prototxt", weights


def _all():
    return sorted(path.parent.name for path in (ROOT / "models").glob("*/readme.md"))
