"""pycaffe's solver classes and `get_solver`. Scripts also import Net and Timer from here."""

from __future__ import annotations

import os

from . import solvers
from .net import Net as Net
from .solver_nets import read_solver
from .timer import Timer as Timer
from .training import Solver


class SGDSolver(Solver):
    """A Solver with the rule SGD."""

    rule = "SGD"


class NesterovSolver(Solver):
    """A Solver with the rule Nesterov."""

    rule = "Nesterov"


class AdaGradSolver(Solver):
    """A Solver with the rule AdaGrad."""

    rule = "AdaGrad"


class RMSPropSolver(Solver):
    """A Solver with the rule RMSProp."""

    rule = "RMSProp"


class AdaDeltaSolver(Solver):
    """A Solver with the rule AdaDelta."""

    rule = "AdaDelta"


class AdamSolver(Solver):
    """A Solver with the rule Adam."""

    rule = "Adam"


_SOLVERS = {cls.rule: cls for cls in Solver.__subclasses__()}


def get_solver(path: str | os.PathLike) -> Solver:
    """Build the solver of a solver prototxt.

    Args:
        path: the file.

    Returns:
        A Solver of the class that the file's type names.

    Raises:
        ValueError: the solver, the net or the data is wrong.
        OSError: a file cannot be read.
    """
    param = read_solver(path)
    try:
        rule = solvers.rule_of(param).__name__
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _SOLVERS[rule](param, os.fspath(path))
