"""Rules that select one of two coefficients, written out place by place."""

import numpy as np
import pytest

from two_stream_fusion.methods.coefficients import merge_lowpass, select_coefficients

windows = pytest.mark.parametrize("window", [1, 3, 5])
sizes = pytest.mark.parametrize("size", [(16, 23), (7, 6), (3, 3)])


def two_bands(size):
    return np.random.default_rng(size[0]).normal(size=(2, *size))


def around(values, window):
    """The window around each place, the border mirrored: H x W x window^2."""
    height, width = values.shape
    padded = np.pad(values, window // 2, mode="reflect")
    return np.stack(
        [padded[i : i + height, j : j + width] for i, j in np.ndindex(window, window)],
        axis=-1,
    )


def test_larger_magnitude_and_the_second_where_equal():
    x, y = np.array([[3.0, -3.0, 1.0, -2.0]]), np.array([[-2.0, 2.0, -4.0, 2.0]])
    assert select_coefficients(x, y).tolist() == [[3, -3, -4, 2]]
    assert select_coefficients(y, x).tolist() == [[3, -3, -4, -2]]


@windows
@sizes
def test_area_max(size, window):
    """Maxima over the window on the band extended once, zeros beyond; then the majority of the votes."""
    x, y = two_bands(size)
    edge = window // 2
    ax, ay = (np.pad(np.pad(np.abs(v), edge, mode="reflect"), edge) for v in (x, y))
    votes = np.zeros([n + 2 * edge for n in size], bool)
    for i, j in np.ndindex(votes.shape):
        votes[i, j] = ax[i : i + window, j : j + window].max() > ay[i : i + window, j : j + window].max()
    expected = y.copy()
    for i, j in np.ndindex(size):
        if votes[i : i + window, j : j + window].sum() > window * window // 2:
            expected[i, j] = x[i, j]
    np.testing.assert_array_equal(select_coefficients(x, y, "area_max", window), expected)
    assert window == 1 or (expected != select_coefficients(x, y)).any()


@windows
@sizes
def test_energy(size, window):
    x, y = two_bands(size)
    larger = (around(x, window) ** 2).sum(-1) > (around(y, window) ** 2).sum(-1)
    np.testing.assert_array_equal(select_coefficients(x, y, "energy", window), np.where(larger, x, y))


@windows
@sizes
def test_match(size, window):
    x, y = two_bands(size)
    y[:, ::2] = 0.9 * x[:, ::2]
    expected = np.empty(size)
    for i, j in np.ndindex(size):
        u, v = around(x, window)[i, j], around(y, window)[i, j]
        match = 2 * (u @ v) / (u @ u + v @ v)
        strong, weak = (x[i, j], y[i, j]) if u @ u > v @ v else (y[i, j], x[i, j])
        share = 0.5 - 0.5 * (1 - match) / 0.25 if match > 0.75 else 0
        expected[i, j] = (1 - share) * strong + share * weak
    np.testing.assert_allclose(select_coefficients(x, y, "match", window), expected, atol=1e-9)


def test_what_cannot_be_selected():
    band = np.zeros((4, 4))
    with pytest.raises(ValueError, match="unknown rule 'min': max_abs, area_max, energy or match"):
        select_coefficients(band, band, "min")
    for window in (0, -1, 2, 257):
        with pytest.raises(ValueError, match="odd number of pixels from 1 to 255"):
            select_coefficients(band, band, "energy", window)
    with pytest.raises(ValueError, match="unknown base 'c': average, a or b"):
        merge_lowpass(band, band, "c")
