"""A net as pycaffe shows it: layers and blobs by name and index, hooks between layers, rows in batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import zip_longest

import numpy as np

from .blob import Blob
from .node import Node

HOOKS = ("before_forward", "after_forward", "before_backward", "after_backward")


class PycaffeNames:
    """The part of `Net` that describes it to scripts. Many use pycaffe's private names, so they are here."""

    nodes: list[Node]
    blobs: OrderedDict[str, Blob]
    loss_weights: OrderedDict[str, float]
    _hooks: dict[str, list[Callable[[int], object]]]  # by a name of HOOKS

    # Layers and blobs by name

    @property
    def layers(self) -> list:
        """The layers, in their order; of a Python layer the program's own object."""
        return [getattr(node.layer, "program", node.layer) for node in self.nodes]

    @property
    def params(self) -> OrderedDict:
        """Lists of parameter blobs (weights, bias) by layer name."""
        return OrderedDict((node.name, node.layer.blobs) for node in self.nodes if node.layer.blobs)

    @property
    def layer_names(self) -> list:
        """Names of the layers, in their order."""
        return [node.name for node in self.nodes]

    @property
    def layer_dict(self) -> OrderedDict:
        """Layers by name."""
        return OrderedDict(zip(self.layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> OrderedDict:
        """Names of the top blobs by layer name."""
        return OrderedDict((node.name, list(node.layer.spec.top)) for node in self.nodes)

    @property
    def bottom_names(self) -> OrderedDict:
        """Names of the bottom blobs by layer name."""
        return OrderedDict((node.name, list(node.layer.spec.bottom)) for node in self.nodes)

    @property
    def blob_loss_weights(self) -> OrderedDict:
        """The loss weight of every blob by name (0 for most)."""
        return OrderedDict((name, self.loss_weights.get(name, 0.0)) for name in self.blobs)

    # Functions between the layers

    def before_forward(self, function: Callable[[int], object]) -> None:
        """Add a function to call before every layer that runs forward, with the layer's index."""
        self._hooks["before_forward"].append(function)

    def after_forward(self, function: Callable[[int], object]) -> None:
        """Add a function to call after every layer that runs forward, with the layer's index."""
        self._hooks["after_forward"].append(function)

    def before_backward(self, function: Callable[[int], object]) -> None:
        """Add a function to call before every layer's backward pass, with the layer's index.

        It is called for layers without a gradient too.
        """
        self._hooks["before_backward"].append(function)

    def after_backward(self, function: Callable[[int], object]) -> None:
        """Add a function to call after every layer's backward pass, with the layer's index.

        It is called for layers without a gradient too.
        """
        self._hooks["after_backward"].append(function)

    # Blobs by index

    @property
    def _blobs(self):
        return list(self.blobs.values())

    @property
    def _blob_names(self):
        return list(self.blobs)

    @property
    def _blob_loss_weights(self):
        return list(self.blob_loss_weights.values())

    @property
    def _layer_names(self):
        return self.layer_names

    @property
    def _inputs(self):
        return self._ids(self.inputs)

    @property
    def _outputs(self):
        return self._ids(self.outputs)

    def _top_ids(self, i):
        return self._ids(self.nodes[i].layer.spec.top)

    def _bottom_ids(self, i):
        return self._ids(self.nodes[i].layer.spec.bottom)

    def _ids(self, names):
        return list(map(self._blob_names.index, names))

    def _forward(self, start, end):
        """Run the layers of index `start` to `end`; the weighted sum of their losses."""
        self._run(start, end)
        return self._loss(top for node in self.nodes[start : end + 1] for top in node.layer.spec.top).item()

    # Any number of rows

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: np.ndarray) -> dict:
        """Run `forward` on any number of rows, in batches of the net's size.

        Args:
            blobs: names of further blobs to return.
            kwargs: arrays for the input blobs.

        Returns:
            {blob name: array} with all rows.

        Raises:
            ValueError: there are no rows, or `forward` fails.
        """
        rows = _row_count(kwargs)
        return _join([_copy(self.forward(blobs, **batch)) for batch in self._batch(kwargs)], rows)

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: np.ndarray
    ) -> tuple:
        """Run `forward` and `backward` on any number of rows, in batches of the net's size.

        Args:
            blobs: names of further blobs to return.
            diffs: names of further blobs to return the gradients of.
            kwargs: arrays for the input blobs, and gradients for the output blobs.

        Returns:
            ({blob name: array}, {blob name: gradient}) with all rows.

        Raises:
            ValueError: there are no rows, or `forward` or `backward` fails.
        """
        rows = _row_count(kwargs)
        inputs = {name: array for name, array in kwargs.items() if name in self.inputs}
        outputs = {name: array for name, array in kwargs.items() if name not in self.inputs}
        forward, backward = [], []
        for below, above in zip_longest(self._batch(inputs), self._batch(outputs), fillvalue={}):
            forward.append(_copy(self.forward(blobs, **below)))
            backward.append(_copy(self.backward(diffs, **above)))
        return _join(forward, rows), _join(backward, rows)

    def _batch(self, arrays):
        """Yield the arrays in batches of the first blob's rows; the last is padded with zeros."""
        if not arrays:
            return
        size, rows = next(iter(self.blobs.values())).shape[0], len(next(iter(arrays.values())))
        for start in range(0, rows, size):
            batch = {name: np.asarray(array[start : start + size]) for name, array in arrays.items()}
            missing = size - len(next(iter(batch.values())))
            yield {n: np.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for n, a in batch.items()}

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Set the arrays that the first layer, a MemoryData layer, takes its batches from.

        Args:
            data: N x C x H x W, float32.
            labels: N, float32.

        Raises:
            ValueError: the first layer is another, or the arrays do not fit it.
        """
        if self.layers[0].type != "MemoryData":
            raise ValueError(
                "set_input_arrays: the first layer is not MemoryData; use Input layers and forward(**arrays)"
            )
        self.layers[0].set_arrays(data, labels)

    _set_input_arrays = set_input_arrays


def _row_count(arrays):
    rows = len(next(iter(arrays.values()), ()))
    if not rows:
        raise ValueError("no rows given")
    return rows


def _copy(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def _join(batches, rows):
    return {name: np.concatenate([batch[name] for batch in batches])[:rows] for name in batches[0]}
