"""A script as one writes them for pycaffe, by whichever Caffe runs this; what it finds goes to a .npz.

Made with BVLC Caffe 1.0, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python tests/golden/pycaffe.py tests/golden/pycaffe.npz
The tests run the same with caffe_torch and compare.
"""

import os
import sys
import tempfile

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2
from google.protobuf import text_format


def classifier(rows):
    """A small net with a bit of everything that net_spec can write, as a NetParameter."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [rows, 3, 8, 8]})
    n.label = L.Input(shape={"dim": [rows]}, ntop=1)
    learned = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]
    n.conv = L.Convolution(
        n.data, num_output=4, kernel_size=3, param=learned, weight_filler={"type": "xavier"}
    )
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.ip = L.InnerProduct(L.Dropout(n.pool, dropout_ratio=0.5), num_output=5)
    left, right = L.Slice(n.pool, ntop=2, axis=1)
    n.sum = L.Eltwise(left, right, operation=P.Eltwise.SUM, coeff=[1, -1])
    n.quiet = L.Silence(n.sum, ntop=0)
    n.prob = L.Softmax(n.ip, include={"phase": caffe.TEST})
    n["loss"] = L.SoftmaxWithLoss(n.ip, n.label, loss_weight=2)
    return n.to_proto()


def set_params(net, random):
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.standard_normal(blob.data.shape) * 0.2


def nets(arrays, random):
    proto = classifier(2)
    arrays["prototxt"] = np.array(text_format.MessageToString(proto))
    assert text_format.Parse(str(proto), caffe_pb2.NetParameter()) == proto
    with open("net.prototxt", "w") as file:
        file.write("force_backward: true\n" + str(proto))
    net = caffe.Net("net.prototxt", caffe.TEST)
    set_params(net, random)
    arrays["blobs"] = np.array(list(net.blobs))
    arrays["layers"] = np.array([n + " " + layer.type for n, layer in zip(net._layer_names, net.layers)])
    arrays["params"] = np.array(
        [" ".join([n] + [str(b.data.shape) for b in bs]) for n, bs in net.params.items()]
    )
    arrays["tops"] = np.array([f"{n} {net.bottom_names[n]} {net.top_names[n]}" for n in net.top_names])
    arrays["inputs"], arrays["outputs"] = np.array(net.inputs), np.array(net.outputs)
    arrays["blob sizes"] = np.array([[b.num, b.count] for b in net.blobs.values()])

    data, label = random.standard_normal((5, 3, 8, 8)), np.array([0.0, 4, 2, 1, 3])
    out = net.forward(["pool"], data=data[:2], label=label[:2])
    arrays.update({"forward " + name: array.copy() for name, array in out.items()})
    out = net.backward(["conv"])
    arrays.update({"backward " + name: array.copy() for name, array in out.items()})
    arrays["conv to ip"] = net.forward(start="conv", end="ip")["ip"].copy()
    arrays["backward to pool"] = net.backward(start="ip", end="Dropout1")["pool_pool_0_split_0"].copy()
    with open("deploy.prototxt", "w") as file:
        kept = [layer for layer in proto.layer if layer.name not in ("label", "loss")]
        file.write("force_backward: true\n" + str(caffe_pb2.NetParameter(layer=kept)))
    deploy = caffe.Net("deploy.prototxt", caffe.TEST)
    deploy.share_with(net)
    arrays.update({"all " + n: a for n, a in deploy.forward_all(blobs=["pool"], data=data[:4]).items()})
    outs, diffs = deploy.forward_backward_all(
        diffs=["ip"], data=data[:4], prob=random.standard_normal((4, 5))
    )
    arrays.update({"all " + n: a for n, a in outs.items()})
    arrays.update({"all diffs " + n: a for n, a in diffs.items()})

    net.save("w.caffemodel")
    net.save_hdf5("w.caffemodel.h5")
    for path in ("w.caffemodel", "w.caffemodel.h5"):
        other = caffe.Net("net.prototxt", path, caffe.TEST)  # the older order of arguments
        arrays[path] = other.forward(data=data[:2], label=label[:2])["prob"].copy()
    other = caffe.Net("net.prototxt", caffe.TEST, weights="w.caffemodel")
    other.params["ip"][1].data[...] = 0
    other.share_with(net)
    net.params["ip"][1].data[...] += 1
    arrays["shared"] = other.params["ip"][1].data.copy()
    other.blobs["data"].reshape(1, 3, 8, 8)
    other.blobs["label"].reshape(1)
    other.reshape()
    arrays["reshaped"] = np.array(other.blobs["pool"].data.shape)
    for blob in other.blobs["data"], other.params["ip"][0]:
        assert blob.data.dtype == np.float32 and blob.diff.dtype == np.float32
        assert list(blob.shape) == list(blob.data.shape)


def images(arrays, random):
    image = random.random_sample((9, 7, 3)).astype(np.float32)
    arrays["oversample"] = caffe.io.oversample([image, image[::-1]], (4, 5))
    t = caffe.io.Transformer({"data": (1, 3, 9, 7)})
    t.set_transpose("data", (2, 0, 1))
    t.set_mean("data", np.array([104.0, 117, 123]))
    t.set_raw_scale("data", 255)
    t.set_channel_swap("data", (2, 0, 1))
    t.set_input_scale("data", 0.017)
    arrays["preprocess"] = t.preprocess("data", image)
    arrays["deprocess"] = t.deprocess("data", arrays["preprocess"])
    for name, array in (("gray", image[:, :, :1]), ("color", image), ("deep", np.tile(image, 2))):
        arrays["larger " + name] = caffe.io.resize_image(array, (18, 20))
        arrays["smaller " + name] = caffe.io.resize_image(array, (4, 5))
    blob = caffe.io.array_to_blobproto(image, image + 1)
    arrays["blob"] = caffe.io.blobproto_to_array(blob)
    arrays["blob diff"] = caffe.io.blobproto_to_array(blob, True)
    packed = caffe.io.arraylist_to_blobprotovector_str([image, image[0]])
    arrays["vector"] = caffe.io.blobprotovector_str_to_arraylist(packed)[1]
    datum = caffe.io.array_to_datum((image * 255).astype(np.uint8), 3)
    arrays["datum"] = np.append(caffe.io.datum_to_array(datum).ravel(), datum.label)
    arrays["datum float"] = caffe.io.datum_to_array(caffe.io.array_to_datum(image.astype(float)))


def run():
    """{what: array}, found in a temporary folder."""
    arrays, random, before = {}, np.random.RandomState(1), os.getcwd()
    caffe.set_mode_cpu()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            nets(arrays, random)
            images(arrays, random)
        finally:
            os.chdir(before)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **run())
