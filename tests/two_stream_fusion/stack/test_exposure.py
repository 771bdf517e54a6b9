"""stack/exposure.py: brightness and white balance."""

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import KINDS, as_kind, photograph
from two_stream_fusion.stack.exposure import match_exposure


@KINDS
def test_exposure_is_matched(kind):
    """Gains of each channel found within 0.3 %, from an image that is focused elsewhere."""
    reference = as_kind(photograph(), kind)
    gains = [0.8, 0.9, 0.85] if reference.ndim == 3 else 0.8
    image = np.rint(cv2.GaussianBlur(reference, (0, 0), 1.5) * gains).astype(reference.dtype)
    before = image.copy()
    matched = match_exposure(reference, image)
    assert matched.shape == image.shape and matched.dtype == image.dtype
    bright = np.all(image > 0.2 * np.iinfo(image.dtype).max, axis=-1) if image.ndim == 3 else image > 40
    ratio = matched[bright].mean(axis=0) / image[bright].mean(axis=0) * gains
    np.testing.assert_allclose(ratio, 1, atol=0.01)
    np.testing.assert_array_equal(image, before)


def test_exposure_that_agrees_is_left_alone():
    photo = photograph()
    noise = np.random.default_rng(0).normal(0, 3, photo.shape)
    image = np.clip(np.rint(cv2.GaussianBlur(photo, (0, 0), 1) + noise), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(match_exposure(photo, photo), photo)
    assert match_exposure(photo, image).tobytes() == image.tobytes()
    black = np.zeros_like(photo)
    np.testing.assert_array_equal(match_exposure(photo, black), black)


def test_exposure_clips_and_rounds():
    reference = np.full((40, 40), 152, np.uint8)
    image = np.full((40, 40), 100, np.uint8)
    image[0, :3] = 255, 201, 1
    matched = match_exposure(reference, image)
    assert matched[0, :4].tolist() == [255, 255, 2, 152]  # from 387.6, 305.5, 1.52 and 152


def test_saturated_places_do_not_count():
    reference = np.minimum(photograph().astype(int) * 5 // 4, 255).astype(np.uint8)
    image = photograph().copy()
    image[:150] = 255
    ratio = match_exposure(reference, image)[200:].mean() / photograph()[200:].mean()
    assert 1.2 < ratio < 1.26


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (9, 8)])
def test_tiny_images_that_agree_are_left_alone(size):
    image = photograph()[: size[0], : size[1]].copy()
    np.testing.assert_array_equal(match_exposure(image, image), image)


def test_images_that_differ_are_refused():
    image = photograph()
    for other in (image[:-1], image[..., 0], image.astype(np.uint16)):
        with pytest.raises(ValueError, match="differ"):
            match_exposure(image, other)


def test_golden_gains():
    photo = photograph()
    darker = np.rint(cv2.GaussianBlur(photo, (0, 0), 1.5) * [0.8, 0.9, 0.85]).astype(np.uint8)
    means = match_exposure(photo, darker).mean(axis=(0, 1))
    assert means == pytest.approx([150.586, 118.663, 109.700], abs=0.02)
