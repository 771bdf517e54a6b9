"""stack/fuse_matte.py, from files: alpha is fused as the pixels are, by every method."""

import contextlib

import cv2
import numpy as np
import pytest
import tifffile

from tests.two_stream_fusion.stack.scenes import photograph, sharper
from tests.two_stream_fusion.stack.test_matte import Sequence, defocus, thing_with_legs
from two_stream_fusion import pipeline
from two_stream_fusion.io import images
from two_stream_fusion.methods import networks, registry
from two_stream_fusion.stack import fuse_matte
from two_stream_fusion.stack.matte import Matte

QUICK = {"sp": {"levels": 2}, "psfs": {"sigmas": (2, 2)}}  # options that save time
FAST = {name: QUICK.get(name, {}) for name, row in registry.METHODS.items() if not row.has_network}
METHODS = pytest.mark.parametrize("method", FAST)
SUBJECT_LOSS = 0.008  # of the thing: the loss of the best single frame of shared cases


def write_frames(folder, colours, alphas, ending=".png"):
    folder.mkdir(exist_ok=True)
    for i, (pixels, alpha) in enumerate(zip(colours, alphas)):
        images.write(folder / f"{i}{ending}", pixels, alpha)
    return sorted(folder.iterdir())


def fuse(paths, method, **options):
    options = {"check_register": False, "keep_all": True, "keep_order": True, **options}
    return pipeline.fuse(paths, method, options=FAST.get(method), **options)


def stub_network(monkeypatch, network=sharper):
    """Let two_stream be a network that knows which photograph is sharp."""
    network = type("Stub", (), {"deploy": "d", "weights": "w", "__call__": staticmethod(network)})()
    monkeypatch.setattr(networks, "open_network", lambda *_, **__: network)


def focused_sides(shape=(60, 72, 3)):
    """A photograph, and two of it of which each is sharp on one side."""
    truth = photograph()[100 : 100 + shape[0], 180 : 180 + shape[1]].copy()
    blurred = cv2.GaussianBlur(truth, (0, 0), 2)
    left = np.arange(shape[1])[None, :, None] < shape[1] // 2
    return truth, [np.where(left, truth, blurred), np.where(left, blurred, truth)]


@METHODS
def test_what_lies_under_zero_alpha_does_not_matter(tmp_path, method):
    truth, pair = focused_sides()
    alphas = [np.full(truth.shape[:2], 255, np.uint8) for _ in pair]
    alphas[0][:6, 10:] = alphas[1][50:, :20] = alphas[0][56:, :9] = 0
    results = []
    for fill in (0, 255):
        for pixels, alpha in zip(pair, alphas):
            pixels[alpha == 0] = fill
        results.append(fuse(write_frames(tmp_path / str(fill), pair, alphas), method))
    np.testing.assert_array_equal(results[0].image, results[1].image)
    np.testing.assert_array_equal(results[0].alpha, results[1].alpha)
    both = np.zeros(truth.shape[:2], bool)
    both[56:, :9] = True
    np.testing.assert_array_equal(results[0].alpha, np.where(both, 0, 255))


@METHODS
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_one_frame_hides_another_fills(tmp_path, method, dtype):
    """Frames that agree where both show the scene: the result is the scene."""
    truth = photograph()[100:148, 200:264].astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    truth = truth[..., 1] if dtype == np.uint16 else truth  # gray and alpha, 16 bit each
    top = np.iinfo(dtype).max
    alphas = [np.full(truth.shape[:2], top, dtype) for _ in range(2)]
    alphas[0][:9], alphas[1][:, 50:] = 0, 0
    alphas[1][:9, 50:] = top
    pair = [np.where(alpha.reshape(alpha.shape + (1,) * (truth.ndim - 2)) > 0, truth, 0) for alpha in alphas]
    result = fuse(write_frames(tmp_path, pair, alphas), method)
    assert result.alpha is None and result.image.dtype == dtype
    assert np.abs(result.image.astype(int) - truth).max() <= top // 255


@METHODS
def test_frames_that_are_clear_throughout_stay_clear(tmp_path, method):
    truth, pair = focused_sides((40, 48, 3))
    result = fuse(write_frames(tmp_path, pair, [np.zeros(truth.shape[:2], np.uint8)] * 2), method)
    assert not result.alpha.any() and not result.image.any()


