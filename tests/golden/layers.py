"""Forward and backward numbers of every layer and of the settings that bite, by whichever Caffe runs this.

Made with BVLC Caffe 1.0, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python tests/golden/layers.py tests/golden/layers.npz
The tests run the same with caffe_torch and compare. With --serve it takes paths of prototxt files
from stdin, one a line, and answers each with a .npz beside it.
"""

import os
import sys
import tempfile
from collections import OrderedDict

import caffe
import numpy as np


def inputs(**shapes):
    """Input layers: of integers 0..2 where the name begins with label, of 0.1..2 with positive."""
    return "".join(
        'layer {{ name: "{0}" type: "Input" top: "{0}" input_param {{ shape {{ {1} }} }} }}\n'.format(
            name, " ".join(f"dim: {n}" for n in shape)
        )
        for name, shape in shapes.items()
    )


def layer(layer_type, settings="", bottoms="x", tops="y", name="layer"):
    """A layer in text form; bottoms and tops are names with spaces between."""
    lines = [f'name: "{name}" type: "{layer_type}"']
    lines += [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return "layer {{ {} {} }}\n".format(" ".join(lines), settings)


def one(layer_type, settings="", tops="y", force=True, **shapes):
    """A net of one layer that reads all inputs; gradients of everything unless `force` is False."""
    shapes = shapes or {"x": (2, 3, 4, 5)}
    head = "force_backward: true\n" if force else ""
    return head + inputs(**shapes) + layer(layer_type, settings, " ".join(shapes), tops)


IMAGE, LABELS = (2, 3, 5, 4), (2, 5, 4)  # scores of 3 classes at 5 x 4 places, and labels for them
FORCE = "force_backward: true\n"
XAVIER = 'weight_filler { type: "xavier" }'

CASES = OrderedDict(
    # filters
    conv=one("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
    conv_all=one(
        "Convolution",
        "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2 "
        "group: 2 dilation: 2 dilation: 1 bias_term: false }",
        x=(2, 4, 7, 6),
    ),
    conv_larger_than_its_bottom=one(
        "Convolution", "convolution_param { num_output: 2 kernel_h: 7 kernel_w: 3 stride: 4 pad: 1 }"
    ),
    im2col_larger_than_its_bottom=one("Im2col", "convolution_param { kernel_size: 6 stride: 3 }"),
    reshape_copies_a_later_axis=one(
        "Reshape", "reshape_param { num_axes: 1 shape { dim: 0 dim: 0 } }", x=(2, 1, 3)
    ),
    conv_one_pad=one("Convolution", "convolution_param { num_output: 2 kernel_size: 2 pad_h: 1 }"),
    conv_1d=one(
        "Convolution", "convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 1 }", x=(2, 3, 9)
    ),
    conv_3d=one("Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", x=(1, 2, 3, 4, 3)),
    conv_two_bottoms=one(
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 2 }",
        "y z",
        x=(1, 2, 4, 4),
        w=(1, 2, 4, 4),
    ),
    deconv=one("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 }"),
    deconv_all=one(
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 4 stride: 3 pad: 1 group: 2 dilation: 2 }",
        x=(2, 4, 4, 3),
    ),
    inner=one("InnerProduct", "inner_product_param { num_output: 5 }"),
    inner_axis=one("InnerProduct", "inner_product_param { num_output: 5 axis: -2 bias_term: false }"),
    inner_transpose=one("InnerProduct", "inner_product_param { num_output: 5 axis: 2 transpose: true }"),
    # pooling
    pool_max_ceil=one("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", x=(1, 2, 5, 7)),
    pool_max_pad_clipped=one("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", x=(1, 2, 6, 4)),
    pool_max_pad_wide=one("Pooling", "pooling_param { kernel_size: 4 stride: 3 pad: 3 }", x=(1, 2, 6, 5)),
    pool_max_mask=one(
        "Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", "y z", force=False, x=(1, 2, 6, 5)
    ),
    pool_max_ties=one("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", label=(2, 3, 6, 6)),
    pool_max_floor=one(
        "Pooling", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }", x=(1, 2, 5, 7)
    ),
    pool_max_global=one("Pooling", "pooling_param { pool: MAX global_pooling: true }"),
    pool_ave=one("Pooling", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }", x=(1, 2, 5, 7)),
    pool_ave_pad=one(
        "Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", x=(1, 2, 6, 5)
    ),
    pool_ave_wide=one(
        "Pooling",
        "pooling_param { pool: AVE kernel_h: 4 kernel_w: 2 stride_h: 3 stride_w: 2 pad_h: 3 pad_w: 1 }",
        x=(1, 2, 6, 5),
    ),
    pool_ave_gap=one("Pooling", "pooling_param { pool: AVE kernel_size: 2 stride: 3 }", x=(1, 2, 6, 7)),
    pool_ave_larger=one("Pooling", "pooling_param { pool: AVE kernel_size: 4 stride: 2 }", x=(1, 2, 3, 5)),
    pool_ave_global=one("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    # shapes
    concat=one("Concat", x=(2, 3, 4), w=(2, 2, 4)),
    concat_axis=one("Concat", "concat_param { axis: -1 }", x=(2, 3, 4), w=(2, 3, 1)),
    concat_dim=one("Concat", "concat_param { concat_dim: 0 }", x=(2, 3, 4), w=(1, 3, 4)),
    slice=one("Slice", "", "y z", x=(2, 4, 3)),
    slice_points=one("Slice", "slice_param { axis: 2 slice_point: 1 slice_point: 4 }", "y z w", x=(2, 2, 5)),
    split=one("Split", "", "y z"),
    reshape=one("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }"),
    reshape_axis=one("Reshape", "reshape_param { shape { dim: 2 dim: 6 } axis: 1 num_axes: 2 }"),
    reshape_insert=one("Reshape", "reshape_param { shape { dim: 1 dim: 1 } axis: -1 num_axes: 0 }"),
    flatten=one("Flatten"),
    flatten_axes=one("Flatten", "flatten_param { axis: 1 end_axis: -2 }"),
    crop=one("Crop", "crop_param { axis: 2 offset: 1 offset: 2 }", x=(2, 3, 5, 6), w=(2, 1, 3, 4)),
    crop_one_offset=one("Crop", "crop_param { axis: -2 offset: 1 }", x=(2, 3, 5, 6), w=(2, 3, 4, 5)),
    crop_all=one("Crop", "crop_param { axis: 0 }", x=(2, 3, 5, 6), w=(1, 2, 3, 4)),
    silence=one("Silence", tops=""),
    interleave=FORCE
    + inputs(a=(2, 3, 2, 2), b=(2, 3, 2, 2))
    + "".join(
        layer(
            "Reshape", "reshape_param { shape { dim: 1 } axis: 2 num_axes: 0 }", name, name + "1", "r" + name
        )
        for name in "ab"
    )
    + layer("Concat", "concat_param { axis: 2 }", "a1 b1", "ab", "join")
    + layer("Reshape", "reshape_param { shape { dim: 6 } axis: 1 num_axes: 2 }", "ab", "y", "inter")
    + layer("Convolution", "convolution_param { num_output: 3 kernel_size: 1 group: 3 }", "y", "z", "pairs"),
    # arithmetic
    eltwise_sum=one(
        "Eltwise", "eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 }", x=(2, 3), w=(2, 3), v=(2, 3)
    ),
    eltwise_prod=one("Eltwise", "eltwise_param { operation: PROD }", x=(2, 3), w=(2, 3), v=(2, 3)),
    eltwise_max=one("Eltwise", "eltwise_param { operation: MAX }", x=(2, 9), w=(2, 9), v=(2, 9)),
    eltwise_max_ties=one(
        "Eltwise", "eltwise_param { operation: MAX }", label=(4, 9), label2=(4, 9), label3=(4, 9)
    ),
    scale=one("Scale"),
    scale_bias=one("Scale", "scale_param { axis: 1 num_axes: 2 bias_term: true }"),
    scale_all=one("Scale", "scale_param { axis: 0 num_axes: -1 bias_term: true }"),
    scale_scalar=one("Scale", "scale_param { num_axes: 0 bias_term: true }"),
    scale_two=one("Scale", "scale_param { axis: 0 bias_term: true }", x=(2, 3, 4), w=(2, 3)),
    scale_in_place=one("Scale", "scale_param { axis: -1 }", "x", force=True, x=(2, 3, 4)),
    bias=one("Bias"),
    bias_two=one("Bias", "bias_param { axis: 1 }", x=(2, 3, 4), w=(3, 4)),
    bias_one_row=one("Bias", x=(1, 3)),
    # normalisation
    batch_norm_train="state { phase: TRAIN }\n"
    + one("BatchNorm", "batch_norm_param { moving_average_fraction: 0.9 }"),
    batch_norm_rows="state { phase: TRAIN }\n" + one("BatchNorm", "batch_norm_param { eps: 0.01 }", x=(5, 3)),
    batch_norm_test=one("BatchNorm"),
    batch_norm_store="state { phase: TRAIN }\n"
    + one("BatchNorm", "batch_norm_param { use_global_stats: true }"),
    lrn=one("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }", x=(2, 6, 3, 2)),
    lrn_default=one("LRN", x=(2, 4, 3, 2)),
    lrn_within=one("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 2 beta: 0.7 k: 3 }"),
    softmax=one("Softmax"),
    softmax_axis=one("Softmax", "softmax_param { axis: -1 }"),
    # element by element
    relu=one("ReLU"),
    relu_slope=one("ReLU", "relu_param { negative_slope: 0.1 }"),
    relu_zeros=one("ReLU", "relu_param { negative_slope: 0.1 }", label=(3, 9)),
    prelu=one("PReLU"),
    prelu_shared=one("PReLU", "prelu_param { channel_shared: true filler { value: 0.1 } }"),
    elu=one("ELU", "elu_param { alpha: 0.7 }"),
    sigmoid=one("Sigmoid"),
    tanh=one("TanH"),
    abs=one("AbsVal"),
    abs_zeros=one("AbsVal", label=(3, 9)),
    power=one("Power", "power_param { power: 2 scale: 0.5 shift: -1 }"),
    power_root=one("Power", "power_param { power: 0.5 scale: 2 shift: 0.1 }", positive=(2, 9)),
    power_none=one("Power", "power_param { power: 0 scale: 2 }"),
    exp=one("Exp", "exp_param { scale: 0.5 shift: 0.2 }"),
    exp_base=one("Exp", "exp_param { base: 2 scale: 0.5 shift: -0.3 }"),
    log=one("Log", "log_param { shift: 0.1 }", positive=(2, 9)),
    log_base=one("Log", "log_param { base: 10 scale: 3 shift: 0.1 }", positive=(2, 9)),
    dropout_test=one("Dropout", "dropout_param { dropout_ratio: 0.7 }"),
    # losses and measures
    euclidean=one("EuclideanLoss", "loss_weight: 2", x=(3, 2, 2), w=(3, 2, 2)),
    softmax_loss=one("SoftmaxWithLoss", x=(4, 3), label=(4,)),
    softmax_loss_axis=one("SoftmaxWithLoss", "softmax_param { axis: 2 }", x=(2, 5, 3, 4), label=(2, 5, 4)),
    softmax_loss_ignore=one("SoftmaxWithLoss", "loss_param { ignore_label: 1 }", x=IMAGE, label=LABELS),
    softmax_loss_full=one(
        "SoftmaxWithLoss", "loss_param { ignore_label: 1 normalization: FULL }", x=IMAGE, label=LABELS
    ),
    softmax_loss_batch=one(
        "SoftmaxWithLoss", "loss_param { normalization: BATCH_SIZE }", x=IMAGE, label=LABELS
    ),
    softmax_loss_none=one("SoftmaxWithLoss", "loss_param { normalization: NONE }", x=IMAGE, label=LABELS),
    softmax_loss_legacy=one("SoftmaxWithLoss", "loss_param { normalize: false }", x=IMAGE, label=LABELS),
    softmax_loss_sure=FORCE
    + inputs(x=(4, 3), label=(4,))
    + layer("Power", "power_param { scale: 500 }", "x", "h", "large")
    + layer("SoftmaxWithLoss", "", "h label"),
    sigmoid_loss=one("SigmoidCrossEntropyLoss", x=IMAGE, w=IMAGE),
    sigmoid_loss_valid=one(
        "SigmoidCrossEntropyLoss", "loss_param { normalization: VALID ignore_label: 2 }", x=IMAGE, label=IMAGE
    ),
    sigmoid_loss_full=one(
        "SigmoidCrossEntropyLoss", "loss_param { normalization: FULL }", x=IMAGE, label=IMAGE
    ),
    sigmoid_loss_legacy=one(
        "SigmoidCrossEntropyLoss", "loss_param { normalize: true }", x=IMAGE, label=IMAGE
    ),
    accuracy=one("Accuracy", force=False, x=IMAGE, label=LABELS),
    accuracy_ties=one("Accuracy", "accuracy_param { top_k: 2 }", force=False, label1=(40, 3), label=(40,)),
    accuracy_classes=one(
        "Accuracy", "accuracy_param { ignore_label: 1 }", "y z", force=False, x=IMAGE, label=LABELS
    ),
    accuracy_axis=one("Accuracy", "accuracy_param { axis: -1 }", force=False, x=(4, 5, 3), label=(4, 5)),
    argmax=one("ArgMax", "argmax_param { top_k: 2 }", force=False, x=(3, 4, 2)),
    argmax_values=one("ArgMax", "argmax_param { top_k: 3 out_max_val: true }", force=False, x=(3, 4, 2, 2)),
    argmax_axis=one("ArgMax", "argmax_param { axis: 1 }", force=False, x=(3, 4, 2)),
    argmax_axis_values=one(
        "ArgMax", "argmax_param { axis: -1 top_k: 2 out_max_val: true }", force=False, x=(3, 4, 5)
    ),
    argmax_ties=one("ArgMax", "argmax_param { top_k: 4 }", force=False, label=(6, 8)),
    # the net: what is shared, split, weighed, left out
    shared=FORCE
    + inputs(x=(2, 3, 5, 5), w=(2, 3, 5, 5))
    + "".join(
        layer(
            "Convolution",
            f'param {{ name: "k" lr_mult: 2 }} param {{ name: "b{name}" }} '
            "convolution_param { num_output: 2 kernel_size: 3 }",
            name,
            name + "1",
            "conv" + name,
        )
        for name in "xw"
    ),
    weighed=inputs(x=(2, 3))
    + layer("InnerProduct", "inner_product_param { num_output: 4 } loss_weight: 0.5", "x", "h", "inner")
    + layer("TanH", "", "h", "t", "tanh")
    + layer("InnerProduct", "inner_product_param { num_output: 2 } loss_weight: 2", "t", "y", "last")
    + layer("Silence", "", "y", "", "quiet"),
    split_three=FORCE
    + inputs(x=(2, 3))
    + layer("Sigmoid", "", "x", "s", "sigmoid")
    + layer("Eltwise", "", "s x", "a", "add")
    + layer("Eltwise", "eltwise_param { operation: PROD }", "s a", "y", "times"),
    in_place=FORCE
    + inputs(x=(2, 3, 4, 4))
    + layer("Convolution", "convolution_param { num_output: 3 kernel_size: 3 }", "x", "h", "conv")
    + layer("BatchNorm", "", "h", "h", "norm")
    + layer("Scale", "scale_param { bias_term: true }", "h", "h", "scale")
    + layer("PReLU", "", "h", "h", "prelu")
    + layer("Dropout", "", "h", "h", "drop")
    + layer("Pooling", "pooling_param { kernel_size: 2 }", "h", "y", "pool"),
    stopped=inputs(x=(4, 3), label=(4,))
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "x", "h", "below")
    + layer("InnerProduct", "inner_product_param { num_output: 3 } propagate_down: false", "h", "g", "above")
    + layer("SoftmaxWithLoss", "", "g label"),
    frozen=inputs(x=(4, 3), label=(4,))
    + layer(
        "InnerProduct",
        "inner_product_param { num_output: 3 } param { lr_mult: 0 } param { lr_mult: 0 }",
        "x",
        "h",
        "below",
    )
    + layer("InnerProduct", "inner_product_param { num_output: 3 } param { lr_mult: 0 }", "h", "g", "above")
    + layer("SoftmaxWithLoss", "", "g label", ""),
)


