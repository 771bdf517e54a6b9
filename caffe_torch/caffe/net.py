"""A net: a NetParameter made into layers that run forward and backward over named blobs."""

import os
from collections import OrderedDict, namedtuple
from itertools import zip_longest

import numpy as np
import torch

from . import build_log, debug_info, device, fillers, glog, layers, upgrade
from .blob import Blob, Shared
from .proto import caffe_pb2
from .prototxt import LayerError, placed, prepared, read_prototxt

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


_FILTERS = ("Convolution", "Deconvolution", "InnerProduct")
_Parameter = namedtuple("_Parameter", "blob lr_mult decay_mult")


class Net:
    """A network in one phase.

    network_file: path of a prototxt, or a NetParameter. phase: TRAIN or TEST. weights: a .caffemodel or
    .caffemodel.h5 to load. level and stages: what include and exclude rules are held against, with the
    stages of the NetParameter's own state; level None leaves its level too.
    Also pycaffe's older form Net(network_file, weights, phase).

    ValueError names the layer and what is wrong with it; OSError a file that cannot be read.
    """

    def __init__(self, network_file, phase, level=0, stages=None, weights=None):
        if isinstance(phase, (str, os.PathLike)):
            weights, phase, level = phase, level, 0
        param, source = caffe_pb2.NetParameter(), None
        if isinstance(network_file, caffe_pb2.NetParameter):
            param.CopyFrom(network_file)
        else:
            source = os.fspath(network_file)
            read_prototxt(network_file, param)
        param.state.phase = phase
        if level is not None:
            param.state.level = level
        param.state.stage.extend(stages or ())
        self.phase, self.name = phase, param.name
        self.debug_info = param.debug_info  # whether each run logs what every layer makes
        try:
            upgrade.net(param, source)
            self._build(prepared(param))
        except ValueError as error:
            raise placed(error, source or "net", source) from None
        if glog.nets and glog.shows("I"):
            build_log.log(self, param)
        if weights is not None:
            self.copy_from(weights)

    # Building

    def _build(self, param):
        self._by_name, self._loss_weights = OrderedDict(), OrderedDict()
        self.layers, self._layer_names = [], []
        self._bottom_names, self._top_names = OrderedDict(), OrderedDict()
        self._params = OrderedDict()
        self._owned: list = []  # parameters that belong to a layer, in Caffe's order
        self._shared: dict = {}  # parameter name -> index into _owned
        self._given_rates: list = []  # for each layer, the lr_mult of its param entries
        self._layer_params: list = []  # for each layer, indices into _owned
        self._writers: dict = {}  # blob name -> type of the layer that wrote it last
        self._tape: dict = {}
        self._hooks = {f"{at}_{way}": [] for at in ("before", "after") for way in ("forward", "backward")}
        self._force_backward = param.force_backward
        if not param.layer:
            raise ValueError(f"no layers in phase {caffe_pb2.Phase.Name(self.phase)}")
        unread: dict = {}
        for spec in param.layer:
            try:
                self._add(spec, unread)
            except ValueError as error:
                raise LayerError(spec, error) from None
        self.outputs = sorted(unread)
        self.inputs = [
            top for layer in self.layers if isinstance(layer, layers.input.Input) for top in layer.spec.top
        ]
        self._plan_backward()

    def _add(self, spec, unread):
        # As they are given: that BatchNorm's statistics are not learned is no concern of the backward plan.
        self._given_rates.append([param.lr_mult for param in spec.param])
        if not spec.HasField("phase"):
            spec.phase = self.phase
        layer = layers.create(spec, spec.phase)
        unnamed = layer.is_loss and not spec.top
        if unnamed:
            spec.top.append(f"(automatic) {spec.name}" if "(automatic)" in self._by_name else "(automatic)")
        self._check_counts(layer)
        if spec.name in self._bottom_names:
            raise ValueError("another layer has the same name")
        for bottom in spec.bottom:
            unread.pop(bottom, None)
        for j, top in enumerate(spec.top):
            in_place = j < len(spec.bottom) and spec.bottom[j] == top
            if in_place and not layer.in_place:
                raise ValueError(f"cannot work in place: top {top!r} needs another name than the bottom")
            if top in self._by_name and not in_place:
                raise ValueError(f"top {top!r} is already the top of another layer")
            self._by_name.setdefault(top, Blob())
            if not unnamed:
                unread[top] = True
        # A filter layer's output is its own memory; others may hand on a view of their bottom.
        in_place = spec.top[:1] == spec.bottom[:1]
        layer.overwrites = in_place and self._writers.get(spec.bottom[0]) in _FILTERS
        self._writers.update((top, layer.type) for top in spec.top)
        wanted = layer.param_shapes(*(self._by_name[name].shape for name in spec.bottom))
        self._layer_params.append([self._parameter(layer, i, *asked) for i, asked in enumerate(wanted)])
        layer.blob_shapes = [tuple(shape) for shape, _ in wanted]
        owners = [self._owned[i].blob for i in self._layer_params[-1]]
        layer.blobs = [
            owner if owner.shape == shape else Shared(owner, shape)
            for owner, shape in zip(owners, layer.blob_shapes, strict=True)
        ]
        if len(spec.param) > len(layer.blobs):
            raise ValueError(f"{len(spec.param)} param entries for {len(layer.blobs)} parameters")
        if layer.blobs:
            self._params[spec.name] = layer.blobs
        self.layers.append(layer)
        self._layer_names.append(spec.name)
        self._bottom_names[spec.name], self._top_names[spec.name] = (
            list(spec.bottom),
            list(spec.top),
        )
        weights = layer.loss_weights()
        if layer.is_loss:
            spec.loss_weight[:] = weights
        self._loss_weights.update((top, w) for top, w in zip(spec.top, weights, strict=True) if w)
        self._shape(len(self.layers) - 1)

    @staticmethod
    def _check_counts(layer):
        for what, given, (least, most) in (
            ("bottom", len(layer.spec.bottom), layer.bottom_count),
            ("top", len(layer.spec.top), layer.top_count),
        ):
            if given < least or (most is not None and given > most):
                wanted = f"{least}" if least == most else f"{least} to {most or 'any number'}"
                raise ValueError(f"has {given} {what}s, needs {wanted}")

    def _parameter(self, layer, i, shape, filler):
        """Index of the layer's i-th parameter, made and filled, or shared by its name."""
        spec = layer.spec.param[i] if i < len(layer.spec.param) else caffe_pb2.ParamSpec()
        if spec.name and spec.name in self._shared:
            index = self._shared[spec.name]
            owner = self._owned[index]
            permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
            if permissive and owner.blob.count != torch.Size(shape).numel():
                raise ValueError(f"parameter {spec.name!r} has another count where it is first used")
            if not permissive and owner.blob.shape != tuple(shape):
                raise ValueError(
                    f"parameter {spec.name!r} has the shape {tuple(shape)} here and "
                    f"{owner.blob.shape} where it is first used"
                )
            for name in ("lr_mult", "decay_mult"):
                ours, theirs = getattr(spec, name), getattr(owner, name)
                if spec.HasField(name) and theirs is not None and theirs != ours:
                    raise ValueError(f"shared parameter {spec.name!r} has two values of {name}")
                if spec.HasField(name):
                    owner = owner._replace(**{name: ours})
            self._owned[index] = owner
            return index
        blob = Blob(shape)
        blob.tensor = fillers.fill(filler, shape).to(device.device())
        self._owned.append(
            _Parameter(
                blob,
                spec.lr_mult if spec.HasField("lr_mult") else None,
                spec.decay_mult if spec.HasField("decay_mult") else None,
            )
        )
        index = len(self._owned) - 1
        if spec.name:
            self._shared[spec.name] = index
        return index

    def _layer_blobs(self, i):
        spec = self.layers[i].spec
        return [self._by_name[b] for b in spec.bottom], [self._by_name[t] for t in spec.top]

    def _shape(self, i):
        """Give the tops of layer i their shapes."""
        layer = self.layers[i]
        bottoms, tops = self._layer_blobs(i)
        shapes = layer.top_shapes(*(blob.shape for blob in bottoms))
        for name, blob, shape in zip(layer.spec.top, tops, shapes, strict=True):
            blob.reshape(*shape)
            if name in self._loss_weights:  # what the gradient of the loss with respect to it is
                blob.grad.fill_(self._loss_weights[name])

    def _plan_backward(self):
        """Which layers and bottoms gradients are computed for, by Caffe's rules."""
        self._needs = []  # for each layer: (bottoms, parameters) that need a gradient
        needed = {}
        for layer, rates in zip(self.layers, self._given_rates, strict=True):
            given = list(layer.spec.propagate_down)
            if len(given) not in (0, len(layer.spec.bottom)):
                raise LayerError(layer.spec, "propagate_down needs a value for each bottom")
            bottoms = given or [needed[name] for name in layer.spec.bottom]
            params = [i >= len(rates) or rates[i] != 0 for i in range(len(layer.blobs))]
            self._needs.append((bottoms, params))
            for top in layer.spec.top:
                needed[top] = needed.get(top, False) or any(bottoms) or any(params)
        self._runs_backward = [False] * len(self.layers)
        under_loss, unasked = set(self._loss_weights), set()  # blobs; unasked: their reader sends no gradient
        for i in reversed(range(len(self.layers))):
            spec, (bottoms, params) = self.layers[i].spec, self._needs[i]
            matters = not under_loss.isdisjoint(spec.top)
            if not matters or unasked.issuperset(spec.top):
                bottoms[:] = [False] * len(bottoms)
            else:
                self._runs_backward[i] = any(bottoms) or any(params)
            if matters:
                under_loss.update(spec.bottom)
            unasked.update(name for name, need in zip(spec.bottom, bottoms, strict=True) if not need)
        self.needs_backward = list(self._runs_backward)  # without force_backward
        if self._force_backward:
            for i, (layer, (bottoms, params)) in enumerate(zip(self.layers, self._needs, strict=True)):
                bottoms[:] = [need or j not in layer.no_gradient for j, need in enumerate(bottoms)]
                params[:] = [True] * len(params)
                self._runs_backward[i] = any(bottoms) or any(params)

    # What a program sees (pycaffe's names)

    @property
    def blobs(self) -> OrderedDict:
        """Blobs by name, in the order the layers make them."""
        return self._by_name

    @property
    def params(self) -> OrderedDict:
        """Lists of parameter blobs (weights, bias) by layer name."""
        return self._params

    @property
    def layer_names(self) -> list:
        """Names of the layers, in their order."""
        return self._layer_names

    @property
    def layer_dict(self) -> OrderedDict:
        """Layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> OrderedDict:
        """Names of the top blobs by layer name."""
        return self._top_names

    @property
    def bottom_names(self) -> OrderedDict:
        """Names of the bottom blobs by layer name."""
        return self._bottom_names

    @property
    def blob_loss_weights(self) -> OrderedDict:
        """The loss weight of every blob by name (0 for most)."""
        return OrderedDict((name, self._loss_weights.get(name, 0.0)) for name in self._by_name)

    # What pycaffe's own Python is written with, and with it many scripts: blobs by number

    @property
    def _blobs(self):
        return list(self._by_name.values())

    @property
    def _blob_names(self):
        return list(self._by_name)

    @property
    def _blob_loss_weights(self):
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self):
        return self._ids(self.inputs)

    @property
    def _outputs(self):
        return self._ids(self.outputs)

    def _top_ids(self, i):
        return self._ids(self.layers[i].spec.top)

    def _bottom_ids(self, i):
        return self._ids(self.layers[i].spec.bottom)

    def _ids(self, names):
        return list(map(self._blob_names.index, names))

    def _forward(self, start, end):
        """Run the layers from number `start` to `end`; the weighted sum of their losses."""
        self._run(start, end)
        return self._loss(top for layer in self.layers[start : end + 1] for top in layer.spec.top).item()

    # What the solver sees

    @property
    def loss_weights(self) -> OrderedDict:
        """Blob name -> loss weight, for the blobs that have one."""
        return self._loss_weights

    @property
    def learnable_params(self) -> list:
        """Every parameter once, shared ones too, in the order of the layers."""
        return [param.blob for param in self._owned]

    @property
    def params_lr(self) -> list:
        """lr_mult of each learnable parameter."""
        return [1.0 if p.lr_mult is None else p.lr_mult for p in self._owned]

    @property
    def params_weight_decay(self) -> list:
        """decay_mult of each learnable parameter."""
        return [1.0 if p.decay_mult is None else p.decay_mult for p in self._owned]

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for param in self._owned:
            param.blob.clear_grad()

    @property
    def source_blobs(self) -> list:
        """The blobs that data is brought into."""
        return [self._by_name[top] for layer in self._sources() for top in layer.spec.top]

    def _sources(self):
        return [layer for layer in self.layers if isinstance(layer, layers.Source)]

    def load(self) -> None:
        """Bring in the next batch, for `forward_loss(load=False)`."""
        for layer in self._sources():
            for top, tensor in zip(layer.spec.top, layer.load(), strict=False):  # Input loads nothing
                self._by_name[top].tensor = tensor

    def forward_loss(self, load=True) -> torch.Tensor:
        """Run every layer; the weighted sum of the losses as a 0-d tensor (nothing is synchronised).

        load: bring in the next batch first.
        """
        self._run(0, len(self.layers) - 1, load)
        return self._loss(self._loss_weights)

    def _loss(self, names):
        total = torch.zeros((), device=device.device())
        for name in names:
            if name in self._loss_weights:
                total += self._loss_weights[name] * self._by_name[name].tensor.float().sum()
        return total

    def backward_once(self) -> None:
        """Gradients of all parameters, after `forward_loss`; frees what the layers had kept for it."""
        self._backward(len(self.layers) - 1, 0, keep=False)
        if self.debug_info:
            debug_info.norms(self)

    # Running

    @property
    def has_hooks(self) -> bool:
        """Whether something is to be called between the layers."""
        return any(self._hooks.values())

    def before_forward(self, function) -> None:
        """Call `function(index of the layer)` before every layer that runs forward, from now on."""
        self._hooks["before_forward"].append(function)

    def after_forward(self, function) -> None:
        """Call `function(index of the layer)` after every layer that runs forward, from now on."""
        self._hooks["after_forward"].append(function)

    def before_backward(self, function) -> None:
        """Call `function(index of the layer)` before the gradients of every layer, needed or not."""
        self._hooks["before_backward"].append(function)

    def after_backward(self, function) -> None:
        """Call `function(index of the layer)` after the gradients of every layer, needed or not."""
        self._hooks["after_backward"].append(function)

    def _call(self, when, i):
        for function in self._hooks[when]:
            function(i)

    def _run(self, start, end, load=True):
        recording = torch.is_grad_enabled()
        with device.autocast():
            for i in range(start, end + 1):
                layer = self.layers[i]
                bottoms, tops = self._layer_blobs(i)
                self._tape.pop(i, None)
                self._call("before_forward", i)
                if isinstance(layer, layers.Source):
                    results = layer.load() if load else []
                elif recording and self._runs_backward[i]:
                    results = self._recorded(i, layer, bottoms)
                else:
                    with torch.no_grad():
                        results = self._named(layer, layer.params(), [b.tensor for b in bottoms])
                for blob, result in zip(tops, results, strict=False):  # a source may have loaded nothing
                    blob.tensor = result
                if self.debug_info:
                    debug_info.forward(self, i)
                self._call("after_forward", i)
        for i in range(start, end + 1):
            for blob in *self._layer_blobs(i)[1], *self.layers[i].blobs:
                blob.show()

    @staticmethod
    def _named(layer, params, inputs):
        try:
            return layer.run(params, inputs)
        except ValueError as error:
            raise ValueError(f"layer {layer.spec.name!r} ({layer.type}): {error}") from None

    def _recorded(self, i, layer, bottoms):
        need_bottoms, need_params = self._needs[i]
        inputs = [
            blob.tensor.detach().requires_grad_(need)
            for blob, need in zip(bottoms, need_bottoms, strict=True)
        ]
        params = [
            tensor.detach().requires_grad_(need)
            for tensor, need in zip(layer.params(), need_params, strict=True)
        ]
        results = self._named(layer, params, inputs)
        self._tape[i] = inputs, params, results
        return results

    def _backward(self, start, end, keep=True):
        """Gradients from layer `start` down to `end`; `keep` lets it be called again."""
        for i in range(start, end - 1, -1):
            self._call("before_backward", i)
            if self._runs_backward[i]:
                self._layer_backward(i, keep)
                if self.debug_info:
                    debug_info.backward(self, i)
            self._call("after_backward", i)
        for i in range(start, end - 1, -1):
            for blob in *self._layer_blobs(i)[0], *self.layers[i].blobs:
                blob.show(diff=True)

    def _layer_backward(self, i, keep):
        if i not in self._tape:
            raise ValueError(f"layer {self._layer_names[i]!r}: backward needs a forward before it")
        for j in self.layers[i].no_gradient:
            if self._needs[i][0][j]:
                name = self.layers[i].spec.bottom[j]
                raise ValueError(
                    f"layer {self._layer_names[i]!r} ({self.layers[i].type}) sends no gradient to "
                    f"{name!r}, which has parameters below it: say so by propagate_down"
                )
        inputs, params, results = self._tape[i] if keep else self._tape.pop(i)
        bottoms, tops = self._layer_blobs(i)
        outputs = [(r, t.grad) for r, t in zip(results, tops, strict=True) if r.requires_grad]
        wanted = [(t, b, True) for t, b in zip(params, self.layers[i].blobs, strict=True)]
        wanted += [(t, b, False) for t, b in zip(inputs, bottoms, strict=True)]
        wanted = [w for w in wanted if w[0].requires_grad]
        above = [g.to(r.dtype).reshape(r.shape) for r, g in outputs]
        grads = [None] * len(wanted)
        if outputs:
            grads = torch.autograd.grad(
                [r for r, _ in outputs],
                [t for t, _, _ in wanted],
                above,
                retain_graph=keep,
                allow_unused=True,
            )
        memory = {g.untyped_storage().data_ptr() for g in above}
        for (tensor, blob, is_param), grad in zip(wanted, grads, strict=True):
            grad = torch.zeros_like(tensor) if grad is None else grad
            if not is_param:
                blob.grad = grad
            elif grad.untyped_storage().data_ptr() in memory:  # the solver will change it in place
                blob.accumulate_grad(grad.clone())
            else:
                blob.accumulate_grad(grad)

    def _range(self, start, end, backward=False):
        """Layer indices from layer names, pycaffe's way; None stands for the net's own ends."""
        first, last = (len(self.layers) - 1, 0) if backward else (0, len(self.layers) - 1)
        for name in (start, end):
            if name is not None and name not in self._bottom_names:
                raise ValueError(f"the net has no layer {name!r}")
        index = self._layer_names.index
        return first if start is None else index(start), last if end is None else index(end)

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Run the net and return {blob name: array} of its outputs.

        blobs: names of further blobs to return. start, end: names of the first and last layer to
        run. kwargs: arrays for the input blobs, all of them.
        """
        first, last = self._range(start, end)
        wanted = list(self._top_names[end]) if end is not None else list(self.outputs)
        if kwargs:
            if set(kwargs) != set(self.inputs):
                raise ValueError(f"inputs given: {sorted(kwargs)}; the net's inputs: {self.inputs}")
            for name, array in kwargs.items():
                rows, takes = (shape[:1] or ("no",) for shape in (np.shape(array), self._by_name[name].shape))
                if rows != takes:
                    raise ValueError(f"input {name!r}: {rows[0]} rows given, the net takes {takes[0]}")
                _put(array, self._by_name[name].data, f"input {name!r}")
        self._run(first, last)
        return {name: self._by_name[name].data for name in dict.fromkeys([*wanted, *(blobs or [])])}

    def backward(self, diffs=None, start=None, end=None, **kwargs):
        """Run the net backward and return {blob name: gradient} of its inputs.

        diffs: names of further blobs to return gradients of. start, end: names of the layers to
        begin and stop at. kwargs: gradients for the output blobs (losses have theirs already).
        """
        first, last = self._range(start, end, backward=True)
        wanted = list(self._bottom_names[end]) if end is not None else list(self.inputs)
        if kwargs:
            outputs = self.outputs if start is None else self._top_names[start]
            if set(kwargs) != set(outputs):
                raise ValueError(f"gradients given: {sorted(kwargs)}; the outputs: {outputs}")
            for name, array in kwargs.items():
                _put(array, self._by_name[name].diff, f"gradient of {name!r}")
        self._backward(first, last)
        return {name: self._by_name[name].diff for name in dict.fromkeys([*wanted, *(diffs or [])])}

    def forward_all(self, blobs=None, **kwargs):
        """`forward` for any number of rows, a batch of the net's size at a time: {blob name: array}."""
        rows = _rows(kwargs)
        return _joined([_copied(self.forward(blobs, **batch)) for batch in self._batches(kwargs)], rows)

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """`forward` and `backward` for any number of rows: ({blob: array}, {blob: gradient}) of all.

        kwargs: arrays for the input blobs, and gradients for the output blobs.
        """
        rows = _rows(kwargs)
        inputs = {name: array for name, array in kwargs.items() if name in self.inputs}
        outputs = {name: array for name, array in kwargs.items() if name not in self.inputs}
        forward, backward = [], []
        for below, above in zip_longest(self._batches(inputs), self._batches(outputs), fillvalue={}):
            forward.append(_copied(self.forward(blobs, **below)))
            backward.append(_copied(self.backward(diffs, **above)))
        return _joined(forward, rows), _joined(backward, rows)

    def _batches(self, arrays):
        """Rows of the arrays, as many at a time as the net's first blob has; zeros fill the last."""
        if not arrays:
            return
        size, rows = next(iter(self._by_name.values())).shape[0], len(next(iter(arrays.values())))
        for start in range(0, rows, size):
            batch = {name: np.asarray(array[start : start + size]) for name, array in arrays.items()}
            missing = size - len(next(iter(batch.values())))
            yield {n: np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for n, a in batch.items()}

    def set_input_arrays(self, data, labels):
        """Take the batches of the first layer, a MemoryData layer, from the rows of two float32 arrays."""
        if self.layers[0].type != "MemoryData":
            raise ValueError(
                "set_input_arrays: the first layer is not MemoryData; use Input layers and forward(**arrays)"
            )
        self.layers[0].set_arrays(data, labels)

    def reshape(self) -> None:
        """Work out all shapes anew after input blobs were given others."""
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, layers.Source):
                try:
                    self._shape(i)
                except ValueError as error:
                    raise ValueError(f"layer {layer.spec.name!r} ({layer.type}): {error}") from None

    # Weights

    def share_with(self, other) -> None:
        """Use the parameters of the layers of the same names in `other`, now and from then on."""
        for i, layer in enumerate(self.layers):
            theirs = other.params.get(layer.spec.name)
            if theirs is None:
                continue
            given, wanted = ([blob.shape for blob in blobs] for blobs in (theirs, layer.blobs))
            if given != wanted:
                raise ValueError(
                    f"layer {layer.spec.name!r}: no parameters to share: their shapes are {wanted}, "
                    f"in the other net {given}"
                )
            for index, blob in zip(self._layer_params[i], theirs, strict=True):
                self._owned[index] = self._owned[index]._replace(blob=blob.owner)
            layer.blobs[:] = theirs

    share_trained_layers_with = share_with

    def copy_trained_from(self, source) -> None:
        """Copy the parameters of layers of the same names from a NetParameter or a weights file."""
        from . import snapshot

        if not isinstance(source, caffe_pb2.NetParameter):
            snapshot.load_weights(self, source)
            return
        for stored in source.layer:
            blobs = self._params.get(stored.name)
            if stored.name not in self._bottom_names and glog.nets:
                glog.info(f"Ignoring source layer {stored.name}")
            if blobs is None or not stored.blobs:
                continue
            if len(stored.blobs) != len(blobs):
                raise ValueError(
                    f"layer {stored.name!r}: {len(stored.blobs)} parameters stored, the net has {len(blobs)}"
                )
            for i, (blob, proto) in enumerate(zip(blobs, stored.blobs, strict=True)):
                try:
                    blob.from_proto(proto)
                except ValueError as error:
                    raise ValueError(f"layer {stored.name!r}, parameter {i}: {error}") from None

    copy_from = copy_trained_from

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.NetParameter:
        """The net with its parameters, as a .caffemodel holds it."""
        param = caffe_pb2.NetParameter(name=self.name)
        for layer in self.layers:
            spec = param.layer.add()
            spec.CopyFrom(layer.spec)
            spec.top[:] = [top for top in spec.top if not top.startswith("(automatic)")]
            del spec.blobs[:]
            spec.blobs.extend(blob.to_proto(write_diff) for blob in layer.blobs)
        return param

    def save(self, path) -> None:
        """Write the net and its parameters as a .caffemodel."""
        from . import snapshot

        snapshot.save_caffemodel(self, path)

    def save_hdf5(self, path) -> None:
        """Write the parameters in Caffe's HDF5 form."""
        from . import snapshot

        snapshot.save_hdf5(self, path)

    def load_hdf5(self, path) -> None:
        """Read parameters written by `save_hdf5`, here or by Caffe."""
        from . import snapshot

        snapshot.load_hdf5(self, path)


def _put(array, memory, what):
    try:
        memory[...] = array
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def _rows(arrays):
    """How many rows the arrays have; ValueError for none."""
    rows = len(next(iter(arrays.values()), ()))
    if not rows:
        raise ValueError("no rows given")
    return rows


def _copied(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def _joined(batches, rows):
    return {name: np.concatenate([batch[name] for batch in batches])[:rows] for name in batches[0]}
