"""The update rules and learning rate policies of Caffe's solvers.

A rule takes lists of all parameters, so that a step is a few kernels in all, not a few for each parameter.
`history` has the layout of Caffe's .solverstate files.
"""

from __future__ import annotations

import math

import torch

from .proto import caffe_pb2


class Rule:
    """An update rule: it turns gradients into steps.

    Args:
        param: the SolverParameter.
        weights: the parameters, tensors.

    Raises:
        ValueError: Caffe refuses the settings.
    """

    histories = 1  # tensors of history for each parameter

    def __init__(self, param: caffe_pb2.SolverParameter, weights: list):
        self.param = param
        self.check()
        self.history = [torch.zeros_like(w) for _ in range(self.histories) for w in weights]

    def check(self) -> None:
        """Raise ValueError where Caffe refuses the settings."""

    def parts(self) -> list:
        """The history as a list of tensors for each quantity."""
        n = len(self.history) // self.histories
        return [self.history[i * n : (i + 1) * n] for i in range(self.histories)]

    def correction(self, t: int) -> float:
        """The factor of the rates at the t-th step, from 1."""
        return 1.0

    def step(self, grads: list, rates: list) -> list:
        """Update the history.

        Args:
            grads: the gradients, tensors.
            rates: for each parameter, learning rate times lr_mult times `correction`: floats or 0-d tensors.

        Returns:
            The steps to subtract from the parameters, tensors.
        """
        raise NotImplementedError


class SGD(Rule):
    """h = momentum h + rate g; step h."""

    def step(self, grads, rates):
        (h,) = self.parts()
        torch._foreach_mul_(h, self.param.momentum)
        torch._foreach_add_(h, torch._foreach_mul(grads, rates))
        return h


class Nesterov(Rule):
    """h' = momentum h + rate g; step (1 + momentum) h' - momentum h."""

    def step(self, grads, rates):
        (h,) = self.parts()
        m = self.param.momentum
        momentum_term = torch._foreach_mul(h, m)
        torch._foreach_mul_(h, m)
        torch._foreach_add_(h, torch._foreach_mul(grads, rates))
        return torch._foreach_sub(torch._foreach_mul(h, 1 + m), momentum_term)


class _NoMomentum(Rule):
    def check(self):
        if self.param.momentum:
            raise ValueError(f"momentum has no meaning for {type(self).__name__}: leave it out")


class AdaGrad(_NoMomentum):
    """h = h + g^2; step rate g / (sqrt(h) + delta)."""

    def step(self, grads, rates):
        (h,) = self.parts()
        torch._foreach_addcmul_(h, grads, grads)
        return _scaled(grads, h, self.param.delta, rates)


class RMSProp(_NoMomentum):
    """h = d h + (1 - d) g^2, d = rms_decay; step rate g / (sqrt(h) + delta)."""

    def check(self):
        super().check()
        if not 0 <= self.param.rms_decay < 1:
            raise ValueError(f"rms_decay {self.param.rms_decay:g} is not in 0..1")

    def step(self, grads, rates):
        (h,) = self.parts()
        torch._foreach_mul_(h, self.param.rms_decay)
        torch._foreach_addcmul_(h, grads, grads, 1 - self.param.rms_decay)
        return _scaled(grads, h, self.param.delta, rates)


class AdaDelta(Rule):
    """h = m h + (1 - m) g^2; u = g sqrt((s + delta) / (h + delta)); s = m s + (1 - m) u^2; step rate u."""

    histories = 2

    def step(self, grads, rates):
        h, s = self.parts()
        m, delta = self.param.momentum, self.param.delta
        torch._foreach_mul_(h, m)
        torch._foreach_addcmul_(h, grads, grads, 1 - m)
        u = torch._foreach_div(torch._foreach_add(s, delta), torch._foreach_add(h, delta))
        torch._foreach_sqrt_(u)
        torch._foreach_mul_(u, grads)
        torch._foreach_mul_(s, m)
        torch._foreach_addcmul_(s, u, u, 1 - m)
        return torch._foreach_mul(u, rates)


class Adam(Rule):
    """Adam (Eq. 7 to 9 of Xu et al. 2018).

    Kingma and Ba 2015, in the form at the end of their section 2: delta is added before the bias correction.
    m and v are the first and second moment; b1 and b2 are a_1 and a_2 of the paper.
    """

    histories = 2

    def check(self):
        if abs(self.param.momentum) == 1:
            raise ValueError(f"momentum {self.param.momentum:g}: Adam divides by 1 - momentum^t")
        if abs(self.param.momentum2) > 1:
            raise ValueError(f"momentum2 {self.param.momentum2:g}: Adam takes the root of 1 - momentum2^t")

    def correction(self, t):  # of Eq. 9
        return math.sqrt(1 - self.param.momentum2**t) / (1 - _power(self.param.momentum, t))

    def step(self, grads, rates):
        m, v = self.parts()
        b1, b2 = self.param.momentum, self.param.momentum2
        torch._foreach_mul_(m, b1)
        torch._foreach_add_(m, grads, alpha=1 - b1)  # Eq. 7
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)  # Eq. 8
        return _scaled(m, v, self.param.delta, rates)  # Eq. 9


