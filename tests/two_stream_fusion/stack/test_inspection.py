"""stack/inspection.py: what is measured of each image, and how often images are read for it."""

import logging

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion import pipeline
from two_stream_fusion.io import images
from two_stream_fusion.stack import align, frames, motion_blur, order, screening
from two_stream_fusion.stack.frames import Frames
from two_stream_fusion.stack.inspection import measure_image, warn_if_misaligned


def stack(count=4, shift=0):
    made = [levels(frame) for frame in slope(photograph(), count)]
    return [np.roll(frame, shift * (i % 2), axis=1) for i, frame in enumerate(made)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(700, 900), (300, 400)])
def test_shared_gray_levels_measure_what_the_image_does(dtype, shape):
    image = np.tile(photograph(), (4, 4, 1))[: shape[0], : shape[1]].astype(dtype)
    image = image * dtype(np.iinfo(dtype).max // 255)
    measured = measure_image(image)
    small = order.downscale_frame(image)
    np.testing.assert_allclose(measured.details, order.detail_map(small), atol=1e-3)
    expected = motion_blur.measure_directions(small)
    np.testing.assert_allclose(measured.directions.gradients, expected.gradients, atol=1e-3)
    np.testing.assert_allclose(measured.directions.levels, expected.levels, atol=1e-2)
    np.testing.assert_array_equal(measured.small, screening.small_gray(small))


def test_small_levels_come_from_a_smaller_version_too():
    image = np.tile(photograph(), (4, 4, 1))[:800, :1000]
    expected = [level for level in align.small_pyramid(image) if level[0].size <= align.COARSE_PIXELS]
    coarse = align.coarse_pyramid(order.downscale_frame(image), image.shape)
    assert len(coarse) == len(expected) > 0
    for (gray, up), (expected_gray, expected_up) in zip(coarse, expected):
        np.testing.assert_array_equal(up, expected_up)
        assert np.abs(gray - expected_gray).mean() < 1 / 255


@pytest.mark.parametrize(("shift", "count"), [(0, 7), (8, 14)])
def test_aligned_frames_are_read_for_a_look_and_for_the_fusion(shift, count, tmp_path, monkeypatch):
    """The first is read once more; misaligned ones are compared at a larger size."""
    monkeypatch.setattr(frames, "KEPT_BYTES", 0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, stack(3, shift)):
        images.write(path, image)
    read, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *entry: read.append(entry[0].name) or load(*entry))
    pipeline.fuse(paths, "lp")
    assert len(read) <= count
    assert (shift == 0) == (len(read) == 7)


@pytest.mark.parametrize("shift", [0, 8])
def test_the_warning_is_the_same_with_and_without_small_levels(shift, caplog):
    caplog.set_level(logging.WARNING)
    sequence = Frames(stack(4, shift))
    warn_if_misaligned(sequence)
    expected = [record.getMessage() for record in caplog.records]
    caplog.clear()
    warn_if_misaligned(sequence, [measure_image(frame).coarse for frame in sequence])
    assert [record.getMessage() for record in caplog.records] == expected
    assert len(expected) == (shift > 0) and all("pixels apart" in text for text in expected)
