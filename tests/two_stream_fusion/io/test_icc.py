import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from two_stream_fusion.io import icc

SRGB = icc.SRGB
DISPLAY_P3, BT2020 = (icc.PRIMARIES[number][1:] for number in (12, 9))


def to_srgb(points, colours):
    """Colours as LittleCMS shows them where they have the profile of these chromaticities."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc.make_profile("x", points)))
    image = Image.fromarray(np.array([colours], np.uint8))
    return np.asarray(ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB")))[0]


def test_a_profile_of_srgb_leaves_all_colours_alone():
    colours = np.random.default_rng(0).integers(0, 256, (1000, 3))
    assert np.abs(to_srgb(SRGB, colours).astype(int) - colours).max() <= 1


@pytest.mark.parametrize("chromaticities", [DISPLAY_P3, BT2020])
def test_a_profile_shows_the_colours_of_its_primaries(chromaticities):
    """By the definition: levels to light, light by the two matrices of the primaries, light to levels."""

    def matrix(points):
        xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
        return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])

    colours = np.random.default_rng(0).integers(100, 156, (1000, 3))  # inside of sRGB too
    levels = colours / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light = light @ np.linalg.solve(matrix(SRGB), matrix(chromaticities)).T
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(to_srgb(chromaticities, colours) - expected).max() < 1.5


def colorants_of(profile):
    """XYZ of red, green and blue, as LittleCMS reads them."""
    return [colour[0] for colour in (profile.red_colorant, profile.green_colorant, profile.blue_colorant)]


def test_colorants_are_those_of_apples_display_p3():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc.make_profile("Display P3", DISPLAY_P3))).profile
    assert profile.profile_description == "Display P3"
    colorants = colorants_of(profile)
    expected = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
    np.testing.assert_allclose(colorants, expected, atol=2e-5)


def test_colorants_are_those_of_adobe_rgb():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc.make_profile("x", icc.ADOBE_RGB))).profile
    colorants = colorants_of(profile)
    expected = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.7446)]
    np.testing.assert_allclose(colorants, expected, atol=2e-4)


@pytest.mark.parametrize(
    "points",
    [
        ((0, 0),) * 4,
        ((0.3, 0.3), (0.4, 0.4), (0.5, 0.5), icc.D65),
        (*icc.SRGB[:3], (0.3, 1e-4)),
        ((42949, 0.3), *icc.SRGB[1:]),
        ((1, 0.0001), (0, 1), (0, 0.0001), (0.31337, 0.01423)),
        ((0.33094, 0.63903), (0.10632, 0.84173), (0.10627, 0.84169), (0.21862, 0.74037)),
        ((0.0762, 0.7555), (0.4348, 0.1481), (0.8175, 0.1176), (0.4581, 0.2292)),
        ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.9, 0.9)),
    ],
)
def test_chromaticities_that_are_none_are_refused(points):
    with pytest.raises(ValueError, match=r"chromaticities|on one line"):
        icc.make_profile("x", points)


def test_a_profile_fits_by_its_colours():
    profile = icc.make_profile("x", SRGB)
    assert icc.rgb_profile(profile) == profile
    assert icc.rgb_profile(profile[:16] + b"GRAY" + profile[20:]) == b""
    assert icc.rgb_profile(None) == icc.rgb_profile(b"") == b""


@pytest.mark.parametrize("number", icc.PRIMARIES)
def test_red_green_and_blue_of_a_profile_add_up_to_its_white(number):
    name, *points = icc.PRIMARIES[number]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc.make_profile(name, points, 2.2))).profile
    assert profile.profile_description == name
    np.testing.assert_allclose(np.sum(colorants_of(profile), axis=0), icc.D50, atol=1e-4)
