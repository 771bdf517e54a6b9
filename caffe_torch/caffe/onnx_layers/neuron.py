"""Element by element."""

from . import EXPORTS, FLOAT, exports, scaled, shifted


def _operator(caffe_type, op_type):
    EXPORTS[caffe_type] = lambda e: e.op(op_type, e.inputs[0])


_operator("Sigmoid", "Sigmoid")
_operator("TanH", "Tanh")
_operator("AbsVal", "Abs")
_operator("BNLL", "Softplus")


@exports("ReLU")
def _relu(e):
    slope = e.opt.negative_slope
    return e.op("LeakyRelu", e.inputs[0], alpha=slope) if slope else e.op("Relu", e.inputs[0])


@exports("PReLU")
def _prelu(e):
    behind = [1] * (len(e.shapes[0]) - 2)
    return e.op("PRelu", e.inputs[0], e.param(0, "slope", lambda array: array.reshape(-1, *behind)))


@exports("ELU")
def _elu(e):
    return e.op("Elu", e.inputs[0], alpha=e.opt.alpha)


@exports("Power")
def _power(e):
    y = shifted(e, scaled(e, e.inputs[0], e.opt.scale), e.opt.shift)
    return y if e.opt.power == 1 else e.op("Pow", y, e.const(e.opt.power))


@exports("Exp")
def _exp(e):
    y = e.op("Exp", scaled(e, e.inputs[0], e.layer.log_base * e.opt.scale))
    return scaled(e, y, e.layer.factor)


@exports("Log")
def _log(e):
    y = e.op("Log", shifted(e, scaled(e, e.inputs[0], e.opt.scale), e.opt.shift))
    return scaled(e, y, 1 / e.layer.log_base)


@exports("Swish")
def _swish(e):
    return e.op("Mul", e.inputs[0], e.op("Sigmoid", scaled(e, e.inputs[0], e.opt.beta)))


@exports("Clip")
def _clip(e):
    return e.op("Clip", e.inputs[0], e.const(e.opt.min, "min"), e.const(e.opt.max, "max"))


@exports("Threshold")
def _threshold(e):
    return e.op("Cast", e.op("Greater", e.inputs[0], e.const(e.opt.threshold)), to=FLOAT)
