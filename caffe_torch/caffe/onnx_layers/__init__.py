"""What each of Caffe's layer types becomes in ONNX: one function a type, in one registry, a family a file.

A function gets the layer (onnx_export.LayerExport), adds nodes and returns the value of its top, or a list
for several. A top may be the bottom's own value where nothing is computed.
"""

from ..layers import Source

EXPORTS: dict = {"Input": None}  # type -> the function that writes it
FLOAT, INT64, BOOL = 1, 7, 9  # onnx.TensorProto's numbers


def exports(*names):
    """Function decorator: it writes layers of these types."""

    def add(function):
        EXPORTS.update(dict.fromkeys(names, function))
        return function

    return add


def refusal(node) -> str:
    """Why a layer of another type is refused."""
    if isinstance(node.layer, Source):
        return "ONNX has no layers that read data: export the deploy net, whose data comes from Input layers"
    if node.layer.is_loss or node.layer.type == "Accuracy":
        return "losses and measures are not exported: export the deploy net, which has none"
    return f"this type cannot be exported; those that can are {', '.join(sorted(EXPORTS))}"


def scaled(export, x: str, factor: float) -> str:
    """`x` times a number."""
    return x if factor == 1 else export.op("Mul", x, export.const(factor))


def shifted(export, x: str, shift: float) -> str:
    """`x` plus a number."""
    return x if shift == 0 else export.op("Add", x, export.const(shift))


from . import arithmetic, filters, neuron, normalisation, pooling, shape  # noqa: E402, F401  (fill the registry)
