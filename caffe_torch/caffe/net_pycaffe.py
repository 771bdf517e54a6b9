"""What pycaffe adds to a net in Python: blobs by number, and any number of rows in batches."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np


class PycaffeNames:
    """The part of `Net` that is pycaffe's own Python, private names included: many scripts use them."""

    # Blobs by number

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
        """Run the layers from number `start` to `end`; the weighted sum of their losses."""
        self._run(start, end)
        return self._loss(top for node in self.nodes[start : end + 1] for top in node.layer.spec.top).item()

    # Any number of rows

    def forward_all(self, blobs=None, **kwargs):
        """`forward` for any number of rows, a batch of the net's size at a time: {blob name: array}."""
        rows = _row_count(kwargs)
        return _join([_copy(self.forward(blobs, **batch)) for batch in self._batch(kwargs)], rows)

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """`forward` and `backward` for any number of rows: ({blob: array}, {blob: gradient}) of all.

        kwargs: arrays for the input blobs, and gradients for the output blobs.
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
        """Rows of the arrays, as many at a time as the net's first blob has; zeros fill the last."""
        if not arrays:
            return
        size, rows = next(iter(self.blobs.values())).shape[0], len(next(iter(arrays.values())))
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
