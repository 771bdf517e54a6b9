"""Forward and backward numbers of further layers, as layers.py has them, by whichever Caffe runs this.

Made with BVLC Caffe 1.0, from the repository root:
    export PYTHONPATH=. GLOG_minloglevel=2
    build/bvlc/bin/python tests/golden/more_layers.py tests/golden/more_layers.npz
"""

import sys
from collections import OrderedDict

import numpy as np

from tests.golden.layers import FORCE, IMAGE, LABELS, inputs, layer, one, run


def behind_a_scale(layer_type, bottoms, **shapes):
    """A net of a layer that lets no gradient through to some of its bottoms, behind learned factors of x."""
    return (
        inputs(**shapes)
        + layer("Scale", "scale_param { axis: 0 num_axes: -1 }", "x", "h", "factors")
        + layer(layer_type, "", bottoms)
    )


CASES = OrderedDict(
    # element by element
    bnll=one("BNLL"),
    swish=one("Swish", "swish_param { beta: 1.5 }"),
    swish_default=one("Swish"),
    clip=one("Clip", "clip_param { min: -0.5 max: 0.8 }"),
    threshold=one("Threshold", "threshold_param { threshold: 0.3 }", force=False),
    # shapes
    tile=one("Tile", "tile_param { tiles: 3 }"),
    tile_axis=one("Tile", "tile_param { axis: -1 tiles: 2 }"),
    reindex=one("BatchReindex", force=False, x=(3, 2, 4), label=(5,)),
    reindex_backward=behind_a_scale("BatchReindex", "h label", x=(3, 2, 4), label=(5,)),
    filter=one("Filter", "", "y z", force=False, x=(6, 2, 3), w=(6, 4), label=(6,)),
    filter_backward=behind_a_scale("Filter", "h label", x=(6, 2, 3), label=(6, 1, 1)),
    im2col=one("Im2col", "convolution_param { kernel_size: 3 pad: 1 stride: 2 }"),
    im2col_all=one(
        "Im2col",
        "convolution_param { kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2 dilation: 2 "
        "dilation: 1 }",
        x=(2, 3, 7, 6),
    ),
    im2col_1d=one("Im2col", "convolution_param { kernel_size: 3 stride: 2 }", x=(2, 3, 9)),
    im2col_3d=one("Im2col", "convolution_param { kernel_size: 2 pad: 1 }", x=(1, 2, 3, 4, 3)),
    parameter=layer("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", "", "p", "learned")
    + layer("TanH", "", "p", "y"),
    # tables and sums
    embed=one("Embed", "embed_param { num_output: 4 input_dim: 3 }", force=False, label=(5,)),
    embed_plain=one(
        "Embed", "embed_param { num_output: 2 input_dim: 6 bias_term: false }", force=False, label=(4, 3)
    ),
    reduction=one("Reduction"),
    reduction_axis=one("Reduction", "reduction_param { axis: 2 coeff: 0.5 }"),
    reduction_mean=one("Reduction", "reduction_param { operation: MEAN axis: 1 coeff: -2 }"),
    reduction_asum=one("Reduction", "reduction_param { operation: ASUM axis: -1 }"),
    reduction_asum_zeros=one("Reduction", "reduction_param { operation: ASUM axis: 1 }", label=(3, 9)),
    reduction_sumsq=one("Reduction", "reduction_param { operation: SUMSQ axis: 1 coeff: 0.1 }"),
    reduction_loss=one("Reduction", "loss_weight: 0.7 reduction_param { operation: SUMSQ }"),
    # normalisation and pooling
    mvn=one("MVN"),
    mvn_across=one("MVN", "mvn_param { across_channels: true }"),
    mvn_mean=one("MVN", "mvn_param { normalize_variance: false }"),
    mvn_mean_across=one("MVN", "mvn_param { normalize_variance: false across_channels: true }", x=(2, 3, 4)),
    spp=one("SPP", "spp_param { pyramid_height: 3 }", x=(2, 2, 8, 7)),
    spp_ave=one("SPP", "spp_param { pyramid_height: 2 pool: AVE }", x=(2, 3, 5, 6)),
    spp_one=one("SPP", "spp_param { pyramid_height: 1 }"),
    # losses
    contrastive=one("ContrastiveLoss", x=(8, 3), w=(8, 3), label=(8,)),
    contrastive_margin=one(
        "ContrastiveLoss",
        "loss_weight: 3 contrastive_loss_param { margin: 4 }",
        x=(8, 3, 1, 1),
        w=(8, 3, 1, 1),
        label=(8, 1),
    ),
    contrastive_legacy=one(
        "ContrastiveLoss",
        "contrastive_loss_param { margin: 6 legacy_version: true }",
        x=(8, 3),
        w=(8, 3),
        label=(8,),
    ),
    hinge=one("HingeLoss", x=(6, 3), label=(6,)),
    hinge_squares=one("HingeLoss", "hinge_loss_param { norm: L2 } loss_weight: 0.5", x=(6, 4), label=(6, 1)),
    logistic=one("MultinomialLogisticLoss", positive=(6, 3), label=(6,)),
    logistic_sure=FORCE
    + inputs(x=(6, 3), label=(6,))
    + layer("Power", "power_param { scale: 200 }", "x", "h", "large")
    + layer("Softmax", "", "h", "p", "softmax")
    + layer("MultinomialLogisticLoss", "", "p label"),
    infogain=one("InfogainLoss", force=False, x=(6, 3), label=(6,), labels_of_gain=(1, 1, 3, 3)),
    infogain_backward=inputs(x=IMAGE, label=LABELS, label_gain=(3, 3))
    + layer("Scale", "scale_param { axis: 0 num_axes: -1 }", "x", "h", "factors")
    + layer("InfogainLoss", "loss_param { ignore_label: 1 }", "h label label_gain"),
    infogain_rows=inputs(x=(2, 5, 3, 4), label=(2, 5, 4), label_gain=(3, 3))
    + layer("Scale", "scale_param { axis: 0 num_axes: -1 }", "x", "h", "factors")
    + layer(
        "InfogainLoss",
        "infogain_loss_param { axis: 2 } loss_param { normalization: BATCH_SIZE }",
        "h label label_gain",
    ),
)

if __name__ == "__main__":
    np.savez_compressed(
        sys.argv[1],
        **{case + "/" + what: array for case, text in CASES.items() for what, array in run(text).items()},
    )
