"""Nets to export to ONNX: small ones in the form of well-known ones, with inputs and weights from a seed."""

from pathlib import Path

import numpy as np

from tests.golden.layers import inputs, layer

ROOT = Path(__file__).resolve().parents[2]
RELEASED = {  # models/NAME: its net
    "2-1-2_f64_k5-defocus": "2-1-2_f64_k5",
    "2-1-2_f32_k3-defocus": "2-1-2_f32_k3",
    "2-1-2_f64_k5-handheld": "2-1-2_f64_k5",
    "2-1-2_f64_k5-paper": "2-1-2_f64_k5",
    "cnn": "cnn",
    "srcnn-detail": "srcnn",
    "srcnn-approximation": "srcnn",
}


def _conv(name, bottom, outputs, kernel, settings="", layer_type="Convolution"):
    param = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {settings} }}"
    return layer(layer_type, param, bottom, name, name)


def _relu(name):
    return layer("ReLU", "", name, name, f"relu_{name}")


def _pool(name, bottom, kernel=2, method="MAX"):
    param = f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: 2 }}"
    return layer("Pooling", param, bottom, name, name)


def _inner(name, bottom, outputs):
    return layer("InnerProduct", f"inner_product_param {{ num_output: {outputs} }}", bottom, name, name)


def _dense(name, bottom, outputs):
    drop = layer("Dropout", "dropout_param { dropout_ratio: 0.5 }", name, name, f"drop_{name}")
    return _inner(name, bottom, outputs) + _relu(name) + drop


def _crop(name, bottom, reference, offset):
    return layer("Crop", f"crop_param {{ axis: 2 offset: {offset} }}", f"{bottom} {reference}", name, name)


LENET = (
    inputs(data=(1, 1, 28, 28))
    + _conv("conv1", "data", 20, 5)
    + _pool("pool1", "conv1")
    + _conv("conv2", "pool1", 50, 5)
    + _pool("pool2", "conv2")
    + _inner("ip1", "pool2", 100)
    + _relu("ip1")
    + _inner("ip2", "ip1", 10)
    + layer("Softmax", "", "ip2", "prob", "prob")
)
_NORM = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
CAFFENET = (  # Krizhevsky et al. 2012, with narrow layers
    inputs(data=(1, 3, 99, 99))
    + _conv("conv1", "data", 12, 11, "stride: 4")
    + _relu("conv1")
    + _pool("pool1", "conv1", 3)
    + layer("LRN", _NORM, "pool1", "norm1", "norm1")
    + _conv("conv2", "norm1", 16, 5, "pad: 2 group: 2")
    + _relu("conv2")
    + _pool("pool2", "conv2", 3)
    + layer("LRN", _NORM, "pool2", "norm2", "norm2")
    + _conv("conv3", "norm2", 16, 3, "pad: 1")
    + _relu("conv3")
    + _conv("conv4", "conv3", 16, 3, "pad: 1 group: 2")
    + _relu("conv4")
    + _pool("pool5", "conv4", 3)
    + _dense("fc6", "pool5", 32)
    + _dense("fc7", "fc6", 32)
    + _inner("fc8", "fc7", 10)
    + layer("Softmax", "", "fc8", "prob", "prob")
)


def _upscore(name, bottom, kernel, stride):
    return _conv(name, bottom, 3, kernel, f"stride: {stride} bias_term: false", "Deconvolution")


