"""experiments/stacks/ways.py and run.py: scores of ways to fuse stacks."""

import argparse

import caffe
import numpy as np
import pytest

from experiments.stacks import run, ways
from experiments.stacks.scenes import Scene
from experiments.stacks.ways import Score
from tests.two_stream_fusion.stack.scenes import sharper, strips
from two_stream_fusion.methods import models


def make_scene(peak=255):
    truth, frames, strip = strips((40, 120, 3))
    right = np.broadcast_to(strip, (40, 120))
    scale = np.uint16(peak // 255) if peak > 255 else np.uint8(1)
    return Scene("strips", [f * scale for f in frames], truth * scale, peak, right, right == 1)


def test_the_oracle_takes_the_frame_nearest_to_the_truth():
    scene = make_scene()
    image, choice = ways.pick_best(scene)
    np.testing.assert_array_equal(image, scene.truth)
    np.testing.assert_array_equal(scene.frames[2][choice == 2], scene.truth[choice == 2])


@pytest.mark.parametrize("label", ["default", "select, folded"])
def test_a_way_that_selects_finds_the_right_frames(label):
    nets = ways.Nets(lambda a, b, **_: sharper(a, b), {})
    (score,) = ways.score_scene(nets, make_scene(), [label])
    assert score.right > 0.9 and score.psnr > 20 and score.frames == 4 and score.seconds > 0


def test_levels_of_12_bits_count_as_those_of_8():
    scores = []
    for peak in (255, 4080):
        scene = make_scene(peak)
        image = scene.truth - (scene.truth > scene.peak // 2) * scene.truth.dtype.type(scene.peak // 255)
        scores.append(ways.score(scene, "LP", image, None, 0, None))
    assert scores[0].psnr == pytest.approx(scores[1].psnr, abs=0.05)
    assert scores[0].ssim == pytest.approx(scores[1].ssim, abs=1e-3) and scores[0].right is None


def test_new_rows_take_the_place_of_old_ones(tmp_path):
    old = [
        Score("a", 2, "default", 30.0, 0.9, None, 0.5, 1.0, 10.0),
        Score("b", 3, "select, folded", 20.0, 0.8, 10.0, *[None] * 3),
    ]
    run.write_scores(tmp_path / "a.csv", old)
    assert run.read_scores(tmp_path / "a.csv") == old
    new = [old[0]._replace(psnr=31.0), old[0]._replace(way="oracle")]
    merged = run.merge(old, new, ["b", "a"])
    assert [(s.scene, s.way, s.psnr) for s in merged] == [
        ("b", "select, folded", 20.0),
        ("a", "default", 31.0),
        ("a", "oracle", 30.0),
    ]
    assert "| a, 2 | 31.00 | | 30.00 |" in run.tabulate(merged)


def test_unknown_scenes_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("FUSION_DATA", "nowhere")
    with pytest.raises(SystemExit):
        run.main(["--scenes", "no such"])
    assert "no scene 'no such'" in capsys.readouterr().err


def test_other_weights_take_the_place_of_those_of_a_net(tmp_path):
    """The weights of another seed are scored by the same ways."""
    deploy, released = models.model_files(ways.MULTI_STREAM["f16"], "multi_stream")
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(released))
    for blob in net.params["score"]:
        blob.data[...] = 0  # all frames have the same weight
    net.save(str(tmp_path / "mean.caffemodel"))
    nets = ways.open_nets(models.FAST, dict([run.name_weights(f"f16={tmp_path}/mean.caffemodel")]))
    frames = [np.full((32, 32, 3), level, np.uint8) for level in (10, 30)]
    image, _ = ways.WAYS["multi-stream f16"](nets, frames)
    assert (image == 20).all()
    for wrong in ("f64=a.caffemodel", "f16"):
        with pytest.raises(argparse.ArgumentTypeError, match="f16, f32"):
            run.name_weights(wrong)
