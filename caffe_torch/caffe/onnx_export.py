"""A net as an ONNX model: `caffe export`.

The graph is written from the net's layers and parameters; onnx_layers/ has what each type becomes. Height
and width are free where the net runs at other sizes. onnx is imported when a net is exported: it is no
dependency of this package.
"""

from __future__ import annotations

import os

import numpy as np

from . import __version__, atomic_files, onnx_layers
from .layers.input import Input
from .net import TEST, Net

# The oldest opset whose Softmax is along one axis, as Caffe's is. What is older is read by more runtimes:
# ONNX Runtime, OpenCV 4 and 5 and pnnx all read this one.
OPSET = 13
IR_VERSION = 7  # of onnx 1.8, which brought opset 13
MAX_BYTES = 2**31 - 1  # what a protobuf message holds


class _FixedSizeError(Exception):
    """A layer needs a size that is free."""


def export(model, weights, output, level=0, stages=None) -> None:
    """Write a deploy net and its weights as an ONNX model.

    Args:
        model: path of the prototxt. weights: paths of .caffemodel or .caffemodel.h5 files, loaded in order.
        output: path of the .onnx file; it is written whole or not at all.
        level, stages: as for `Net`.
    Raises: ValueError for a layer that ONNX cannot express or where onnx is not installed; OSError for a
        file that cannot be read or written.
    """
    _onnx()
    net = Net(os.fspath(model), TEST, level, stages)
    for path in weights:
        net.copy_from(path)
    try:
        content = to_onnx(net).SerializeToString()
    except ValueError as error:
        raise ValueError(f"{os.fspath(model)}: {error}") from None
    atomic_files.write(output, content)


def to_onnx(net: Net):
    """The ONNX model of a net in phase TEST, checked by onnx.

    Names of blobs and layers are kept; where layers work in place, the last has the blob's name. Height and
    width of inputs of 4 axes are free where the net runs at other sizes, else all sizes are the net's.

    Returns: an onnx.ModelProto with float32 inputs and outputs.
    Raises: ValueError for a layer that ONNX cannot express, by name and type, or where onnx is not installed.
    """
    onnx = _onnx()
    if sum(4 * blob.count for blob in net.learnable_params) > MAX_BYTES - 2**20:
        raise ValueError("the parameters are more than the 2 GB that an ONNX file holds")
    for node in net.nodes:
        if node.layer.type not in onnx_layers.EXPORTS:
            raise node.error(onnx_layers.refusal(node))
    if net.phase != TEST:
        raise ValueError("a net of phase TEST can be exported, this one is of phase TRAIN")
    if not net.outputs:
        raise ValueError("the net has no output")
    model = None
    for scales in (((1, 1), (2, 3), (3, 2)), ((1, 1),) * 3):
        try:
            sizes = _Sizes(net, scales)
            model = _Graph(net, sizes).model(onnx)
            break
        except _FixedSizeError:
            continue
    if model is None:
        raise ValueError("a layer needs a number of rows that a Filter decides when it runs")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx refuses the model: {' '.join(str(error).split())}") from None
    return model


def _onnx():
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError:
        raise ValueError("caffe export needs onnx: pip install './caffe_torch[onnx]'") from None
    return onnx


class _Sizes:
    """The shapes of all tops, with None for a size that is free.

    The net is run through three times, shapes only, with inputs of other heights and widths. A size that
    changes is free.

    Attributes: tops: a list for each node, with the shape of each top. names: the names of the free sizes, by
        blob name and axis.
    """

    def __init__(self, net, scales):
        probes = [_run_shapes(net, scale, rows) for rows, scale in enumerate(scales)]
        together = zip(*probes, strict=True)
        self.tops = [[_merge(shapes) for shapes in zip(*tops, strict=True)] for tops in together]
        self.names: dict = {}
        names_by_size: dict = {}  # (size in each probe) -> name
        for node, *tops in zip(net.nodes, *probes, strict=True):
            for blob, *shapes in zip(node.layer.spec.top, *tops, strict=True):
                for axis, values in enumerate(zip(*shapes, strict=True)):
                    if len(set(values)) == 1:
                        continue
                    name = {2: "height", 3: "width"}.get(axis, f"axis{axis}")
                    if not names_by_size.get(values):
                        free = isinstance(node.layer, Input) and name not in names_by_size.values()
                        names_by_size[values] = name if free else f"{blob}_{name}"
                    self.names[blob, axis] = names_by_size[values]


def _merge(shapes):
    return tuple(values[0] if len(set(values)) == 1 else None for values in zip(*shapes, strict=True))


def _run_shapes(net, scale, more_rows):
    """The shapes of the tops of every node with the heights and widths of the inputs times `scale`."""
    current, result = {}, []
    for node in net.nodes:
        spec = node.layer.spec
        if isinstance(node.layer, Input):
            tops = [_scaled(blob.shape, scale) for blob in node.tops]
        else:
            try:
                tops = node.layer.top_shapes(*(current[name] for name in spec.bottom))
            except ValueError:
                raise _FixedSizeError from None
        if node.layer.type == "Filter":  # only a forward pass knows how many rows it leaves
            tops = [(shape[0] + more_rows, *shape[1:]) for shape in tops]
        tops = [tuple(shape) for shape in tops]
        current.update(zip(spec.top, tops, strict=True))
        result.append(tops)
    return result


def _scaled(shape, scale):
    if len(shape) != 4:
        return shape
    return (*shape[:2], *(n if n == 1 else n * factor for n, factor in zip(shape[2:], scale, strict=True)))