FCN8S = (  # Long et al. 2015, with narrow layers; the offsets are the published ones
    inputs(data=(1, 3, 40, 40))
    + _conv("conv1", "data", 4, 3, "pad: 100")
    + _relu("conv1")
    + _pool("pool1", "conv1")
    + _pool("pool2", "pool1")
    + _conv("conv3", "pool2", 6, 3, "pad: 1")
    + _relu("conv3")
    + _pool("pool3", "conv3")
    + _conv("conv4", "pool3", 6, 3, "pad: 1")
    + _relu("conv4")
    + _pool("pool4", "conv4")
    + _pool("pool5", "pool4")
    + _conv("fc6", "pool5", 8, 7)
    + _relu("fc6")
    + layer("Dropout", "", "fc6", "fc6", "drop6")
    + _conv("score_fr", "fc6", 3, 1)
    + _upscore("upscore2", "score_fr", 4, 2)
    + _conv("score_pool4", "pool4", 3, 1)
    + _crop("score_pool4c", "score_pool4", "upscore2", 5)
    + layer("Eltwise", "", "upscore2 score_pool4c", "fuse_pool4", "fuse_pool4")
    + _upscore("upscore_pool4", "fuse_pool4", 4, 2)
    + _conv("score_pool3", "pool3", 3, 1)
    + _crop("score_pool3c", "score_pool3", "upscore_pool4", 9)
    + layer("Eltwise", "", "upscore_pool4 score_pool3c", "fuse_pool3", "fuse_pool3")
    + _upscore("upscore8", "fuse_pool3", 16, 8)
    + _crop("score", "upscore8", "data", 31)
)
ENCODER_DECODER = (
    inputs(data=(1, 3, 37, 42))
    + _conv("conv1", "data", 8, 3, "pad: 1")
    + layer("BatchNorm", "", "conv1", "conv1", "norm1")
    + layer("Scale", "scale_param { bias_term: true }", "conv1", "conv1", "scale1")
    + layer("PReLU", "", "conv1", "conv1", "prelu1")
    + _pool("pool1", "conv1", 3)
    + _conv("conv2", "pool1", 16, 3, "pad: 2 dilation: 2")
    + layer("ELU", "", "conv2", "conv2", "elu2")
    + _pool("pool2", "conv2", method="AVE")
    + _conv("deconv2", "pool2", 8, 4, "stride: 2 pad: 1", "Deconvolution")
    + _crop("deconv2c", "deconv2", "pool1", 0)
    + layer("Concat", "", "deconv2c pool1", "skip", "skip")
    + _conv("deconv1", "skip", 8, 4, "stride: 2 group: 8", "Deconvolution")
    + _crop("deconv1c", "deconv1", "data", 1)
    + _conv("deconv0", "deconv1c", 2, 3, "pad: 1", "Deconvolution")
    + layer("Sigmoid", "", "deconv0", "mask", "mask")
)
SMALL = {
    "LeNet": LENET,
    "CaffeNet-like": CAFFENET,
    "FCN-8s-like": FCN8S,
    "encoder-decoder": ENCODER_DECODER,
}


def deploy(name):
    """The path of a net of the repository."""
    return str(ROOT / "prototxt" / name / "deploy.prototxt")


def weights(name):
    """The path of a released model's weights."""
    return str(ROOT / "models" / name / f"{name}.caffemodel")


def fill(net, seed=1):
    """Weights of about msra's size; statistics of a BatchNorm are positive."""
    random = np.random.RandomState(seed)
    for name, blobs in net.params.items():
        positive = net.layers[list(net._layer_names).index(name)].type == "BatchNorm"
        for blob in blobs:
            shape = tuple(blob.data.shape)
            normals = random.standard_normal(shape) * np.sqrt(2.0 / max(1, np.prod(shape[1:])))
            blob.data[...] = np.abs(normals) + 0.5 if positive else normals


def feeds(net, free=True):
    """Inputs in 0..1 at the net's own size and, where that is free, at two others that 5 divides."""
    random = np.random.RandomState(2)
    shapes = {name: tuple(net.blobs[name].data.shape) for name in net.inputs}
    result = []
    for increase in ((0, 0), (15, -5), (-10, 25)) if free else ((0, 0),):
        batch = {}
        for name, shape in shapes.items():
            if free:
                shape = (*shape[:2], shape[2] + increase[0], shape[3] + increase[1])
            batch[name] = random.uniform(0, 1, shape).astype(np.float32)
        result.append(batch)
    return result


def forward(net, batch):
    """{output: array} of a net, reshaped for the inputs of the batch."""
    for name, array in batch.items():
        net.blobs[name].reshape(*array.shape)
    net.reshape()
    for name, array in batch.items():
        net.blobs[name].data[...] = array
    net.forward()
    return {name: net.blobs[name].data.copy() for name in net.outputs}