def _scaled(numerators, squares, delta, rates):
    """rate x / (sqrt(square) + delta), for each parameter."""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, delta)
    steps = torch._foreach_div(numerators, roots)
    torch._foreach_mul_(steps, rates)
    return steps


def clip(grads: list, limit: float) -> torch.Tensor:
    """Scale gradients down whose joint L2 norm is above a limit, without waiting for a GPU.

    Args:
        grads: the gradients of all parameters, changed in place.
        limit: the largest norm.

    Returns:
        The norm before, a 0-d tensor.
    """
    norm = torch.stack(torch._foreach_norm(grads)).norm()
    scale = torch.full_like(norm, limit) / norm
    torch._foreach_mul_(grads, torch.where(norm > limit, scale, 1))
    return norm


RULES = {rule.__name__: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}


def rule_of(param: caffe_pb2.SolverParameter) -> type[Rule]:
    """Find the update rule of a solver by its type, or by the deprecated solver_type.

    Raises:
        ValueError: the type is unknown, or both fields are given.
    """
    name = param.type
    if param.HasField("solver_type"):
        if param.HasField("type"):
            raise ValueError("give type or solver_type, not both")
        legacy = caffe_pb2.SolverParameter.SolverType.Name(param.solver_type)
        name = {rule.upper(): rule for rule in RULES}[legacy]
    if name not in RULES:
        raise ValueError(f"unknown solver type {name!r}: use one of {', '.join(RULES)}")
    return RULES[name]


# Learning rate

# The settings that a policy needs. Others may be missing, as in Caffe: gamma and power are then 0.
_NEEDED = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": (),
    "multistep": ("gamma",),
    "poly": ("max_iter",),
    "sigmoid": ("stepsize",),
}


def check_policy(param: caffe_pb2.SolverParameter) -> None:
    """Check the learning rate policy.

    Raises:
        ValueError: lr_policy is not one of Caffe's, or a setting that it needs is missing or wrong.
    """
    policy = param.lr_policy
    if policy not in _NEEDED:
        raise ValueError(f"lr_policy {policy!r}: use one of {', '.join(_NEEDED)}")
    for name in _NEEDED[policy]:
        if policy == "multistep" and not param.stepvalue:  # the rate never drops
            continue
        if not param.HasField(name):
            # Caffe takes 0 for gamma too. To train at a rate of 0 is surely a mistake.
            reason = ": the rate would drop to 0" if name == "gamma" else ""
            raise ValueError(f"lr_policy {policy!r} needs {name}{reason}")
        if name != "gamma" and getattr(param, name) < 1:
            raise ValueError(f"lr_policy {policy!r} needs a {name} of 1 or more")
    if policy not in ("fixed", "poly") and param.gamma < 0:
        raise ValueError(f"gamma {param.gamma:g} is negative")


def _power(base, exponent):
    """base ^ exponent, infinite or NaN where it is that in C."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan if base else math.inf


def current_step(param: caffe_pb2.SolverParameter, iteration: int) -> int:
    """The number of drops of the rate up to an iteration, as a .solverstate stores it."""
    if param.lr_policy == "step":
        return max(iteration, 0) // param.stepsize
    if param.lr_policy == "multistep":
        steps, dropped = 0, -1
        for value in param.stepvalue:  # at most one drop an iteration, in the order of the list
            dropped = max(value, dropped + 1)
            steps += dropped <= iteration
        return steps
    return 0


def learning_rate(param: caffe_pb2.SolverParameter, iteration: int) -> float:
    """The learning rate at an iteration, by the policies of Caffe's SGDSolver."""
    base, gamma, power = param.base_lr, param.gamma, param.power
    if param.lr_policy in ("step", "multistep"):
        return base * _power(gamma, current_step(param, iteration))
    if param.lr_policy == "exp":
        return base * _power(gamma, iteration)
    if param.lr_policy == "inv":
        return base * _power(1 + gamma * iteration, -power)
    if param.lr_policy == "poly":
        return base * _power(1 - iteration / param.max_iter, power)
    if param.lr_policy == "sigmoid":
        return base / (1 + math.exp(min(-gamma * (iteration - param.stepsize), 700)))
    return base
