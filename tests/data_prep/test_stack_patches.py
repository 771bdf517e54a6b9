"""Focus stacks to train on: how they are rendered, and how often they have what."""

import json

import numpy as np
import pytest

from data_prep import layers, make_database, recipes, stack_patches
from data_prep.layers import Layer
from data_prep.stack_patches import FRAMES, RECIPES, StackPatches, StackRecipe
from two_stream_fusion.base import lens

STACK = RECIPES["stack"]


@pytest.fixture
def photograph():
    return np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)


def test_rows_are_patches_of_one_stack(smooth_photographs, tmp_path, rows):
    out = tmp_path / "stacks"
    arguments = ["--recipe", "stack", "--photos", smooth_photographs, "--out", out, "--pairs", 2]
    make_database.main(list(map(str, arguments)))
    manifest, train = json.loads((out / "manifest.json").read_text()), rows(out, "train")
    assert manifest["kind"] == "stacks" and manifest["stacks"] == 2
    assert sorted(train) == [*(f"frame{i}" for i in range(1, 7)), "label"]
    assert all(rows_.shape[1:] == (4, 64, 64) and rows_.dtype == np.uint8 for rows_ in train.values())
    of_training = [p["patches"] for p in manifest["photographs"] if p["set"] == "train"]
    assert len(train["label"]) == 2 * sum(of_training)  # two stacks of each photograph


@pytest.mark.parametrize("shape, count", [((63, 200), 0), ((64, 64), 1), ((130, 200), 6), ((900, 900), 12)])
def test_so_many_patches_of_a_photograph(shape, count):
    assert StackPatches().count_rows(shape) == count


@pytest.mark.parametrize("options, count", [([], 1000), (["--val-patches=7"], 7), (["--val-patches=0"], 0)])
def test_so_many_validation_patches(options, count):
    assert make_database.parse_arguments(["--recipe", "stack", *options]).spec.val_patches == count
    pairs = make_database.parse_arguments(options).spec
    assert pairs.val_patches == (count if options else 1600)


@pytest.mark.parametrize("option", ["--patch=64", "--stride=10", "--recolour", "--gray"])
def test_options_of_pairs_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        make_database.parse_arguments(["--recipe", "stack", option])
    assert "takes none of --patch" in capsys.readouterr().err


def test_depths_are_blurred_as_the_exact_renderer_does(photograph):
    """Both agree where depth is constant in a layer; beside outlines colours are continued differently."""
    matte = np.zeros((64, 80), np.float32)
    matte[20:44, 30:60] = 1
    far, near = (np.full((64, 80), depth, np.float32) for depth in (0, 1))
    scene = [Layer(photograph, np.ones_like(matte), far), Layer(photograph[::-1], matte, near)]
    for at, image in zip((0, 1), stack_patches.render_stack(scene, (0, 1), 5)):
        exact = layers.render(scene, at, 5)
        assert np.abs(image - exact).mean() < 0.3
        assert np.abs(image - exact).max() < 15


def test_a_depth_between_two_discs_is_interpolated(photograph):
    level = [Layer(photograph, np.ones((64, 80), np.float32), np.zeros((64, 80), np.float32))]
    for distance in (0.03, 0.2, 0.55, 0.9):
        (image,) = stack_patches.render_stack(level, [distance], 4)
        exact = 255 * (lens.disc((photograph / 255) ** recipes.GAMMA, 4 * distance)) ** (1 / 2.2)
        error, blurred = (np.abs(x - exact)[8:-8, 8:-8].mean() for x in (image, photograph))
        assert error < 0.15 * blurred + 0.5


def test_somewhere_each_thing_is_sharp(photograph):
    """Without noise and the like, the best frame at each pixel is much nearer to the truth than the mean."""
    clean = StackRecipe(STACK.layers, dict.fromkeys(STACK.stacks, 0))
    rng = np.random.default_rng(1)
    best, mean = [], []
    for _ in range(8):
        frames, truth = stack_patches.make_stack(photograph, photograph[..., 0] > 300, clean, rng)
        errors = [np.abs(frame.astype(int) - truth).mean(axis=2) for frame in frames]
        best.append(np.min(errors, axis=0).mean())
        mean.append(np.mean(errors))
    assert np.mean(best) < 0.5 * np.mean(mean)
    assert min(mean) > 1  # some frames are blurred in every stack


@pytest.mark.parametrize(
    "name, noisy, jpeg, moved", [("stack", 0.5, 0.3, 0.2), ("stack_fewer_faults", 0.25, 0.15, 0.1)]
)
def test_shares_are_as_stated(photograph, monkeypatch, name, noisy, jpeg, moved):
    """Of many draws: how many have noise, JPEG, motion, other light, soft photographs, few frames."""
    seen = []

    def capture(image, noise, quality, motion, rng):
        seen[-1].append((noise, quality, motion is not None))
        return image + np.uint8(len(seen[-1]))  # all frames differ

    monkeypatch.setattr(recipes, "capture", capture)
    monkeypatch.setattr(
        stack_patches, "render_stack", lambda scene, planes, blur: _planes(planes, blur, blurs)
    )
    blurs, counts = [], []
    small, rng = photograph[:12, :12], np.random.default_rng(2)
    for _ in range(400):
        seen.append([])
        frames, _ = stack_patches.make_stack(small, small[..., 0] > 300, RECIPES[name], rng)
        assert len(frames) == FRAMES
        counts.append(len(seen[-1]))
    first = [stack[0] for stack in seen]
    noises = [noise for noise, _, _ in first if noise]
    assert np.isclose(len(noises) / 400, noisy, atol=0.08) and 0.3 <= min(noises) <= max(noises) <= 4.5
    assert np.isclose(np.mean([quality is not None for _, quality, _ in first]), jpeg, atol=0.07)
    assert np.isclose(np.mean([has_moved for _, _, has_moved in first]), moved, atol=0.06)
    assert np.isclose(np.mean(np.array(counts) == FRAMES), 0.5, atol=0.08)
    assert set(counts) == {2, 3, 4, 5, 6}
    assert min(blurs) == pytest.approx(1.5, rel=0.15) and max(blurs) == pytest.approx(16, rel=0.15)
    assert np.isclose(np.median(blurs), np.sqrt(1.5 * 16), rtol=0.15)  # log-uniform


def _planes(planes, blur, blurs):
    blurs.append(blur)
    return [np.full((12, 12, 3), 40.0, np.float32) for _ in planes]


def test_scenes_are_of_one_to_three_layers(photograph):
    rng = np.random.default_rng(3)
    scenes = [
        stack_patches.draw_scene(photograph, photograph[..., 0] > 300, STACK.layers, rng) for _ in range(60)
    ]
    assert {len(scene) for scene in scenes} == {1, 2, 3}
    for scene in scenes:
        depths = [layer.depth for layer in scene]
        assert all(depth.min() >= 0 and depth.max() <= 1 for depth in depths)
        assert all(a.max() <= b.min() for a, b in zip(depths, depths[1:]))  # nearer ones hide farther ones
        assert (scene[0].matte == 1).all()


def test_the_same_seed_gives_the_same_stack(photograph):
    first, second = (
        stack_patches.make_stack(photograph, photograph[..., 0] > 128, STACK, np.random.default_rng(4))
        for _ in "ab"
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
