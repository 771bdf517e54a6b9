"""Element by element."""

from . import EXPORTS, FLOAT, exports, scaled, shifted


def _operator(caffe_type, op_type):
    EXPORTS[caffe_type] = lambda export: export.op(op_type, export.inputs[0])


_operator("Sigmoid", "Sigmoid")
_operator("TanH", "Tanh")
_operator("AbsVal", "Abs")
_operator("BNLL", "Softplus")


@exports("ReLU")
def _relu(export):
    slope = export.opt.negative_slope
    return (
        export.op("LeakyRelu", export.inputs[0], alpha=slope)
        if slope
        else export.op("Relu", export.inputs[0])
    )


@exports("PReLU")
def _prelu(export):
    behind = [1] * (len(export.shapes[0]) - 2)
    return export.op(
        "PRelu", export.inputs[0], export.param(0, "slope", lambda array: array.reshape(-1, *behind))
    )


@exports("ELU")
def _elu(export):
    return export.op("Elu", export.inputs[0], alpha=export.opt.alpha)


@exports("Power")
def _power(export):
    y = shifted(export, scaled(export, export.inputs[0], export.opt.scale), export.opt.shift)
    return y if export.opt.power == 1 else export.op("Pow", y, export.const(export.opt.power))


@exports("Exp")
def _exp(export):
    y = export.op("Exp", scaled(export, export.inputs[0], export.layer.log_base * export.opt.scale))
    return scaled(export, y, export.layer.factor)


@exports("Log")
def _log(export):
    y = export.op(
        "Log", shifted(export, scaled(export, export.inputs[0], export.opt.scale), export.opt.shift)
    )
    return scaled(export, y, 1 / export.layer.log_base)


@exports("Swish")
def _swish(export):
    return export.op(
        "Mul", export.inputs[0], export.op("Sigmoid", scaled(export, export.inputs[0], export.opt.beta))
    )


@exports("Clip")
def _clip(export):
    return export.op(
        "Clip", export.inputs[0], export.const(export.opt.min, "min"), export.const(export.opt.max, "max")
    )


@exports("Threshold")
def _threshold(export):
    return export.op(
        "Cast", export.op("Greater", export.inputs[0], export.const(export.opt.threshold)), to=FLOAT
    )