def values(random, name, shape):
    """What an input blob is given."""
    if name.startswith("label"):
        return random.randint(0, 3, shape)
    return random.uniform(0.1, 2, shape) if name.startswith("positive") else random.standard_normal(shape)


def numbers(path):
    """{what: array} of one forward and backward pass of the net at `path`, with weights from a fixed seed."""
    with open(path) as file:
        text = file.read()
    net = caffe.Net(str(path), caffe.TRAIN if "state { phase: TRAIN }" in text else caffe.TEST)
    random = np.random.RandomState(11)  # the generator whose numbers no NumPy release changes
    for name in net.inputs:
        net.blobs[name].data[...] = values(random, name, net.blobs[name].data.shape)
    for name, blobs in net.params.items():
        positive = net.layers[list(net._layer_names).index(name)].type == "BatchNorm"
        for blob in blobs:
            gradient = random.standard_normal(blob.data.shape) * 0.5
            blob.data[...] = np.abs(gradient) + 0.5 if positive else gradient
    arrays = OrderedDict()
    net.forward()
    for name in net.outputs:
        arrays["data " + name] = net.blobs[name].data.copy()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            arrays[f"param {name} {i}"] = blob.data.copy()
    forced = "force_backward: true" in text
    for name in net.outputs:
        if not net.blob_loss_weights[name]:
            net.blobs[name].diff[...] = random.standard_normal(net.blobs[name].data.shape)
    net.backward()
    if forced:
        for name in net.inputs:
            arrays["diff " + name] = net.blobs[name].diff.copy()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            arrays[f"diff param {name} {i}"] = blob.diff.copy()
    return arrays


def run(text):
    """`numbers` of a net in text form."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.prototxt")
        with open(path, "w") as file:
            file.write(text)
        return numbers(path)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        for line in sys.stdin:
            target = line.strip() + ".npz"
            np.savez(target, **numbers(line.strip()))
            print(target, flush=True)
    else:
        np.savez_compressed(
            sys.argv[1],
            **{case + "/" + what: array for case, text in CASES.items() for what, array in run(text).items()},
        )
