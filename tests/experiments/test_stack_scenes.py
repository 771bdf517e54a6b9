"""experiments/stacks/scenes.py: stacks whose ground truth is known."""

import dataclasses

import cv2
import numpy as np
import pytest

from data_prep import depth_pair
from experiments.stacks import scenes
from experiments.stacks.scenes import Recipe
from two_stream_fusion.io import images

STEP = np.where(np.arange(60) >= 30, np.float32(4), np.float32(0)) + np.zeros((40, 1), np.float32)


@pytest.fixture
def photographs(tmp_path):
    """0001.jpg and 0002.jpg of noise, the mask of the second in its middle."""
    rng = np.random.default_rng(0)
    for name in ("0001.jpg", "0002.jpg"):
        images.write(
            tmp_path / name, cv2.GaussianBlur(rng.integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 1)
        )
    mask = np.zeros((60, 80), np.uint8)
    mask[15:45, 20:60] = 255
    images.write(tmp_path / "0002.png", mask)
    return tmp_path


def render(recipe, photographs):
    return scenes.render_scene("a", recipe, photographs, np.random.default_rng(0))


def test_the_right_frame_is_the_nearest_in_focus():
    right = scenes.nearest_frame(STEP, (0, 1, 3.5))
    assert (right[:, :30] == 0).all() and (right[:, 30:] == 2).all()


def test_depth_edges_reach_twelve_pixels():
    edges = scenes.depth_edges(STEP)
    assert edges[:, 20:40].all() and not edges[:, :15].any() and not edges[:, 45:].any()
    assert not scenes.depth_edges(STEP / 4).any()


def test_the_right_frame_shows_the_truth(photographs):
    scene = render(Recipe("0001", near=(("0002", 2, 1),), count=3, blur=2, noise=0), photographs)
    assert set(np.unique(scene.right)) == {0, 2} and 0 < scene.edges.mean() < 1
    composite = np.take_along_axis(np.stack(scene.frames), scene.right[None, ..., None], 0)[0]
    np.testing.assert_array_equal(composite[25:35, 35:45], scene.truth[25:35, 35:45])
    assert np.abs(scene.frames[0].astype(int) - scene.truth)[25:35, 35:45].mean() > 3


def test_frames_have_the_noise_bits_and_light_of_a_recipe(photographs):
    recipe = Recipe("0001", count=3, noise=0)
    plain = render(recipe, photographs)
    noisy = render(dataclasses.replace(recipe, noise=4), photographs)
    assert (noisy.frames[0].astype(float) - plain.frames[0]).std() == pytest.approx(4, abs=0.3)
    deep = render(dataclasses.replace(recipe, bits=12, noise=0.5), photographs)
    assert deep.peak == 4095 and deep.truth.dtype == np.uint16 and 255 < deep.truth.max() <= 4095
    dark = render(dataclasses.replace(recipe, gain=0.15), photographs)
    assert dark.truth.max() <= 39


def test_a_seed_gives_the_same_scene(photographs):
    recipe = Recipe("0001", ramp=3, slope="waves", near=(("hairs", 5, 0.2),), count=2)
    first, second = (render(recipe, photographs) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)


def test_splits_share_no_photograph():
    photographs_used = []
    for recipes in (scenes.DEVELOPMENT, scenes.HELD_OUT):
        photographs_used.append(
            {r.background for r in recipes.values()} | {n[0] for r in recipes.values() for n in r.near}
        )
    assert photographs_used[0] & photographs_used[1] == {"hairs"}
    assert len(scenes.names(True)) >= 12 and not set(scenes.names(True)[:1]) & set(scenes.names(False))


def test_motorcycle_frames_are_sharp_in_turn(monkeypatch):
    sharp, disparity = (x[200:300, 300:420] for x in depth_pair.scene())
    monkeypatch.setattr(depth_pair, "scene", lambda: (sharp, disparity))
    scene = scenes.motorcycle(4)
    assert len(scene.frames) == 4 and scene.truth is sharp
    near = [np.abs(frame.astype(int) - sharp).mean(axis=2) for frame in scene.frames]
    assert (np.min(near, axis=0) <= 2).mean() > 0.9 and min(map(np.mean, near)) > 0.1
