"""A net with Python layers, looked into from a script by whichever Caffe runs it.

own_layers_script.py OUT.npz, in a folder with the prototxt files and first.caffemodel.
"""

import sys

import caffe
import numpy as np
from caffe import layers as L
from caffe.coord_map import coord_map_from_to, crop

caffe.set_mode_cpu()
arrays = {}

net = caffe.Net("own_layers.prototxt", "first.caffemodel", caffe.TRAIN)
for step in range(3):
    net.clear_param_diffs()
    arrays[f"loss {step}"] = net.forward()["loss"].copy()
    net.backward()
    for name, blobs in net.params.items():
        arrays[f"{name} diff {step}"] = blobs[0].diff.copy()
    arrays[f"conv gradient {step}"] = net.blobs["conv"].diff.copy()
    arrays[f"count {step}"] = net.blobs["count"].data.copy()
layer = net.layers[list(net._layer_names).index("waves")]
arrays["own attribute"] = np.array([layer.params["seed"], layer.phase, len(layer.blobs)])
arrays["types"] = np.array([layer.type for layer in net.layers])
net.params["offset"][0].data[...] = 7
net.save("saved.caffemodel")
other = caffe.Net("own_layers.prototxt", caffe.TEST)
arrays["as set up"] = other.params["offset"][0].data.copy()
other.copy_from("saved.caffemodel")
arrays["as saved"] = other.params["offset"][0].data.copy()
arrays["phase"] = other.forward()["count"].copy()


def upsampled(pads, factor, offset=None):
    """Convolutions and poolings from n.data down, a Deconvolution back, and perhaps a Crop."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 200, 200]})
    top = n.data
    for i, pad in enumerate(pads):
        n[f"conv{i}"] = L.Convolution(top, num_output=1, kernel_size=3, pad=pad)
        n[f"relu{i}"] = L.ReLU(n[f"conv{i}"], in_place=True)
        n[f"pool{i}"] = top = L.Pooling(n[f"relu{i}"], kernel_size=2, stride=2)
    n.up = L.Deconvolution(
        top, convolution_param={"num_output": 1, "kernel_size": 2 * factor, "stride": factor}
    )
    if offset is not None:
        n.cut = L.Crop(n.up, n.data, axis=2, offset=offset)
    return n


n = upsampled([20, 1, 1], 8)
n.score = crop(n.up, n.data)
arrays["cropped"] = np.array(str(n.to_proto()))
for pads, factor in (([1], 2), ([20, 1], 4), ([0, 3, 1], 8), ([1, 1], 2)):
    n = upsampled(pads, factor, offset=3)
    for top in (n.up, n.cut):
        axis, scale, shift = coord_map_from_to(top, n.data)
        arrays[f"map {pads} {factor} {top is n.cut}"] = np.array([axis, scale[0], shift[0]])
np.savez(sys.argv[1], **arrays)
