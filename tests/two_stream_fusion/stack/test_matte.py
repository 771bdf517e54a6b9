"""stack/matte.py: what methods see of frames with alpha."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.two_stream_fusion.stack.scenes import photograph
from two_stream_fusion.base.pixels import extend_visible
from two_stream_fusion.stack.matte import Matte

COLOURS = pytest.mark.parametrize("channels", [(), (3,)])
DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


class Sequence:
    """Frames in memory, as stack/frames.py has them. reads: how often each was read."""

    def __init__(self, colours, alphas):
        self.colours, self.alphas = colours, alphas
        self.shape, self.dtype = colours[0].shape, colours[0].dtype
        self.reads = [0] * len(colours)

    def __len__(self):
        return len(self.colours)

    def with_alpha(self, i):
        self.reads[i] += 1
        return self.colours[i], self.alphas[i]

    def name(self, i):
        return f"frame {i}"


def random_frames(seed, count=3, shape=(7, 9), channels=(), dtype=np.uint8):
    """Frames of noise whose alphas are 0, two thirds or full in random blocks; some have none."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    colours = [rng.integers(0, top, shape + channels, dtype, endpoint=True) for _ in range(count)]
    alphas = []
    for _ in range(count):
        blocks = rng.choice(np.array([0, top // 3 * 2, top], dtype), (2, 2))
        alpha = cv2.resize(blocks, shape[::-1], interpolation=cv2.INTER_NEAREST)
        alphas.append(None if rng.random() < 0.2 else alpha)
    return Sequence(colours, alphas)


def defocus(sigma, thing):
    """A matted thing (colour, alpha) out of focus: alpha is blurred, and colour where it is visible."""
    colour, alpha = thing
    soft = cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), sigma)
    light = cv2.GaussianBlur(colour * (alpha[..., None] / np.float32(255)), (0, 0), sigma)
    colours = np.where(soft[..., None] > 0.5, light * 255 / np.maximum(soft[..., None], 0.5), 0)
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8), np.rint(soft).astype(np.uint8)


