"""The multi-stream network: a focus stack of any number of frames, fused at once.

The paper ends with "we will try to design the multi-stream network structure". Here each frame passes the
same encoder. The MAX and the MEAN of all frames' features tell a decoder what the stack has, and it scores
each frame at every pixel. The fused image is the sum of the frames, weighted by a softmax of their scores. So
the order of the frames changes nothing.

The net sees MultiStream.margin pixels far. Inside of a thing that is wider, no frame looks sharp or blurred.
So the net also scores the frames at half their size, a quarter and so on, and these scores count too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Sequence

import cv2
import numpy as np
from caffe.proto import caffe_pb2

from two_stream_fusion.base.pixels import check_alike, round_half_even
from two_stream_fusion.base.tiles import Tile, tiles
from two_stream_fusion.methods import models
from two_stream_fusion.methods.two_stream import receptive_field_radius, to_channels

MEMORY = 2**28  # bytes, for memory alone: the features of all frames that are kept for a square
TILES = (64, 384)  # pixels, for memory alone: the least and the largest side of a square
LEAST_SIDE = 32  # pixels: the frames are not scored at smaller sizes
COARSER_SHARE = 0.25  # how much the score at each smaller size counts
LOWEST = -1e4  # for memory alone: float16 holds the scores, which are 0 for the best frame


class Scale(NamedTuple):
    """A scale at which frames see each other: the blob of a frame's features, the input of the stack's."""

    features: str
    stack: str


class MultiStream:
    """A trained net N-stream of prototxt/, ready to fuse.

    Args:
        deploy: its deploy.prototxt: inputs frame and stack1, stack2, ...; one output, a frame's score. The
            encoder comes first, then all1, all2, ..., which read the stacks, then own1, own2, ..., which read
            the features whose MAX and MEAN they are, and the rest of the decoder.
        weights: its .caffemodel.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what it should be.
    """

    def __init__(self, deploy: str | Path, weights: str | Path):
        description = models.read_prototxt(deploy, caffe_pb2.NetParameter())
        self.deploy, self.weights = deploy, weights
        self.net = models.open_net(deploy, weights)
        layers = {layer.name: layer for layer in description.layer}
        inputs = list(self.net.inputs)
        own, stacks = ([f"{name}{i}" for i in range(1, len(inputs))] for name in ("own", "stack"))
        if inputs != ["frame", *stacks] or not stacks or not {"all1", *own} <= set(layers):
            raise ValueError(
                f"{deploy}: not a multi-stream net: inputs {inputs}; frame, stack1, ... and layers all1, ...,"
                " own1, ... are needed"
            )
        self.scales = [Scale(layers[name].bottom[0], stack) for name, stack in zip(own, stacks)]
        names = list(self.net._layer_names)
        self.encoder_end, self.stack_end = (names[names.index(name) - 1] for name in ("all1", "own1"))
        self.output = self.net.outputs[0]
        sides = [self.net.blobs[name].shape[-1] for name in inputs]
        self.strides = [sides[0] // side for side in sides[1:]]
        least = max(self.strides)  # squares begin on multiples of it
        self.margin = -(-receptive_field_radius(deploy) // least) * least

    def __call__(
        self,
        frames: Sequence[np.ndarray],
        *,
        tile: int = 0,
        progress: Callable[[Iterable], Iterable] = iter,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fuse aligned frames.

        Args:
            frames: two or more, H x W or H x W x 3, uint8 or uint16, alike. They are read once for each row
                of squares. Their smaller versions, and the scores of these, take some 2 bytes a pixel and
                frame.
            tile: as of `squares`.
            progress: wraps the list of squares.

        Returns:
            The fused image, and H x W uint16, the index of the frame with the largest weight.

        Raises:
            ValueError: frames differ, or there are fewer than two.
        """
        if len(frames) < 2:
            raise ValueError("two images or more are needed")
        first = frames[0]
        fused, choice = np.empty_like(first), np.zeros(first.shape[:2], np.uint16)
        for inner, parts, scores in self._score_squares(frames, tile, progress, COARSER_SHARE):
            weights = np.exp(scores)
            weights /= weights.sum(axis=0)
            if first.ndim == 3:
                weights = weights[..., None]
            total = weights[0] * parts[0]
            for weight, part in zip(weights[1:], parts[1:]):
                total += weight * part
            fused[inner] = round_half_even(total, first.dtype)
            choice[inner] = scores.argmax(axis=0)
        return fused, choice

    def count_squares(self, shape: Sequence[int], count: int, tile: int = 0) -> int:
        """Count the squares that are computed, at all sizes.

        Args:
            shape, count, tile: as of `squares`.

        Returns:
            The number.
        """
        height, width = shape[:2]
        total = len(self.squares((height, width), count, tile))
        if _has_coarser((height, width)):
            total += self.count_squares((height // 2, width // 2), count, tile)
        return total

    def squares(self, shape: Sequence[int], count: int, tile: int = 0) -> list[Tile]:
        """The squares that are computed at once.

        Args:
            shape: of a frame: height, width, and channels or not.
            count: the number of frames.
            tile: side in pixels, 0 for the largest. It is also bounded by the memory for the features of all
                frames, and a multiple of the nets' strides.

        Returns:
            As base.tiles.tiles.
        """
        floats = sum(self.net.blobs[s.features].shape[1] / n**2 for s, n in zip(self.scales, self.strides))
        bound = int((MEMORY / (4 * floats * count)) ** 0.5) - 2 * self.margin
        least = max(self.strides)
        side = max(least, min(tile or TILES[1], max(bound, TILES[0])) // least * least)
        return tiles((shape[0], shape[1]), side, self.margin)

    def _score_squares(self, frames, tile, progress, coarser_share):
        """(inner, parts, scores) of each square: where it is, what the frames show there, and N x h x w."""
        height, width = frames[0].shape[:2]
        coarse = None
        if _has_coarser((height, width)):
            half = [_halve(frame) for frame in _alike(frames)]
            coarse = np.empty((len(half), *half[0].shape[:2]), np.float16)
            for inner, _, scores in self._score_squares(half, tile, progress, 1):
                coarse[(slice(None), *inner)] = np.maximum(scores, LOWEST)
        band, crops = None, []
        for inner, outer, inside in progress(self.squares((height, width), len(frames), tile)):
            if outer[0] != band:
                band = outer[0]
                crops = [frame[band].copy() for frame in _alike(frames)]
            parts = [crop[:, outer[1]] for crop in crops]
            scores = self._score(parts)[(slice(None), *inside)]
            if coarse is not None:
                scores += coarser_share * _enlarge(coarse, (height, width), inner)
            scores -= scores.max(axis=0)
            yield inner, [part[inside] for part in parts], scores

    def _score(self, parts):
        """The scores of parts of all frames: N x H x W float32."""
        height, width = parts[0].shape[:2]
        least = max(self.strides)
        padding = (0, 0), (0, -height % least), (0, -width % least)
        features = [self._encode(np.pad(to_channels(part), padding, "edge")) for part in parts]
        for i, scale in enumerate(self.scales):
            of_frames = [feature[i] for feature in features]
            total, largest = of_frames[0].copy(), of_frames[0].copy()
            for feature in of_frames[1:]:
                total += feature
                np.maximum(largest, feature, out=largest)
            self.net.blobs[scale.stack].data[0] = np.concatenate([largest, total / len(parts)])
        self.net.forward(start="all1", end=self.stack_end)
        return np.stack([self._decode(feature) for feature in features])[:, :height, :width]

    def _encode(self, channels):
        """The features of a frame, 4 x H x W, at each scale: C x H x W each."""
        blob = self.net.blobs["frame"]
        if tuple(blob.shape) != (1, *channels.shape):
            blob.reshape(1, *channels.shape)
            for stack, stride in zip((s.stack for s in self.scales), self.strides):
                size = (n // stride for n in channels.shape[1:])
                self.net.blobs[stack].reshape(1, self.net.blobs[stack].shape[1], *size)
            self.net.reshape()
        blob.data[0] = channels
        self.net.forward(end=self.encoder_end)
        return [self.net.blobs[scale.features].data[0].copy() for scale in self.scales]

    def _decode(self, features):
        """The score of a frame of given features: H x W float32."""
        for scale, feature in zip(self.scales, features):
            self.net.blobs[scale.features].data[0] = feature
        self.net.forward(start="own1")
        return self.net.blobs[self.output].data[0, 0].copy()


def _alike(frames):
    """The frames, each checked to be like the first."""
    first = frames[0]
    for frame in frames:
        check_alike(first, frame)
        yield frame


def _has_coarser(size):
    return min(size) // 2 >= LEAST_SIDE


def _halve(frame):
    height, width = frame.shape[:2]
    return cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _enlarge(scores, size, where):
    """The part `where`, two slices, of N x h x w scores enlarged to a size: N x H x W float32."""
    rows, columns = (
        ((np.arange(part.start, part.stop) + 0.5) * (small / large) - 0.5).astype(np.float32)
        for part, small, large in zip(where, scores.shape[1:], size)
    )
    x, y = np.meshgrid(columns, rows)
    first, last = max(0, int(y[0, 0])), int(y[-1, 0]) + 2  # float16 becomes float32 where it is needed alone
    kind = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    return np.stack([cv2.remap(s[first:last].astype(np.float32), x, y - first, **kind) for s in scores])


def is_multi_stream(deploy: str | Path) -> bool:
    """Whether a deploy.prototxt is of a multi-stream net: it has an input named frame.

    Raises:
        OSError, ValueError: as of models.read_prototxt.
    """
    net = models.read_prototxt(deploy, caffe_pb2.NetParameter())
    return any(layer.type == "Input" and "frame" in layer.top for layer in net.layer)
