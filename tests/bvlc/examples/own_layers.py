"""Layers in Python for own_layers.prototxt: data of changing size, a learned offset, a loss."""

import json

import caffe
import numpy as np


class Waves(caffe.Layer):
    """Tops data and target: one image of sines a batch, of another width each time."""

    def setup(self, bottom, top):
        self.params = json.loads(self.param_str)
        self.random = np.random.RandomState(self.params["seed"])

    def reshape(self, bottom, top):
        width = self.random.randint(8, 13)
        phase = self.random.uniform(0, 2, (self.params["channels"], 1, 1))
        self.image = np.sin(phase + np.add.outer(np.arange(9), 0.7 * np.arange(width)))
        top[0].reshape(1, *self.image.shape)
        top[1].reshape(1, *self.image.shape)

    def forward(self, bottom, top):
        top[0].data[0] = self.image
        top[1].data[0] = 0.5 * self.image - 0.25

    def backward(self, top, propagate_down, bottom):
        pass


class Offset(caffe.Layer):
    """Adds a learned number to every channel, which begins at param_str."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + self.blobs[0].data[:, None, None]

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += top[0].diff.sum((0, 2, 3))
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff


class HuberLoss(caffe.Layer):
    """Mean of sqrt(1 + d^2) - 1 over the differences d; in the second top, how many, and the phase."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms are needed")

    def reshape(self, bottom, top):
        top[0].reshape(1)
        top[1].reshape(2)

    def forward(self, bottom, top):
        self.diff = bottom[0].data - bottom[1].data
        top[0].data[0] = np.mean(np.sqrt(1 + self.diff**2) - 1)
        top[1].data[...] = self.diff.size, self.phase

    def backward(self, top, propagate_down, bottom):
        gradient = top[0].diff[0] * self.diff / np.sqrt(1 + self.diff**2) / self.diff.size
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * gradient