def thing_with_legs():
    """A disc with four legs of three pixels, and what is under alpha 0: noise."""
    alpha = np.zeros((100, 120), np.uint8)
    cv2.circle(alpha, (60, 50), 28, 255, -1)
    for end in ((8, 50), (112, 50), (20, 8), (100, 92)):
        cv2.line(alpha, (60, 50), end, 255, 3)
    return photograph()[100:200, 150:270].copy(), alpha


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_hidden_pixels_are_filled_by_a_frame_that_shows_them(seed):
    rng = np.random.default_rng(seed)
    frames = random_frames(
        seed,
        count=int(rng.integers(2, 5)),
        channels=((), (3,))[seed % 2],
        dtype=(np.uint8, np.uint16)[seed // 2 % 2],
    )
    matte, top = Matte(frames), np.iinfo(frames.dtype).max
    alphas = [np.full(frames.shape[:2], top) if alpha is None else alpha for alpha in frames.alphas]
    highest = np.max(alphas, axis=0)
    np.testing.assert_array_equal(matte.max_alpha, highest)
    for i, (colours, alpha) in enumerate(zip(matte.colours, matte.alphas)):
        assert colours.dtype == alpha.dtype == frames.dtype and colours.shape == frames.shape
        assert (alpha[highest == top] == top).all() and (alpha[highest == 0] == 0).all()
        assert (alpha >= alphas[i]).all() and (alpha <= highest).all()
        own = alphas[i] > 0
        np.testing.assert_array_equal(colours[own], frames.colours[i][own])
        for y, x in np.argwhere(~own & (highest > 0)):
            showing = [j for j in range(len(frames)) if alphas[j][y, x] > highest[y, x] / 2]
            before = [j for j in showing if j < i]
            expected = before[-1] if before else showing[0]  # the nearest before, else the first after
            np.testing.assert_array_equal(colours[y, x], frames.colours[expected][y, x])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_colours_under_zero_alpha_are_never_seen(seed):
    frames, other_frames = random_frames(seed, channels=(3,)), random_frames(seed, channels=(3,))
    for colours, alpha in zip(other_frames.colours, other_frames.alphas):
        if alpha is not None:
            colours[alpha == 0] = 255 - colours[alpha == 0]
    one, other = (
        Matte(Sequence([*map(extend_visible, f.colours, f.alphas)], f.alphas)) for f in (frames, other_frames)
    )
    for first, second in zip(zip(one.layers, one.composites), zip(other.layers, other.composites)):
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
    assert one.background == other.background


def test_a_pass_reads_each_frame_once_in_bounded_memory():
    """Borders that grow from frame to frame: only the first frame shows all."""
    colours = [np.full((30, 40), i, np.uint8) for i in range(6)]
    alphas = [np.full((30, 40), 255, np.uint8) for _ in range(6)]
    for i, alpha in enumerate(alphas):
        alpha[: 3 * i] = 0
    frames = Sequence(colours, alphas)
    matte = Matte(frames)
    assert frames.reads == [2, 1, 1, 1, 1, 1]
    for i, (layer, composite) in enumerate(zip(matte.layers, matte.composites)):
        np.testing.assert_array_equal(layer[:, 0, 0], np.minimum(np.arange(30) // 3, i))
        np.testing.assert_array_equal(layer[..., 0], composite)
    assert frames.reads == [3, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(matte.colours[-1], composite)
    np.testing.assert_array_equal(matte.colours[2][:, 0], np.minimum(np.arange(30) // 3, 2))


def test_a_choice_names_frames_that_show_their_pixels():
    alphas = [np.full((4, 6), 255, np.uint8) for _ in range(3)]
    alphas[0][:, :2] = alphas[2][:, :4] = 0
    matte = Matte(Sequence([np.zeros((4, 6), np.uint8)] * 3, alphas))
    names = matte.shown_choice(np.full((4, 6), 2, np.uint16))
    np.testing.assert_array_equal(names, np.tile(np.array([1, 1, 1, 1, 2, 2], np.uint16), (4, 1)))
    names = matte.shown_choice(np.zeros((4, 6), np.uint16))
    np.testing.assert_array_equal(names[0], [1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("strength", [255, 200, 128])
@pytest.mark.parametrize("flip", [False, True])
def test_holes_in_half_transparent_frames_are_filled(strength, flip):
    """One frame hides the left half of a plain veil, the other the right half."""
    alphas = [np.full((40, 60), strength, np.uint8) for _ in range(2)]
    alphas[flip][:, :30] = alphas[not flip][:, 30:] = 0
    matte = Matte(Sequence([np.full((40, 60), 10, np.uint8), np.full((40, 60), 90, np.uint8)], alphas))
    for alpha in matte.alphas:
        np.testing.assert_array_equal(alpha, strength)


@pytest.mark.parametrize("sigma", [1.5, 4, 8])
def test_soft_outline_does_not_fill_transparent_pixels(sigma):
    """Outside of the thing, alpha of the sharp frame stays as it is. Inside, the thing is opaque."""
    sharp = thing_with_legs()
    soft = defocus(sigma, sharp)
    for order in ((0, 1), (1, 0)):
        colours, alphas = zip(*[(sharp, soft)[i] for i in order])
        matte = Matte(Sequence(colours, alphas))
        alpha = matte.alphas[order.index(0)]
        np.testing.assert_array_equal(alpha, sharp[1])
        assert (matte.alphas[order.index(1)][sharp[1] == 255] == 255).all()


@COLOURS
@DTYPES
def test_composites_show_outlines_over_a_plain_background(channels, dtype):
    top = np.iinfo(dtype).max
    for level, background in ((top // 5, top), (top - top // 5, 0)):
        colours = np.full((6, 8, *channels), level, dtype)
        alpha = np.full((6, 8), top, dtype)
        alpha[:2], alpha[2:4] = 0, top // 2
        matte = Matte(Sequence([colours, colours], [alpha, alpha]))
        composite = matte.composites[0]
        assert composite.dtype == dtype and matte.background == background
        np.testing.assert_array_equal(composite[:2], background)
        np.testing.assert_array_equal(composite[4:], level)
        assert np.abs(composite[2:4] - (level + background) / 2).max() <= 1 + top / 500


def test_alpha_is_clipped_to_that_of_the_frames():
    alphas = [
        np.array([[0, 0, 40, 255]], np.uint8).repeat(3, 0),
        np.array([[0, 0, 90, 0]], np.uint8).repeat(3, 0),
    ]
    matte = Matte(Sequence([np.zeros((3, 4), np.uint8)] * 2, alphas))
    assert len(list(matte.alphas)) == 2
    for value, expected in ((0, [0, 0, 40, 255]), (255, [0, 0, 90, 255])):
        clipped = matte.clip_alpha(np.full((3, 4), value, np.uint8))
        np.testing.assert_array_equal(clipped[1], expected)


def test_views_are_sequences():
    frames = random_frames(3)
    view = Matte(frames).colours
    assert len(view) == 3 and view.shape == frames.shape and view.name(1) == "frame 1"
    np.testing.assert_array_equal(view[-1], view[2])
    with pytest.raises(IndexError):
        view[3]
