"""Nets written in Python, as in pycaffe: caffe.layers (L), caffe.params (P), NetSpec.

n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 4, 50, 50]))
n.conv = L.Convolution(n.data, num_output=64, kernel_size=5, weight_filler=dict(type="msra"))
n.relu = L.ReLU(n.conv, in_place=True)
print(n.to_proto())
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from .proto import caffe_pb2


def param_name_dict() -> dict:
    """{layer type: the field of LayerParameter that holds its settings, without `_param`}."""
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return {
        field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param")
        for field in fields
        if field.name.endswith("_param")
    }


_PARAM_NAMES = param_name_dict()


def assign_proto(message, name: str, value) -> None:
    """Set message.name; a dict stands for a message and a list for a repeated field."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f"{message.DESCRIPTOR.name} has no field {name!r}")
    repeated = hasattr(getattr(message, name), "extend")
    if repeated and not isinstance(value, (list, tuple)):
        value = [value]
    if repeated and field.message_type is not None:
        for item in value:
            _fill(getattr(message, name).add(), item)
    elif repeated:
        getattr(message, name).extend(value)
    elif isinstance(value, dict):
        _fill(getattr(message, name), value)
    elif field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _fill(message, values):
    message.SetInParent()
    if not isinstance(values, dict):
        message.CopyFrom(values)
        return
    for name, value in values.items():
        assign_proto(message, name, value)


class Top:
    """An output of a layer that is not part of a net yet."""

    def __init__(self, function, n):
        self.fn, self.n = function, n

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Write the net that ends in this top."""
        return to_proto(self)


class Function:
    """A layer and its inputs."""

    def __init__(self, type_name, inputs, params):
        self.type_name, self.inputs, self.params = type_name, inputs, dict(params)
        for i, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(top)})")
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def write(self, written, names, counts):
        """Add the layers below and this one to `written` ({function: LayerParameter}), each once.

        names: {top or function: name}; counts: of the layers without a given name, by type.
        """
        if self in written:
            return
        for top in self.inputs:
            top.fn.write(written, names, counts)
        layer = caffe_pb2.LayerParameter(type=self.type_name)
        layer.bottom.extend(written[top.fn].top[top.n] for top in self.inputs)
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(_name(top, self.type_name, names, counts) for top in self.tops)
        layer.name = _name(self.tops[0] if self.tops else self, self.type_name, names, counts)
        settings_field = f"{_PARAM_NAMES[self.type_name]}_param" if self.type_name in _PARAM_NAMES else None
        for name, value in self.params.items():
            if (
                settings_field
                and not name.endswith("param")
                and hasattr(getattr(layer, settings_field), name)
            ):
                assign_proto(getattr(layer, settings_field), name, value)
            else:
                assign_proto(layer, name, value)
        written[self] = layer


def _name(item, type_name, names, counts):
    """The name that a top was assigned to, or its layer type and a number."""
    if item not in names:
        counts[type_name] += 1
        names[item] = f"{type_name}{counts[type_name]}"
    return names[item]


class Layers:
    """caffe.layers: L.Convolution(bottom, num_output=64) and so on return the top, or a tuple of tops.

    Keywords are the layer's settings, the fields of LayerParameter, `ntop` (the number of tops, 1 by default)
    and `in_place`.
    """

    def __getattr__(self, type_name):
        def tops(*bottoms, **settings):
            function = Function(type_name, bottoms, settings)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        return tops


class Parameters:
    """caffe.params: the named values of the layers' settings, such as P.Pooling.MAX."""

    def __getattr__(self, type_name):
        return getattr(caffe_pb2, f"{type_name}Parameter")


class NetSpec:
    """A net whose layers and tops have the names of the attributes that they are assigned to."""

    def __init__(self):
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name, value):
        self.tops[name] = value

    def __getattr__(self, name):
        if name not in self.tops:
            raise AttributeError(f"the net has no layer {name!r}")
        return self.tops[name]

    __setitem__ = __setattr__

    def __getitem__(self, name):
        return self.tops[name]

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Write the net as a NetParameter. Its str() is a prototxt."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def to_proto(*tops) -> caffe_pb2.NetParameter:
    """Write the net that ends in these tops, with names made from the layer types."""
    return _net(tops, {})


def _net(tops, names):
    written, counts = OrderedDict(), Counter()
    for top in tops:
        (top.fn if isinstance(top, Top) else top).write(written, names, counts)
    return caffe_pb2.NetParameter(layer=written.values())


layers, params = Layers(), Parameters()
