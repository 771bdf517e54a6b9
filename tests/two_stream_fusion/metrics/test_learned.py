"""metrics/learned.py: what pyiqa is asked, and what is said where it or its weights lack."""

import sys
import types
import urllib.error

import cv2
import numpy as np
import pytest

from eval import score
from two_stream_fusion.io import images
from two_stream_fusion.metrics import is_higher_better, learned, select_names
from two_stream_fusion.metrics.registry import REGISTRY

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def fresh_models():
    learned._load_model.cache_clear()
    yield
    learned._load_model.cache_clear()


@pytest.fixture
def fake_pyiqa(monkeypatch):
    """A module with pyiqa's one function; its models give mean absolute differences, or the mean."""
    made = []

    def create_metric(name, device=None):
        made.append((name, device))

        def model(target, reference=None):
            assert target.shape[:2] == (1, 3) and str(target.dtype) == "torch.float32" and target.max() <= 1
            return (target - reference).abs().mean() if reference is not None else target.mean()

        return model

    monkeypatch.setitem(sys.modules, "pyiqa", types.SimpleNamespace(create_metric=create_metric))
    return made


@pytest.mark.parametrize("dtype, peak", [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 3)])
def test_models_get_images_of_0_to_1(fake_pyiqa, dtype, peak, shape):
    white, black = np.full(shape, peak, dtype), np.zeros(shape, dtype)
    assert learned.evaluate(learned.NAMES, white, black) == {"LPIPS": 1.0, "DISTS": 1.0, "NIQE": 1.0}
    assert learned.evaluate(learned.NAMES, black) == {"NIQE": 0.0}  # no ground truth
    assert fake_pyiqa == [("lpips", "cpu"), ("dists", "cpu"), ("niqe", "cpu")]  # each once


def test_they_are_columns_of_a_score(fake_pyiqa, triple):
    columns = select_names("MI,NIQE,LPIPS")
    a, b, sharp = triple
    scores = score.score([a, b], a, reference=sharp, columns=columns)
    assert list(scores) == ["MI", "PSNR", "SSIM", "NIQE", "LPIPS"] and scores["LPIPS"] > 0
    assert list(score.score([a, b], a, columns=columns)) == ["MI", "NIQE"]
    assert not any(is_higher_better(name) for name in learned.NAMES)
    assert not {*learned.NAMES} & {*select_names("all"), *REGISTRY}


def test_without_pyiqa_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ValueError, match=r'^NIQE needs pyiqa, .*: pip install "\.\[iqa\]"$'):
        learned.evaluate(["NIQE"], np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route\nto host"), RuntimeError("bad zip"), OSError()]
)
def test_without_weights_the_error_is_one_line(fake_pyiqa, monkeypatch, error):
    def fail(name, device):
        raise error

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", fail)
    with pytest.raises(ValueError, match=r"^DISTS: pyiqa cannot load its weights: \S.*$") as caught:
        learned.evaluate(["DISTS"], np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8))
    assert "\n" not in str(caught.value)


def test_an_image_that_it_refuses_is_named(fake_pyiqa, monkeypatch):
    def refuse(*tensors):
        raise AssertionError("too small")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", lambda name, device: refuse)
    with pytest.raises(ValueError, match=r"^NIQE: pyiqa refuses the image \(9, 9\): too small$"):
        learned.evaluate(["NIQE"], np.zeros((9, 9), np.uint8))


def test_the_real_ones_prefer_the_sharp_image(triple):
    pytest.importorskip("pyiqa", reason="pyiqa is not installed")
    a, _, sharp = triple
    try:
        scores = [learned.evaluate(learned.TO_TRUTH, image, sharp) for image in (sharp, a)]
    except ValueError as error:
        pytest.skip(str(error))
    for name in learned.TO_TRUTH:
        assert scores[0][name] == pytest.approx(0, abs=1e-4) and scores[1][name] > 0.01


@pytest.fixture
def pyiqa_without_downloads(tmp_path, monkeypatch):
    """pyiqa's own models with random weights in place of those that it downloads."""
    pytest.importorskip("pyiqa", reason="pyiqa is not installed")
    import torch
    from pyiqa.archs import dists_arch, lpips_arch, niqe_arch
    from scipy.io import savemat
    from torchvision.models import _api

    natural = tmp_path / "natural.mat"
    savemat(natural, {"mu_prisparam": np.zeros((1, 36)), "cov_prisparam": np.eye(36)})
    monkeypatch.setattr(niqe_arch, "load_file_from_url", lambda *_: str(natural))
    for architecture in (lpips_arch, dists_arch):
        monkeypatch.setattr(architecture, "load_pretrained_network", lambda *_: None)
    monkeypatch.setattr(_api.WeightsEnum, "verify", classmethod(lambda *_: None))
    torch.manual_seed(0)


@pytest.mark.parametrize("name", learned.NAMES)
def test_the_real_ones_get_what_they_read_from_files(name, pyiqa_without_downloads, tmp_path):
    rng = np.random.default_rng(0)
    clean = cv2.GaussianBlur(rng.integers(0, 256, (100, 200, 3), dtype=np.uint8), (0, 0), 1)
    fused = cv2.GaussianBlur(clean, (0, 0), 1)
    paths = [str(tmp_path / "fused.png"), str(tmp_path / "clean.png")]
    for path, image in zip(paths, (fused, clean)):
        images.write(path, image)
    value = learned.evaluate([name], fused, clean)[name]
    model = learned._load_model(name)
    assert str(model.device) == "cpu" and model.lower_better
    # pyiqa reads the files itself: range, layout and order of the colours are its own.
    assert value == pytest.approx(float(model(*paths[: 2 if name in learned.TO_TRUTH else 1])), rel=1e-6)
    swapped = [image[..., ::-1] for image in (fused, clean)]
    assert learned.evaluate([name], *swapped)[name] != pytest.approx(value, rel=1e-5)
    deep = [image.astype(np.uint16) * 257 for image in (fused, clean)]
    assert learned.evaluate([name], *deep)[name] == pytest.approx(value, rel=1e-6)
    gray = [image[..., 1] for image in (fused, clean)]
    equal_channels = [np.dstack([image] * 3) for image in gray]
    assert learned.evaluate([name], *gray) == learned.evaluate([name], *equal_channels)
