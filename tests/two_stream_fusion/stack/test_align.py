"""Known motions found again, what cannot be aligned refused, pixels and their kinds kept."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.two_stream_fusion.stack.scenes import KINDS, as_kind, photograph
from two_stream_fusion.io import images
from two_stream_fusion.stack import align

SIZE = 300, 360
MOTIONS = {
    "translation": [[1, 0, 12.4], [0, 1, -7.7], [0, 0, 1]],
    "euclidean": [[np.cos(0.02), -np.sin(0.02), 5.3], [np.sin(0.02), np.cos(0.02), -3.1], [0, 0, 1]],
    "affine": [[1.025, 0.012, -6.2], [-0.008, 0.985, 4.6], [0, 0, 1]],
    "homography": [[1.01, 0.01, -4], [-0.01, 0.99, 5], [2e-5, -3e-5, 1]],
}


@lru_cache(maxsize=None)
def pair(motion):
    """(reference, image, matrix): focused left and right, the second one darker and moved."""
    matrix = np.array(MOTIONS[motion], float)
    sharp = photograph().astype(np.float32)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.5)
    left = np.arange(512)[None, :, None] < 256
    to_photo = np.array([[1, 0, 70], [0, 1, 50], [0, 0, 1.0]])
    images = [
        cv2.warpPerspective(
            v, m, SIZE[::-1], flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
        for v, m in [
            (np.where(left, sharp, blurred), to_photo),
            (np.where(left, blurred, sharp) * 0.85, to_photo @ np.linalg.inv(matrix)),
        ]
    ]
    return (*(np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in images), matrix)


@pytest.mark.parametrize("motion", MOTIONS)
def test_known_motion_is_found(motion):
    reference, image, matrix = pair(motion)
    before = reference.copy(), image.copy()
    estimate = align.estimate(reference, image, motion)
    assert estimate.shape == (3, 3) and estimate.dtype == np.float64 and estimate[2, 2] == 1
    assert align.corner_distance(estimate, matrix, SIZE) < 0.25
    np.testing.assert_array_equal(reference, before[0])
    np.testing.assert_array_equal(image, before[1])


@KINDS
def test_every_kind_of_image(kind):
    reference, image, matrix = pair("affine")
    reference, image = as_kind(reference, kind), as_kind(image, kind)
    estimate = align.estimate(reference, image)
    assert align.corner_distance(estimate, matrix, SIZE) < 0.25
    back = align.warp(image, estimate)
    assert back.shape == reference.shape and back.dtype == reference.dtype


def test_a_simple_model_stays_simple():
    reference, image, _ = pair("affine")
    shift = align.estimate(reference, image, "translation")
    np.testing.assert_array_equal(shift[:, :2], np.eye(3)[:, :2])
    turn = align.estimate(reference, image, "euclidean")[:2, :2]
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-4)


def test_warping_puts_the_image_in_register():
    reference, image, matrix = pair("homography")
    back = align.warp(image, align.estimate(reference, image, "homography"))
    rows, columns = align.common_window([matrix], SIZE)
    true = align.warp(image, matrix)[rows, columns].astype(float)
    assert np.abs(back[rows, columns] - true).mean() < 1
    assert align.correlate_images(reference, back) > align.correlate_images(reference, image) + 0.04


def test_far_shifts_are_found():
    """Farther than ECC climbs to by itself."""
    photo = photograph()
    reference, image = photo[:300, :360].copy(), photo[40:340, 80:440].copy()
    true = np.array([[1, 0, -80], [0, 1, -40], [0, 0, 1]])
    assert align.corner_distance(align.estimate(reference, image), true, SIZE) < 0.1


def test_an_image_to_itself_is_the_identity():
    image = photograph()
    for motion in align.MOTIONS:
        np.testing.assert_array_equal(align.estimate(image, image, motion), np.eye(3))


def test_another_focus_is_no_motion():
    photo = photograph()
    blurred = cv2.GaussianBlur(photo, (0, 0), 2)
    left = np.arange(512)[None, :, None] < 256
    a, b = np.where(left, photo, blurred), np.where(left, blurred, photo)
    assert align.corner_distance(align.estimate(a, b), np.eye(3), photo.shape) < 0.15
    assert align.misalignment(a, b) < 0.5


def test_a_real_pair_far_out_of_register_is_noticed():
    """Focus breathing of 1.3 %, where moving the image brings it only a fifth closer, so blurred are both."""
    folder = Path(os.environ.get("FUSION_DATA", "nowhere"), "pairs/mffw/mffw_06")
    if not folder.is_dir():
        pytest.skip("needs FUSION_DATA with pairs/mffw")
    a, b = (images.read(folder / f"mffw_06_{x}.jpg") for x in "AB")
    assert align.misalignment(a, b) > 5


def test_large_images_are_estimated_on_small_versions():
    reference = cv2.resize(photograph(), (2400, 1800), interpolation=cv2.INTER_CUBIC)
    true = np.array([[1.004, 0.003, 9.5], [-0.003, 1.004, -14.2], [0, 0, 1]])
    image = align.warp(reference, np.linalg.inv(true))
    assert align.corner_distance(align.estimate(reference, image), true, reference.shape) < 0.2


def test_what_is_not_one_scene_is_refused():
    a, b = photograph()[:300, :400], skimage.data.coffee()[:300, :400]
    with pytest.raises(align.AlignmentError, match="no motion"):
        align.estimate(a, b)
    assert align.misalignment(a, b) == np.inf
    noise = np.random.default_rng(0).integers(0, 256, (2, 200, 200), dtype=np.uint8)
    with pytest.raises(align.AlignmentError, match="no motion"):
        align.estimate(*noise)


def test_flat_images_are_refused():
    image = photograph()
    for a, b in [(image, np.full_like(image, 90)), (np.zeros_like(image), image)]:
        with pytest.raises(align.AlignmentError, match="flat"):
            align.estimate(a, b)
        assert align.misalignment(a, b) == 0


def test_images_that_differ_and_unknown_models_are_refused():
    image = photograph()
    for other in (image[:-1], image[..., 0], image.astype(np.uint16)):
        for function in (align.estimate, align.misalignment, align.correlate_images):
            with pytest.raises(ValueError, match="differ"):
                function(image, other)
    with pytest.raises(ValueError, match="unknown motion 'similarity'"):
        align.estimate(image, image, "similarity")
    with pytest.raises(ValueError, match="dtype"):
        align.warp(image.astype(np.float32), np.eye(3))


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (9, 8), (30, 31)])
def test_tiny_images_are_aligned_or_refused(size):
    image = photograph()[: size[0], : size[1]].copy()
    other = np.random.default_rng(1).integers(0, 256, image.shape, dtype=np.uint8)
    for b in (image, other):
        try:
            estimate = align.estimate(image, b)
        except align.AlignmentError:
            continue
        assert np.isfinite(estimate).all()
    assert align.misalignment(image, image) in (0, np.inf)


@KINDS
def test_warp_by_the_identity_changes_nothing(kind):
    image = as_kind(photograph(), kind)
    back = align.warp(image, np.eye(3))
    assert back is not image and back.tobytes() == image.tobytes()


def test_warp_fetches_whole_pixels_whole():
    """The matrix says where a pixel comes from; the border is mirrored."""
    image = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    moved = align.warp(image, np.array([[1, 0, 2], [0, 1, -1], [0, 0, 1]]))
    np.testing.assert_array_equal(moved, np.pad(image, ((1, 0), (0, 2)), "reflect")[:6, 2:])


def test_common_rectangle():
    shape = 100, 200
    right_down = np.array([[1, 0, 3.5], [0, 1, 2], [0, 0, 1]])
    left = np.array([[1, 0, -10], [0, 1, 0], [0, 0, 1]])
    smaller = np.array([[1.1, 0, -9.95], [0, 1.1, -4.95], [0, 0, 1]])  # about the centre
    assert align.common_window([np.eye(3)], shape) == (slice(0, 100), slice(0, 200))
    # 195 + 3.5 is the last column that lies within 0..199, and 97 + 2 the last row within 0..99.
    assert align.common_window([np.eye(3), right_down], shape) == (slice(0, 98), slice(0, 196))
    assert align.common_window([left, right_down], shape) == (slice(0, 98), slice(10, 196))
    # 1.1 x - 9.95 >= 0 from x = 9.05 on, so from column 10; 1.1 y - 4.95 >= 0 from row 4.5 on, so from 5.
    assert align.common_window([smaller], shape) == (slice(5, 95), slice(10, 190))
    with pytest.raises(ValueError, match="common"):
        align.common_window([right_down, np.array([[1, 0, -300], [0, 1, 0], [0, 0, 1]])], shape)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_common_rectangle_lies_within_every_image(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(40, 400, 2))
    matrices = np.eye(3) + rng.uniform(-1, 1, (3, 3, 3)) * [[0.03, 0.03, 5], [0.03, 0.03, 5], [1e-5, 1e-5, 0]]
    rows, columns = align.common_window(matrices, shape)
    assert 0 <= rows.start < rows.stop <= shape[0] and 0 <= columns.start < columns.stop <= shape[1]
    ends = [(x, y, 1) for x in (columns.start, columns.stop - 1) for y in (rows.start, rows.stop - 1)]
    for matrix in matrices:
        x, y, w = matrix @ np.transpose(ends)
        assert (x / w > -1e-3).all() and (x / w < shape[1] - 1 + 1e-3).all()
        assert (y / w > -1e-3).all() and (y / w < shape[0] - 1 + 1e-3).all()


@pytest.mark.parametrize("motion", ["translation", "euclidean", "affine"])
def test_misaligned_pairs_are_noticed(motion):
    reference, image, matrix = pair(motion)
    true = align.corner_distance(matrix, np.eye(3), SIZE)
    assert align.misalignment(reference, image) == pytest.approx(true, abs=0.5)


class Frames:
    """A focus stack in which frame i is shifted by i times (2.5, -1.5) pixels; counts what is read."""

    def __init__(self, count, broken=None):
        self.count, self.broken, self.read = count, broken, []

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.read.append(i)
        if i == self.broken:
            return np.full((300, 360), 7, np.uint8)
        photo = cv2.cvtColor(photograph(), cv2.COLOR_RGB2GRAY)
        blurred = cv2.GaussianBlur(photo, (0, 0), 0.5 + 2 * i / self.count)
        shift = np.array([[1, 0, 60 - 2.5 * i], [0, 1, 50 + 1.5 * i], [0, 0, 1]])
        return align.warp(blurred, shift)[:300, :360]


@pytest.mark.parametrize("reference", [0, 2, 5])
def test_stacks_are_aligned_frame_by_frame(reference):
    frames = Frames(6)
    lengths = []

    def progress(steps):
        lengths.extend(steps)
        return steps

    matrices = align.estimate_stack(frames, reference, "euclidean", progress)
    assert sorted(frames.read) == [0, 1, 2, 3, 4, 5]  # each once
    assert sorted([*lengths, reference]) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(matrices[reference], np.eye(3))
    for i, matrix in enumerate(matrices):
        true = np.eye(3)
        true[:2, 2] = np.array([2.5, -1.5]) * (i - reference)
        assert align.corner_distance(matrix, true, (300, 360)) < 0.3


def test_stacks_name_the_frame_at_fault():
    with pytest.raises(align.AlignmentError, match="flat") as caught:
        align.estimate_stack(Frames(5, broken=3))
    assert caught.value.frame == 3
    images = [photograph(), photograph()[:-1]]
    with pytest.raises(align.AlignmentError, match="images differ"):
        align.estimate_stack(images)
    with pytest.raises(IndexError, match="no frame 2"):
        align.estimate_stack(images, 2)
    with pytest.raises(ValueError, match="unknown motion"):
        align.estimate_stack(images, motion="none")


def test_sides_that_opencv_cannot_move_are_refused():
    wide = np.broadcast_to(np.uint8(0), (20, 32767))
    with pytest.raises(align.AlignmentError, match="more than 32766 pixels"):
        align.estimate_stack([wide, wide])


def refocused(sigma, shift):
    """(reference, image): focused left and right, both blurred, the second shifted to the left."""
    photo = photograph()
    left = np.arange(480)[None, :, None] < 240
    views = [photo[:, :480], photo[:, shift : 480 + shift]]
    near, far = ([cv2.GaussianBlur(view, (0, 0), sigma * k) for view in views] for k in (1, 2))
    return np.where(left, near[0], far[0]), np.where(left, far[1], near[1])


@pytest.mark.parametrize(
    ("sigma", "shift", "pixels"),
    [(6.2, 4, 4.39), (6.8, 4, 0), (3, 2, 2.10), (3.1, 2, 0)],
)
def test_golden_misalignment(sigma, shift, pixels):
    """Moving takes away 0.176, 0.147, 0.344 and 0.321 of what these are unlike.

    MIN_GAIN_FAR and MIN_GAIN, 1/6 and 1/3, lie between the first two and between the last two.
    """
    assert align.misalignment(*refocused(sigma, shift)) == pytest.approx(pixels, abs=0.05)


def test_images_in_register_need_small_levels_alone(monkeypatch):
    """Of images in register, none but small levels are compared; of others the answer is the same."""
    near, far = refocused(3, 0), refocused(3, 2)
    versions = [[align.small_pyramid(image) for image in images] for images in (near, far)]
    sizes = []
    register = align.registration.register_without_spots
    monkeypatch.setattr(
        align.registration,
        "register_without_spots",
        lambda a, b, m: sizes.append(a[-1][0].size) or register(a, b, m),
    )
    assert align.pyramid_misalignment(*versions[0], near[0].shape, ignored=1.5) == 0
    assert max(sizes) <= align.COARSE_PIXELS
    assert align.pyramid_misalignment(*versions[1], far[0].shape, ignored=1.5) == pytest.approx(
        2.10, abs=0.05
    )


def test_small_versions_have_200_000_pixels():
    assert align.small_pyramid(np.zeros((1000, 1000), np.uint8))[-1][0].shape == (447, 447)


def pyramid_of(*widths, size=100):
    """Levels with contrast, of `size` rows each."""
    return [(np.random.default_rng(0).random((size, width), np.float32), np.eye(3)) for width in widths]


def test_levels_of_30_000_pixels_are_coarse(monkeypatch):
    pyramid = pyramid_of(100, 290, 310, 400)
    monkeypatch.setattr(align, "_coarse_distance", lambda first, *_: first[-1][0].shape[1] / 1000)
    monkeypatch.setattr(align.registration, "register_without_spots", lambda *_: 1 / 0)
    assert align.pyramid_misalignment(pyramid, pyramid, (100, 400), ignored=0.581) == 0
    with pytest.raises(ZeroDivisionError):  # 0.29 apart: not within half of it
        align.pyramid_misalignment(pyramid, pyramid, (100, 400), ignored=0.579)


@pytest.mark.parametrize(
    ("distance", "gain", "is_misaligned"),
    [(4.5, 0.31, False), (4.5, 0.36, True), (5.5, 0.15, False), (5.5, 0.18, True), (4.5, 0.25, False)],
)
def test_far_motions_need_a_smaller_gain(monkeypatch, distance, gain, is_misaligned):
    """Of images 1000 pixels wide; the gain is of 1 - correlation, which is 0.5 before."""
    pyramid, matrix = pyramid_of(200), np.array([[1, 0, distance], [0, 1, 0], [0, 0, 1]])
    monkeypatch.setattr(align.registration, "register_without_spots", lambda a, b, _: (matrix, a, b))
    monkeypatch.setattr(
        align.registration, "correlate_pyramids", lambda a, b, m: 0.5 + 0.5 * gain * (m is matrix)
    )
    expected = distance if is_misaligned else 0
    assert align.pyramid_misalignment(pyramid, pyramid, (500, 1000)) == pytest.approx(expected)