class _Graph:
    """The ONNX graph of a net in the making: nodes in their order, and initializers by name."""

    def __init__(self, net, sizes):
        self.net, self.sizes = net, sizes
        self.nodes: list = []
        self.initializers: dict = {}  # name -> array
        self.producers: dict = {}  # value -> the node that makes it
        self.shared: dict = {}  # a parameter -> the initializer that holds it
        self.values = {name: name for name in net.inputs}  # blob name -> the value it has now
        self.shapes: dict = {}  # blob name -> shape
        self.taken = set(net.blobs)

    def unique(self, name) -> str:
        """`name`, with a number behind it where it is taken."""
        unique, count = name, 1
        while unique in self.taken:
            count += 1
            unique = f"{name}_{count}"
        self.taken.add(unique)
        return unique

    def model(self, onnx):
        """The model. _FixedSizeError where a layer needs a size that is free."""
        for node, tops in zip(self.net.nodes, self.sizes.tops, strict=True):
            self._add(onnx, node, tops)
        self._name_blobs()
        self._add_outputs(onnx)
        self._remove_unused()
        helper = onnx.helper
        graph = helper.make_graph(
            self.nodes,
            self.net.name or "net",
            [self._value_info(helper, name) for name in self.net.inputs],
            [self._value_info(helper, name) for name in self.net.outputs],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.initializers.items()],
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="caffe_torch",
            producer_version=__version__,
        )

    def _add(self, onnx, node, top_shapes):
        spec = node.layer.spec
        if not isinstance(node.layer, Input):
            layer = LayerExport(self, onnx.helper, node, top_shapes)
            try:
                results = onnx_layers.EXPORTS[node.layer.type](layer)
            except ValueError as error:
                raise node.error(error) from None
            if layer.nodes:
                layer.nodes[-1].name = spec.name
            if isinstance(results, str):
                results = [results]
            self.values.update(zip(spec.top, results, strict=True))
        self.shapes.update(zip(spec.top, top_shapes, strict=True))

    def _name_blobs(self):
        """Give the value that a blob has at the end the blob's name."""
        renamed: dict = {}
        for blob, value in self.values.items():
            if value in self.producers and value not in renamed and blob not in self.net.inputs:
                renamed[value] = blob
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]
        self.values = {blob: renamed.get(value, value) for blob, value in self.values.items()}

    def _add_outputs(self, onnx):
        for name in self.net.outputs:
            if self.values[name] == name:
                continue
            if name in self.net.inputs:
                raise ValueError(f"output {name!r} is an input that a layer changes in place: rename its top")
            self.nodes.append(onnx.helper.make_node("Identity", [self.values[name]], [name], name))

    def _remove_unused(self):
        needed, kept = set(self.net.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.initializers = {name: array for name, array in self.initializers.items() if name in needed}

    def _value_info(self, helper, name):
        shape = [
            self.sizes.names[name, axis] if size is None else size
            for axis, size in enumerate(self.shapes[name])
        ]
        return helper.make_tensor_value_info(name, 1, shape)


class LayerExport:
    """A layer as the functions of onnx_layers/ see it.

    Attributes: layer: caffe_torch's layer, with its settings. inputs: the ONNX values of its bottoms. shapes
        and top_shapes: the shapes of bottoms and tops, None for a free size.
    """

    def __init__(self, graph, helper, node, top_shapes):
        self.graph, self.helper, self.node = graph, helper, node
        self.layer, self.opt, self.name = node.layer, node.layer.opt, node.layer.spec.name
        spec = node.layer.spec
        self.inputs = [graph.values[name] for name in spec.bottom]
        self.shapes = [graph.shapes[name] for name in spec.bottom]
        self.top_shapes, self.nodes = top_shapes, []
        self.tops = list(spec.top)

    def op(self, op_type: str, *inputs: str, outputs: int | None = None, **attributes):
        """Add a node; the name of its output, or a list of names where `outputs` says how many."""
        names = [self.graph.unique(f"{self.name}/{op_type}") for _ in range(outputs or 1)]
        node = self.helper.make_node(op_type, list(inputs), names, names[0], **attributes)
        self.nodes.append(node)
        self.graph.nodes.append(node)
        self.graph.producers.update(dict.fromkeys(names, node))
        return names[0] if outputs is None else names

    def const(self, values, name="constant", dtype=np.float32) -> str:
        """An initializer of this layer."""
        name = self.graph.unique(f"{self.name}.{name}")
        self.graph.initializers[name] = np.ascontiguousarray(values, dtype)
        return name

    def ints(self, values, name="ints") -> str:
        """An int64 initializer."""
        return self.const(values, name, np.int64)

    def array(self, i: int) -> np.ndarray:
        """The layer's parameter number `i`."""
        return self.layer.params()[i].detach().cpu().float().numpy()

    def param(self, i: int, name: str, change=lambda array: array) -> str:
        """Parameter `i`, changed, as an initializer that layers with the same parameter share."""
        array = np.ascontiguousarray(change(self.array(i)))
        constants = self.graph.shared.setdefault(id(self.node.parameters[i]), [])
        for constant in constants:
            if np.array_equal(self.graph.initializers[constant], array):
                return constant
        constants.append(self.const(array, name))
        return constants[-1]

    def fixed(self, j: int, *axes: int) -> list:
        """The sizes of bottom `j` along `axes`, which must not be free."""
        sizes = [self.shapes[j][axis] for axis in axes]
        if None in sizes:
            raise _FixedSizeError
        return sizes

    def sizes(self, j: int, axes) -> str:
        """An int64 value with the sizes of bottom `j` along `axes`."""
        sizes = [self.shapes[j][axis] for axis in axes]
        if None not in sizes:
            return self.ints(sizes)
        return self.op("Gather", self.op("Shape", self.inputs[j]), self.ints(list(axes)), axis=0)
