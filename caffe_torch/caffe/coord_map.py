"""caffe.coord_map: where the pixels of one blob lie in another, for Crop in fully convolutional nets.

n.score = crop(n.upscore, n.data)     # a Crop layer with the offset that aligns upscore with data

A map is (axis, scale, shift): along every axis behind `axis`, position x in one blob is position
scale * x + shift in the other. It holds for the centres of receptive fields: Long et al., "Fully
Convolutional Networks for Semantic Segmentation", DOI 10.1109/CVPR.2015.7298965.
"""

import numpy as np

from . import net_spec

IDENTITY = (None, 1, 0)  # axis None: of any
# Layers whose tops lie exactly on their bottoms.
PASS_THROUGH_LAYERS = [
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN"),
    *("PReLU", "Power", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"),
]


class UndefinedMapException(Exception):
    """A layer whose top has no place in its bottom: InnerProduct, for example."""


class AxisMismatchException(Exception):
    """Two maps of different axes."""


def conv_params(fn: net_spec.Function) -> tuple:
    """(axis, stride, dilated kernel size, padding) of a layer with a window; arrays, a value an axis.

    Raises: ValueError for settings by height and width (kernel_h and the like), which have no order of axes.
    """
    params = fn.params.get("convolution_param", fn.params)
    legacy = {f"{name}_{side}" for name in ("kernel", "stride", "pad") for side in "hw"} & set(params)
    if legacy:
        raise ValueError(f"{fn.type_name} with {sorted(legacy)[0]}: give kernel_size, stride and pad instead")
    kernel, dilation, stride, pad = (
        np.array(params.get(name, default), ndmin=1)
        for name, default in (("kernel_size", None), ("dilation", 1), ("stride", 1), ("pad", 0))
    )
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: net_spec.Function) -> tuple:
    """(axis, offset) of a Crop layer; the offset is an array."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: net_spec.Function) -> tuple:
    """The map from a layer's first bottom to its tops; UndefinedMapException where there is none."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # maps name the axis before the first spatial one
    raise UndefinedMapException(fn.type_name)


def compose(base_map: tuple, next_map: tuple) -> tuple:
    """`base_map` after `next_map`; AxisMismatchException where they are of different axes."""
    (axis, scale, shift), (next_axis, next_scale, next_shift) = base_map, next_map
    if axis is None:
        axis = next_axis
    elif next_axis not in (None, axis):
        raise AxisMismatchException
    return axis, scale * next_scale, scale * next_shift + shift


def inverse(coord_map: tuple) -> tuple:
    """The map the other way."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: net_spec.Top, top_to: net_spec.Top) -> tuple:
    """The map from `top_from` to `top_to`, through a blob that both are made of.

    Returns: (axis, scale, shift): position x in `top_from` is scale * x + shift in `top_to`.
    Raises: RuntimeError where no spatial layers connect them.
    """
    maps_from, maps_to = _maps_below(top_from), _maps_below(top_to)
    for top, to in maps_to.items():
        if top in maps_from:
            return compose(to, inverse(maps_from[top]))
    raise RuntimeError(
        "there is no map between the two tops: no layers with a place for every pixel connect them"
    )


def _maps_below(top):
    """{blob: the map from it to `top`} of `top` and all blobs under it that have one, nearest first."""
    maps, waiting = {top: IDENTITY}, [top]
    while waiting:
        above = waiting.pop(0)
        try:
            step = coord_map(above.fn)
        except UndefinedMapException:
            continue
        # The second bottom of Crop gives a size alone.
        for bottom in above.fn.inputs[: 1 if above.fn.type_name == "Crop" else None]:
            if bottom not in maps:
                maps[bottom] = compose(maps[above], step)
                waiting.append(bottom)
    return maps


def crop(top_from: net_spec.Top, top_to: net_spec.Top) -> net_spec.Top:
    """A Crop layer that cuts from `top_from` what lies on `top_to`.

    Raises: AssertionError for tops of different scales and for offsets that are negative or between pixels;
    RuntimeError as coord_map_from_to.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    offset = np.round(-np.array(shift, ndmin=1)).astype(int)
    for holds, reason in (
        (np.all(scale == 1), f"the tops differ in scale, by a factor of {scale}"),
        (np.all(np.less_equal(shift, 0)), f"the offset would be negative: {-np.asarray(shift)}"),
        (np.all(-offset == shift), f"the offset lies between pixels: {-np.asarray(shift)}"),
    ):
        if not holds:
            raise AssertionError(f"cannot crop: {reason}")
    return net_spec.layers.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset.tolist()})
