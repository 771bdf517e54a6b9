"""Classifier and Detector on photographs, by whichever Caffe runs this; what they find goes to a .npz.

Made with BVLC Caffe 1.0, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python tests/golden/windows.py tests/golden/windows.npz
The tests run the same with caffe_torch and compare, and `make test-bvlc` with other seeds.
"""

import os
import sys
import tempfile

import caffe
import numpy as np
import skimage.data

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 28 dim: 24 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 5 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
"""
SCORES = """
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 7 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


class Lenient(np.ndarray):
    """An array that takes floats for indices, as NumPy did before 1.12: Detector's crops rely on it."""

    @staticmethod
    def whole(index):
        if isinstance(index, tuple):
            return tuple(map(Lenient.whole, index))
        if isinstance(index, slice):
            return slice(*(None if i is None else int(i) for i in (index.start, index.stop, index.step)))
        return index

    def __getitem__(self, index):
        return super().__getitem__(self.whole(index))

    def __setitem__(self, index, value):
        super().__setitem__(self.whole(index), value)


def photograph(name):
    """A piece of a photograph, as `load_image` gives it; `name` is "rows:columns:height:width"."""
    y, x, h, w = map(int, name.split(":"))
    piece = skimage.data.astronaut()[y : y + h, x : x + w]
    return (piece.astype(np.float32) / np.float32(255)).view(Lenient)


def write_net(random):
    """net.prototxt, whose output is scores, and maps.prototxt, whose output is maps; w.caffemodel."""
    for name, text in (("net", NET + SCORES), ("maps", NET)):
        with open(name + ".prototxt", "w") as file:
            file.write(text)
    net = caffe.Net("net.prototxt", caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.standard_normal(blob.data.shape) * 0.15
    net.save("w.caffemodel")


def settings(random):
    """Keyword arguments that both classes take: none, those of a net for BGR in 0..255, a mean image."""
    swap = tuple(int(i) for i in random.permutation(3))
    pixel, image = random.uniform(0.2, 0.7, 3), random.uniform(0, 1, (3, 28, 24)).astype(np.float32)
    return [
        {},
        {"mean": 255 * pixel, "raw_scale": 255, "input_scale": 0.02, "channel_swap": swap},
        {"mean": image, "channel_swap": swap},
    ]


def names(random, count):
    sizes = random.randint(40, 120, (count, 2))
    return [":".join(map(str, (*random.randint(0, 380, 2), h, w))) for h, w in sizes]


def windows(random, name):
    """Windows in a photograph, (ymin, xmin, ymax, xmax): the whole, some at its edges, some anywhere."""
    height, width = map(int, name.split(":")[2:])
    corners = [(0, 0, height, width), (0, 0, 9, 14), (height - 11, width - 8, height, width)]
    for _ in range(4):
        (y, x), (h, w) = random.randint(0, 20, 2), random.randint(2, 20, 2)
        corners.append((y, x, y + h, x + w))
    return [np.array(window) for window in corners]


def classify(arrays, random):
    images = [np.asarray(photograph(name)) for name in names(random, 3)]
    for i, options in enumerate(settings(random)):
        for dims in (None, (40, 33)):
            for model in ("net", "maps"):
                net = caffe.Classifier(model + ".prototxt", "w.caffemodel", image_dims=dims, **options)
                for oversample in (True, False):
                    key = f"classify {model} {i} {dims} {oversample}"
                    arrays[key] = net.predict(images, oversample)
    arrays["default"] = net.predict(images[:1])


def detect(arrays, random):
    caffe.io.load_image = photograph  # BVLC Caffe's own needs scikit-image before 0.17
    files = names(random, 2)
    given_windows = [(name, windows(random, name)) for name in files]
    for i, options in enumerate(settings(random)):
        for pad in (None, 3):
            net = caffe.Detector("net.prototxt", "w.caffemodel", context_pad=pad, **options)
            if pad:
                net.crop_mean = net.crop_mean.view(Lenient)
                crops = [net.crop(photograph(name), w) for name, ws in given_windows for w in ws]
                arrays[f"crops {i}"] = np.array(crops)[:, ::3, ::3]  # a part, to be small
            results = net.detect_windows(given_windows)
            key = f"detect {i} {pad}"
            arrays[key] = np.array([result["prediction"] for result in results])
            arrays[key + " windows"] = np.array([result["window"] for result in results])
            arrays[key + " files"] = np.array([result["filename"] for result in results])


def run(seed=1):
    """{what: array}, found in a temporary folder."""
    arrays, random, before, load_image = {}, np.random.RandomState(seed), os.getcwd(), caffe.io.load_image
    caffe.set_mode_cpu()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            write_net(random)
            classify(arrays, random)
            detect(arrays, random)
        finally:
            os.chdir(before)
            caffe.io.load_image = load_image
    return arrays


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **run(*map(int, sys.argv[2:])))
