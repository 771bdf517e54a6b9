"""methods/common.py: rules that select one of two coefficients, written out place by place; specks."""

import numpy as np
import pytest

from two_stream_fusion.methods.common import residual, stronger, without_specks

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
    assert stronger(x, y).tolist() == [[3, -3, -4, 2]]
    assert stronger(y, x).tolist() == [[3, -3, -4, -2]]


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
    np.testing.assert_array_equal(stronger(x, y, "area_max", window), expected)
    assert window == 1 or (expected != stronger(x, y)).any()


@windows
@sizes
def test_energy(size, window):
    x, y = two_bands(size)
    larger = (around(x, window) ** 2).sum(-1) > (around(y, window) ** 2).sum(-1)
    np.testing.assert_array_equal(stronger(x, y, "energy", window), np.where(larger, x, y))


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
    np.testing.assert_allclose(stronger(x, y, "match", window), expected, atol=1e-9)


def test_what_cannot_be_selected():
    band = np.zeros((4, 4))
    with pytest.raises(ValueError, match="unknown rule 'min': max_abs, area_max, energy or match"):
        stronger(band, band, "min")
    for window in (0, -1, 2, 257):
        with pytest.raises(ValueError, match="odd number of pixels from 1 to 255"):
            stronger(band, band, "energy", window)
    with pytest.raises(ValueError, match="unknown base 'c': average, a or b"):
        residual(band, band, "c")


def test_specks_go_to_what_surrounds_them_and_larger_regions_stay():
    choice = np.zeros((50, 50), bool)
    choice[10:12, 10:12] = 1  # 4 pixels
    choice[30:40, 30:40] = 1  # 100, with a hole of 1 and a diagonal neighbour of 1
    choice[35, 35] = 0
    choice[40, 40] = 1
    clean = without_specks(choice, 5)
    wanted = np.zeros_like(choice)
    wanted[30:40, 30:40] = 1
    wanted[40, 40] = 1
    assert np.array_equal(clean, wanted)


def test_specks_of_any_number_go():
    """Choices among frames: a speck of 3 in a region of 2 beside one of 7."""
    choice = np.full((40, 60), 2, np.uint16)
    choice[:, 30:] = 7
    wanted = choice.copy()
    choice[5:7, 5:7] = 3
    choice[20:22, 50:53] = 0
    assert np.array_equal(without_specks(choice, 10), wanted)
    assert np.array_equal(without_specks(choice, 5)[20:22, 50:53], np.zeros((2, 3)))


def test_where_all_regions_are_specks_they_stay():
    choice = np.indices((6, 6)).sum(0) // 4 % 2 == 1
    assert np.array_equal(without_specks(choice, 100), choice)
