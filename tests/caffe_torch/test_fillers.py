"""First values of parameters: their ranges and moments, by hand and as BVLC Caffe 1.0 gave them."""

import math

import caffe
import numpy as np
import pytest
from caffe import fillers
from caffe.proto import caffe_pb2

SHAPE = (40, 30, 5, 5)  # fan_in 750, fan_out 1000


@pytest.fixture(autouse=True)
def seed():
    caffe.set_random_seed(7)


def fill(shape=SHAPE, **spec):
    return fillers.fill(caffe_pb2.FillerParameter(**spec), shape).numpy()


def test_the_default_is_zero():
    assert not fill().any()
    assert (fill(value=3) == 3).all()


def test_uniform_fills_its_range():
    values = fill(type="uniform", min=-2, max=1)
    assert -2 <= values.min() < -1.99 and 0.99 < values.max() < 1


@pytest.mark.parametrize(("norm", "fan"), [("FAN_IN", 750), ("FAN_OUT", 1000), ("AVERAGE", 875)])
def test_xavier_and_msra_count_inputs_outputs_or_both(norm, fan):
    norm = caffe_pb2.FillerParameter.VarianceNorm.Value(norm)
    values, bound = fill(type="xavier", variance_norm=norm), (3 / fan) ** 0.5
    assert -bound <= values.min() < -0.999 * bound and 0.999 * bound < values.max() <= bound
    assert values.std() == pytest.approx(bound / 3**0.5, rel=0.02) and abs(values.mean()) < 0.03 * bound
    values = fill(type="msra", variance_norm=norm)
    assert values.std() == pytest.approx((2 / fan) ** 0.5, rel=0.02)  # 5 standard errors of 30000 values
    assert abs(values.mean()) < 0.03 * values.std()


def test_fans_of_biases_and_scalars():
    assert np.abs(fill((10000,), type="xavier")).max() == pytest.approx(3**0.5, rel=1e-3)
    assert fill((), type="xavier").shape == ()


def test_gaussian_can_be_sparse():
    values = fill(type="gaussian", mean=1, std=0.5)
    assert values.mean() == pytest.approx(1, abs=0.02) and values.std() == pytest.approx(0.5, rel=0.02)
    values = fill(type="gaussian", std=2, sparse=10)  # 10 of 40 outputs of each input
    assert np.mean(values != 0) == pytest.approx(0.25, abs=0.013)
    assert values[values != 0].std() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("shape", [SHAPE, (6, 4), (5,)])
def test_positive_unitball_sums_to_one(shape):
    values = fill(shape, type="positive_unitball")
    assert (values >= 0).all()
    np.testing.assert_allclose(values.reshape(shape[0], -1).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "row"),  # the first row of the filter, from BVLC Caffe 1.0
    [
        (2, [0.25, 0.25]),
        (3, [0.25, 0.5, 0.25]),
        (4, [0.0625, 0.1875, 0.1875, 0.0625]),
        (5, [0.1111111, 0.2222222, 0.3333333, 0.2222222, 0.1111111]),
    ],
)
def test_bilinear(size, row):
    values = fill((2, 1, size, size), type="bilinear")
    np.testing.assert_allclose(values[1, 0, 0], row, rtol=1e-6)
    np.testing.assert_allclose(values[0, 0], values[0, 0].T)
    np.testing.assert_allclose(values[0, 0], values[0, 0, ::-1, ::-1], rtol=1e-6)


def test_a_seed_repeats_the_values():
    first = fill(type="gaussian")
    caffe.set_random_seed(7)
    np.testing.assert_array_equal(fill(type="gaussian"), first)
    assert (fill(type="gaussian") != first).any()


@pytest.mark.parametrize(
    ("spec", "shape", "reason"),
    [
        ({"type": "best"}, SHAPE, "unknown filler 'best': use one of constant"),
        ({"type": "bilinear"}, (2, 2, 3, 4), "square filters"),
        ({"type": "xavier", "sparse": 3}, SHAPE, "cannot be sparse"),
        (
            {"type": "uniform", "min": 2, "max": 1},
            SHAPE,
            "^a uniform filler from min 2 to max 1: min must be",
        ),
        (
            {"type": "uniform", "max": math.nan},
            SHAPE,
            "^a uniform filler from min 0 to max nan: min must be",
        ),
        (
            {"type": "uniform", "max": math.inf},
            (3,),
            r"^a uniform filler cannot fill the shape \(3,\): to is out",
        ),
        ({"type": "gaussian", "std": -1}, SHAPE, "^a gaussian filler of std -1: give 0 or more$"),
        ({"type": "gaussian", "sparse": 2}, (), r"^a gaussian filler cannot fill the shape \(\): "),
        ({"type": "positive_unitball"}, (), r"^a positive_unitball filler cannot fill the shape \(\): "),
        ({"type": "xavier"}, (3, 0), r"^a xavier filler cannot fill the shape \(3, 0\): "),
    ],
)
def test_refusals(spec, shape, reason):
    with pytest.raises(ValueError, match=reason):
        fill(shape, **spec)
