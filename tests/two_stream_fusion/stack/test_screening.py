"""stack/screening.py: frames that do not belong to their stack."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope, strips
from two_stream_fusion import pipeline
from two_stream_fusion.stack import screening
from two_stream_fusion.stack.frames import images_in_folder
from two_stream_fusion.stack.noise import measure_noise
from two_stream_fusion.stack.screening import (
    compare_pair,
    find_doubtful,
    find_misfits,
    small_gray,
)


def stack(count=5):
    return [levels(frame) for frame in slope(photograph()[::2, ::2], count)]


def misfits(frames, sort=list):
    return find_misfits([small_gray(x) for x in frames], sort, [measure_noise(x) for x in frames])


FAULTS = {
    "black": (lambda frame: frame * 0, "times as bright as the others"),
    "dark": (lambda frame: levels(frame * 0.35), "times as bright as the others"),
    "white": (lambda frame: frame * 0 + 255, "times as bright as the others"),
    "blurred": (lambda frame: cv2.GaussianBlur(frame, (0, 0), 8), "blurred throughout"),
    "other": (
        lambda frame: cv2.resize(skimage.data.coffee()[::-1], frame.shape[1::-1]),
        "of another scene",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_bad_frame_is_found_and_why(fault, place):
    frames = stack()
    spoil, why = FAULTS[fault]
    frames[place] = spoil(frames[place])
    (misfit,) = misfits(frames)
    assert misfit.frame == place and misfit.reason.endswith(why)


def test_two_bad_frames_of_five_are_found():
    frames = stack()
    frames[1], frames[3] = frames[1] * 0, FAULTS["other"][0](frames[3])
    assert [misfit.frame for misfit in misfits(frames)] == [1, 3]


@pytest.mark.parametrize("count", [3, 4, 9])
def test_frames_of_a_stack_belong(count):
    frames = stack(count)
    assert misfits(frames) == []
    assert misfits([np.roll(frame, 5 * (i % 2), axis=1) for i, frame in enumerate(frames)]) == []  # shaken
    assert misfits([levels(frame * (1 + 0.2 * (i % 2))) for i, frame in enumerate(frames)]) == []  # flickers
    assert misfits([frame.astype(np.uint16) * 257 for frame in frames]) == []
    assert misfits(strips((60, 160, 3), count=count)[1]) == []


def test_what_has_no_majority_is_left_alone():
    frames = stack(4)
    dark = [levels(frame * 0.35) for frame in frames]
    assert misfits([frames[0], frames[1], dark[2], dark[3]]) == []
    assert misfits([frames[0], frames[1] * 0]) == []
    noise = [np.random.default_rng(i).integers(0, 255, (45, 61, 3), np.uint8) for i in range(5)]
    assert misfits(noise) == [] and misfits([np.full((9, 9), 7, np.uint8)] * 3) == []


BLANK = {"black": 0, "white": 255, "gray": 128}


@pytest.mark.parametrize("level", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize("places", [(2, 3), (0, 1, 4), (1, 2, 3, 4)])
def test_blank_frames_are_left_out_however_many(level, places):
    frames = stack()
    for place in places:
        frames[place] = np.full_like(frames[place], level)
    assert tuple(misfit.frame for misfit in misfits(frames)) == places


def test_frames_that_are_all_blank_belong():
    assert misfits([np.full((30, 40), level, np.uint8) for level in (0, 0, 128, 255)]) == []


def noisy(frame, sigma):
    noise = np.random.default_rng(3).normal(0, sigma, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("shaken", [0, 5])
def test_a_noisy_frame_is_left_out_and_no_other(place, shaken):
    frames = [np.roll(frame, shaken * (i % 2), axis=1) for i, frame in enumerate(stack())]
    frames[place] = noisy(frames[place], 60)
    assert misfits(frames) == [(place, "far noisier than the others")]


@pytest.mark.parametrize("sigma", [5, 10, 20, 30])
def test_a_noisy_frame_evicts_no_other(sigma):
    frames = stack()
    frames[2] = noisy(frames[2], sigma)
    assert {misfit.frame for misfit in misfits(frames)} <= {2}
    assert misfits([noisy(frame, sigma) for frame in stack()]) == []


@pytest.mark.parametrize("places", [(1, 3), (1, 2), (0, 6), (1, 3, 5), (0, 2, 4, 6)])
@pytest.mark.parametrize("sigma", [12, 40])
def test_several_noisy_frames_are_left_out_or_doubted(places, sigma):
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 4.0)]
    for place in places:
        frames[place] = noisy(frames[place], sigma)
    left_out = {misfit.frame for misfit in misfits(frames)}
    kept = [i for i in range(7) if i not in left_out]
    doubted = {kept[misfit.frame] for misfit in doubtful([frames[i] for i in kept])}
    assert left_out | doubted == set(places)


def test_noisy_frames_that_alone_are_sharp_somewhere_are_doubted():
    frames = [noisy(frame, 10) if i < 3 else frame for i, frame in enumerate(stack())]
    assert len(misfits(frames)) < 3
    assert {reason for _, reason in doubtful(frames)} >= {
        "far noisier than the others, which are not sharp where it is"
    }


def doubtful(frames):
    return find_doubtful([small_gray(x) for x in frames], noise=[measure_noise(x) for x in frames])


def test_a_frame_that_lost_a_part_is_doubtful():
    frames = stack()
    assert doubtful(frames) == [] and doubtful(frames[:2]) == []
    frames[2][130:] = 128
    ((place, reason),) = doubtful(frames)
    assert place == 2 and reason.startswith("of one level in 3")
    for frame in frames:
        frame[130:] = 128
    assert doubtful(frames) == []


@pytest.mark.parametrize("gain", [0.7, 1.4])
def test_a_frame_somewhat_bright_or_dark_is_doubtful(gain):
    frames = [levels(frame * 0.6) for frame in stack()]
    frames[3] = levels(frames[3] * gain)
    assert misfits(frames) == []
    ((place, reason),) = doubtful(frames)
    assert place == 3 and float(reason.split()[0]) == pytest.approx(gain, abs=0.03)


def test_neighbours_are_those_of_the_order_of_focus():
    requests = []
    frames = stack()
    frames[2] = frames[2] * 0
    misfits(frames, lambda places: requests.append(places) or places)
    assert requests == [[0, 1, 3, 4]]


def test_the_difference_of_a_pair_is_described():
    first, second = stack(2)
    assert compare_pair(small_gray(first), small_gray(second)) is None
    assert "times as bright" in compare_pair(small_gray(first), small_gray(second * 0))
    soft = cv2.GaussianBlur(first, (0, 0), 6)
    assert compare_pair(small_gray(first), small_gray(soft)) == "blurred throughout"
    assert compare_pair(small_gray(soft), small_gray(first)) == "sharper throughout"


def test_small_versions_are_256_pixels_long():
    assert small_gray(np.zeros((300, 600), np.uint8)).shape == (128, 256)


def cells(value, others=1.0, count=8, side=16):
    """A grid of `others` whose first `count` cells have a value."""
    grid = np.full(side * side, others, np.float32)
    grid[:count] = value
    return grid.reshape(side, side)


@pytest.mark.parametrize(
    ("detail", "count", "is_blurred"),
    [(1.1, 8, False), (1.3, 8, True), (1.3, 7, False)],  # gray levels; cells
)
def test_detail_is_needed_in_a_few_cells(detail, count, is_blurred):
    assert screening._is_blurred(cells(0.1, 0.1), cells(detail, 0.5, count)) is is_blurred


@pytest.mark.parametrize(
    ("ratio", "sharp", "is_blurred"),
    [(0.65, 0, True), (0.75, 0, False), (0.65, 4, True), (0.65, 6, False)],  # of 100 cells
)
def test_blur_is_judged_by_the_sharpest_cells(ratio, sharp, is_blurred):
    neighbour = np.full((10, 10), 2, np.float32)
    assert screening._is_blurred(neighbour * cells(1, ratio, sharp, 10), neighbour) is is_blurred


@pytest.mark.parametrize(("most", "least", "expected"), [(10, 0.45, [1]), (10, 0.55, []), (100, 0.9, [1])])
def test_blank_frames_have_little_contrast(most, least, expected):
    checker = np.indices((4, 4)).sum(0) % 2 * 2.0 - 1  # of standard deviation 1
    assert screening._blank(np.array([most * checker, least * checker])) == expected
    assert screening._blank(np.array([100 * checker, 1.1 * checker])) == []
    assert screening._blank(np.array([0.9 * checker, 0 * checker])) == []


@pytest.mark.parametrize(("level", "count"), [(119, 0), (129, 1)])
def test_a_frame_is_bright_from_five_quarters_on(level, count):
    frames = [np.full((20, 20), x, np.float32) for x in (99, 99, 99, level)]
    assert len(find_doubtful(frames)) == count


@pytest.mark.parametrize(("side", "contrast", "count"), [(26, 9, 0), (27, 9, 1), (27, 1.4, 0), (27, 1.6, 1)])
def test_a_plain_part_counts_from_a_twentieth_on(side, contrast, count):
    checker = (100 + contrast * (np.indices((100, 100)).sum(0) % 2)).astype(np.float32)
    part = checker.copy()
    part[30 : 30 + side, 30 : 30 + side] = 100  # of which a margin of two pixels does not count
    assert len(find_doubtful([checker, checker, part])) == count


@pytest.mark.parametrize(("structure", "share"), [(0.3, 0.3 / 0.36), (0.22, 0.22 / 0.28), (0.18, 0)])
def test_the_share_of_noise_is_that_of_missing_structure(monkeypatch, structure, share):
    structures = iter([0, structure, structure])
    monkeypatch.setattr(screening, "_structure", lambda fine: next(structures))
    frames = np.random.default_rng(0).random((3, 90, 90), np.float32)
    fine = [screening._fine(frame) for frame in frames]
    assert screening._noise_shares(fine)[0] == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("gain", [1.4, 1.6])
def test_a_pair_differs_in_brightness_from_one_and_a_half_on(gain):
    first, second = (np.full((20, 20), x, np.float32) for x in (99, 100 * gain - 1))
    assert (compare_pair(first, second) is not None) == (gain > 1.5)
    assert (compare_pair(second, first) is not None) == (gain > 1.5)


@pytest.mark.parametrize(("lowest", "others", "count"), [(0.65, 0.85, 0), (0.55, 0.85, 1), (0.55, 0.75, 0)])
def test_another_scene_correlates_little(monkeypatch, lowest, others, count):
    correlations = iter([lowest, others, others, others])
    monkeypatch.setattr(screening, "_correlation", lambda *_: next(correlations))
    assert len(find_misfits([np.indices((20, 20)).sum(0, np.float32)] * 4)) == count


def test_focus_does_not_matter_under_six_pixels(monkeypatch):
    """A point becomes a spot of this standard deviation, before frames are compared as wholes."""
    broad = []
    monkeypatch.setattr(screening, "_blank", lambda images: broad.extend(images) or [])
    point = np.zeros((96, 96), np.float32)
    point[48, 48] = 255
    find_misfits([point] * 3)
    profile, places = broad[0].sum(axis=0) / broad[0].sum(), 4 * np.arange(24)
    variance = profile @ places**2 - (profile @ places) ** 2
    assert variance**0.5 == pytest.approx(6, rel=0.03)


def test_golden_detail():
    y, x = np.indices((64, 96))
    waves = (100 + 20 * np.sin(x / 2) + 10 * np.cos(y)).astype(np.float32)
    details, flat = (screening._detail(screening._fine(x)) for x in (waves, waves * 0))
    assert details.shape == (16, 16)
    assert details.mean() == pytest.approx(5.306, abs=0.002)
    assert flat.mean() == pytest.approx(0.3)


STACKS = ["algae", "damselfly", "fly", "gun", "houses", "pcb", "pcb-depthmap", "ring", "text", "tie"]


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_no_real_frame_is_left_out_or_doubted(name, caplog):
    folder = Path(os.environ.get("FUSION_DATA", "nowhere"), "stacks", name)
    if not folder.is_dir():
        pytest.skip("needs FUSION_DATA with stacks")
    paths = [path for path in images_in_folder(folder) if path.stem != "expected"]
    assert pipeline.align_frames(paths, None).left_out == () and "is fused, though" not in caplog.text