@METHODS
def test_an_opaque_alpha_changes_nothing(tmp_path, method):
    truth, pair = focused_sides()
    plain = fuse(pair, method)
    opaque = [np.dstack([pixels, np.full(truth.shape[:2], 255, np.uint8)]) for pixels in pair]
    for i, pixels in enumerate(opaque):
        cv2.imwrite(str(tmp_path / f"{i}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))
    result = fuse(sorted(tmp_path.iterdir()), method)
    assert result.alpha is None
    np.testing.assert_array_equal(result.image, plain.image)


@METHODS
def test_a_frame_without_alpha_fills_all(tmp_path, method):
    truth, pair = focused_sides()
    alpha = np.full(truth.shape[:2], 255, np.uint8)
    alpha[20:40, 10:30] = 0
    for order in (1, -1):
        paths = write_frames(tmp_path / str(order), pair[::order], [alpha, None][::order])
        assert fuse(paths, method).alpha is None


@pytest.mark.parametrize("method", [*FAST, "none", "select"])
def test_thin_parts_of_a_matte_are_kept(monkeypatch, method):
    """A thing with legs, in focus in the first of two frames, of three, or in the last."""
    stub_network(monkeypatch)
    sharp = thing_with_legs()
    for order in ((0, 5), (5, 0), (5, 0, 5)):
        frames = [defocus(sigma, sharp) if sigma else sharp for sigma in order]
        matte = Matte(Sequence(*zip(*frames)))
        if method in FAST:
            image, alpha, _ = fuse_matte.fuse_by_method(method, matte, **FAST[method])
        else:
            image, alpha, _ = fuse_matte.fuse_by_network(sharper, matte, refine=method, tile=0)
        subject = sharp[1] == 255
        assert (alpha[subject] < 128).mean() <= SUBJECT_LOSS
        assert image.shape == sharp[0].shape and image.dtype == np.uint8


@pytest.mark.parametrize("count", [2, 3])
def test_alpha_follows_the_choice_of_frames(count):
    """The chosen frame is the sharp one, and its outline is that of the result."""
    sharp = thing_with_legs()
    matte = Matte(Sequence(*zip(*[sharp] + [defocus(4 + i, sharp) for i in range(count - 1)])))
    _, alpha, choice = fuse_matte.fuse_by_network(sharper, matte, refine="select", tile=0)
    assert choice.dtype == np.uint16
    outline = cv2.dilate(sharp[1], np.ones((9, 9))) > 0
    assert (choice[outline] == 0).mean() > 0.95
    assert np.abs(alpha.astype(int) - sharp[1])[outline].mean() < 6


def test_the_choice_names_what_shows_a_pixel(monkeypatch, tmp_path):
    stub_network(monkeypatch)
    truth, pair = focused_sides()
    for frames in (pair, [*pair, pair[1]]):
        alphas = [np.full(truth.shape[:2], 255, np.uint8) for _ in frames]
        alphas[0][:10] = 0
        result = fuse(
            write_frames(tmp_path / str(len(frames)), frames, alphas), "two_stream", refine="select"
        )
        assert (
            result.alpha is None and (result.choice[:10] > 0).all() and (result.choice[20:, :30] == 0).all()
        )


def test_a_result_of_tiles_is_that_of_the_whole(monkeypatch, tmp_path):
    """Alpha goes through the network in the same tiles."""
    sizes = []

    def network(a, b, *, tile, progress=iter):
        sizes.append(tile)
        return np.maximum(a, b)

    stub_network(monkeypatch, network)
    truth, pair = focused_sides()
    alpha = np.full(truth.shape[:2], 255, np.uint8)
    alpha[:30] = 0
    paths = write_frames(tmp_path, pair, [alpha, alpha])
    result = fuse(paths, "two_stream", tile=32)
    assert sizes == [32, 32]
    np.testing.assert_array_equal(result.alpha, alpha)


def test_premultiplied_colours_fuse_as_others_do(tmp_path):
    colour, alpha = thing_with_legs()
    frames = [defocus(sigma, (colour, alpha)) for sigma in (0.7, 4)]
    results = []
    for alpha_type in ("unassalpha", "assocalpha"):
        folder = tmp_path / alpha_type
        folder.mkdir()
        for i, (pixels, soft) in enumerate(frames):
            if alpha_type == "assocalpha":
                pixels = np.rint(pixels * (soft[..., None] / 255)).astype(np.uint8)
            tifffile.imwrite(
                folder / f"{i}.tif", np.dstack([pixels, soft]), photometric="rgb", extrasamples=[alpha_type]
            )
        results.append(fuse(sorted(folder.iterdir()), "lp"))
    np.testing.assert_array_equal(results[0].alpha, results[1].alpha)
    visible = results[0].alpha > 200
    difference = np.abs(results[0].image.astype(int) - results[1].image)[visible]
    assert difference.mean() <= 1 and difference.max() <= 12  # colours of 8 bits, rounded under low alpha


def test_frames_that_move_are_filled_in_register(tmp_path):
    """Borders stand still in the frames while the scene moves. Nothing of their black is left."""
    scene = photograph()[60:240, 120:360]
    frames, alphas = [], []
    for shift in (0, 3):
        pixels = scene[shift : shift + 160, shift : shift + 220].copy()
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        hidden = slice(0, 8) if shift else slice(-8, None)
        alpha[hidden] = alpha[:, hidden] = 0
        pixels[alpha == 0] = 0
        frames.append(pixels)
        alphas.append(alpha)
    paths = write_frames(tmp_path, frames, alphas)
    result = fuse(paths, "lp", align="translation", reference=0, exposure=False)
    np.testing.assert_allclose(result.transforms[1][:2, 2], -3, atol=0.03)
    rows, columns = result.aligned.window
    hidden = result.alpha < 128
    assert hidden.mean() < 0.01  # two corners that no frame shows
    assert np.abs(result.image - scene[rows, columns].astype(int))[~hidden].max() <= 25


def test_only_nets_are_too_slow_for_the_tests_of_alpha():
    assert {*registry.METHODS} - {*FAST} == {"srcnn", "cnn", "two_stream"}


def test_a_multi_stream_network_selects_and_counts_its_squares(tmp_path):
    scene, totals, counted = photograph()[:64, :80], [], []

    @contextlib.contextmanager
    def progress(stage, total, unit):
        totals.append(total)

        def track(items):
            items = list(items)
            counted.append(len(items))
            return items

        yield track

    alpha = np.full(scene.shape[:2], 255, np.uint8)
    alpha[:8] = 0
    paths = write_frames(tmp_path / "in", [scene, scene // 2], [alpha, alpha])
    result = fuse(
        paths, "two_stream", model="N-stream_f16_k3-stack", refine="none", tile=32, progress=progress
    )
    assert totals == [sum(counted)] and len(counted) > 1  # at several sizes
    assert result.refine == "select" and result.choice is not None and (result.alpha[:8] == 0).all()
