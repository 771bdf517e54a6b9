"""The multi-stream network fuses any number of frames, in any order, as its train_val.prototxt does."""

import re
from pathlib import Path

import caffe
import cv2
import numpy as np
import pytest
from PIL import Image

from two_stream_fusion import pipeline
from two_stream_fusion.methods import models, multi_stream
from two_stream_fusion.methods.multi_stream import MultiStream
from two_stream_fusion.methods.two_stream import to_channels

ROOT = Path(__file__).resolve().parents[3]
NAME = "N-stream_f16_k3"
DEPLOY = ROOT / "prototxt" / NAME / "deploy.prototxt"
SIX = 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The net as it trains, and its weights as a file; its scores differ from frame to frame."""
    text = (ROOT / "prototxt" / NAME / "train_val.prototxt").read_text()
    shape = "dummy_data_param { shape { dim: 1 dim: 4 dim: 32 dim: 64 } }"
    text = re.sub(r"hdf5_data_param .*", shape, text.replace('"HDF5Data"', '"DummyData"'))
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.prototxt").write_text(text)
    caffe.set_random_seed(1)
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    net.params["score"][0].data[...] *= 30
    net.save(str(folder / "w.caffemodel"))
    return net, folder / "w.caffemodel"


@pytest.fixture(scope="module")
def network(trained):
    return MultiStream(DEPLOY, trained[1])


def stack(count, shape=(41, 70, 3), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype) for _ in range(count)]


def test_fuses_as_the_net_that_was_trained(trained, network):
    net, _ = trained
    frames = stack(SIX, (32, 64, 3))
    for i, frame in enumerate(frames):
        net.blobs[f"frame{i + 1}"].data[0] = 255 * to_channels(frame)
    net.forward(start="frames")
    fused, choice = network(frames)
    np.testing.assert_array_equal(fused, np.rint(255 * net.blobs["fused"].data[0, :3].transpose(1, 2, 0)))
    np.testing.assert_array_equal(choice, net.blobs["softmax"].data[:, 0].argmax(axis=0))
    assert len(np.unique(choice)) == SIX


@pytest.mark.parametrize("count, shape", [(2, (41, 70, 3)), (3, (83, 150, 3)), (7, (41, 70, 3))])
def test_order_and_squares_change_nothing(network, count, shape):
    frames = stack(count, shape)
    fused, choice = network(frames)
    backward, reverse_choice = network(frames[::-1])
    squares, square_choice = network(frames, tile=16)
    for image in (backward, squares):
        assert np.abs(image.astype(int) - fused).max() <= 1  # sums are rounded in another order
    assert (reverse_choice == count - 1 - choice).mean() > 0.999
    assert (square_choice == choice).mean() > 0.999


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(41, 70), (41, 70, 3), (16, 17, 3)])
def test_every_value_lies_between_those_of_the_frames(network, shape, dtype):
    frames = stack(3, shape, dtype)
    fused, choice = network(frames)
    assert fused.shape == shape and fused.dtype == dtype and choice.shape == shape[:2]
    assert (fused >= np.min(frames, axis=0)).all() and (fused <= np.max(frames, axis=0)).all()
    np.testing.assert_array_equal(network([frames[0]] * 3)[0], frames[0])


def test_features_of_more_frames_take_no_more_memory(network):
    def features(count):
        _, outer, _ = max(network.squares((3000, 4000), count), key=lambda s: s[1][0].stop - s[1][0].start)
        return count * (outer[0].stop - outer[0].start) ** 2 * 4 * (16 + 32 / 4 + 32 / 16)

    assert all(features(count) <= multi_stream.MEMORY for count in (2, 8, 32, 100))


def test_scores_at_smaller_sizes_count_a_quarter(network):
    frames = stack(3, (130, 140, 3))

    def scores(frames):
        return network._score(frames)  # of all at once

    sizes = (70, 65), (35, 32)
    half, quarter = ([cv2.resize(f, s, interpolation=cv2.INTER_AREA) for f in frames] for s in sizes)
    total = scores(frames)
    for i in range(3):
        for small in (half, quarter):
            total[i] += 0.25 * cv2.resize(scores(small)[i], (140, 130), interpolation=cv2.INTER_LINEAR)
    _, choice = network(frames)
    assert (choice == total.argmax(axis=0)).mean() > 0.99  # the quarter is enlarged in two steps, in float16
    assert (choice == scores(frames).argmax(axis=0)).mean() < 0.99


def test_progress_counts_the_squares_of_all_sizes(network):
    seen = []

    def progress(squares):
        for square in squares:
            seen.append(square)
            yield square

    network(stack(2, (150, 200, 3)), tile=64, progress=progress)
    assert len(seen) == network.count_squares((150, 200, 3), 2, 64) == 12 + 4 + 1
    # The shorter side is 64, 32 and 16 pixels at these sizes: the last is too small to be scored.
    assert network.count_squares((64, 64), 2) == 2 and network.count_squares((63, 64), 2) == 1
    assert network.count_squares((80, 80), 2) == 2


def test_it_looks_no_farther_than_its_margin(network):
    frames = stack(2, (8, 160, 3))
    changed = [frame.copy() for frame in frames]
    changed[0][:, :40] = 255 - changed[0][:, :40]
    difference = np.abs(network(frames)[0].astype(int) - network(changed)[0])
    assert difference[:, 40:].any()
    assert not difference[:, 40 + network.margin :].any()


@pytest.mark.parametrize(
    "frames, message",
    [
        (stack(1), "two images or more"),
        ([*stack(1), *stack(1, (41, 71, 3))], "differ"),
        ([*stack(1), *stack(1, dtype=np.uint16)], "differ"),
    ],
)
def test_frames_that_cannot_be_fused(network, frames, message):
    with pytest.raises(ValueError, match=message):
        network(frames)


KNOWN = {  # what a model is known not to do
    "N-stream_f32_k3-stack": pytest.mark.xfail(strict=True, reason="not helped: experiments/stacks/README.md")
}


@pytest.mark.parametrize(
    "released", [pytest.param(name, marks=KNOWN.get(name, ())) for name in models.names("multi_stream")]
)
def test_smaller_sizes_help_inside_of_things_wider_than_a_net_sees(released, monkeypatch):
    """A plain bar of 120 pixels, sharp in one frame. Elsewhere its blur reaches farther than the net sees."""
    sharp = np.full((192, 320, 3), 40, np.uint8)
    sharp[:, 100:220] = (220, 210, 200)
    near, far = (cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (12, 25))
    network = MultiStream(*models.model_files(released))

    def mean_error():
        return np.abs(network([near, sharp, far])[0].astype(int) - sharp).mean()

    error = mean_error()
    monkeypatch.setattr(multi_stream, "COARSER_SHARE", 0)
    assert error < 0.75 * mean_error() and error < 0.3 * np.abs(near.astype(int) - sharp).mean()


def test_another_net_is_refused(trained):
    deploy = ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"
    with pytest.raises(ValueError, match="not a multi-stream net: inputs"):
        MultiStream(deploy, ROOT / "models/2-1-2_f32_k3-defocus/2-1-2_f32_k3-defocus.caffemodel")


@pytest.mark.parametrize("refine", [None, "none", "select"])
def test_the_pipeline_runs_it(trained, refine):
    frames = stack(3)
    files = {"net": DEPLOY, "weights": trained[1]}
    result = pipeline.fuse(
        frames, refine=refine, check_register=False, keep_all=True, keep_order=True, **files
    )
    assert result.image.shape == frames[0].shape and result.net == DEPLOY
    assert (result.choice is None) == (refine == "none")


def test_alpha_follows_the_choice(trained, tmp_path):
    for i, frame in enumerate(stack(3)):
        alpha = np.full(frame.shape[:2], 255, np.uint8)
        alpha[:20, :20] = 0 if i else 255  # what two frames hide, the first shows
        Image.fromarray(np.dstack([frame, alpha])).save(tmp_path / f"{i}.png")
    files = {"net": DEPLOY, "weights": trained[1]}
    result = pipeline.fuse(sorted(tmp_path.glob("*.png")), check_register=False, keep_all=True, **files)
    assert result.alpha is None  # opaque everywhere
    assert len(np.unique(result.choice)) == 3 and not result.choice[:20, :20].any()
