import numpy as np
import pytest

from docs import gallery
from two_stream_fusion.io import images


def test_a_picture_shows_four(tmp_path, monkeypatch):
    """Photographs of noise, two of them sharp in one half each."""
    folder = tmp_path / "stacks/ring"
    folder.mkdir(parents=True)
    photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    for i in range(3):
        images.write(folder / f"{i}.png", photo)
    monkeypatch.setattr(gallery, "STACKS", {"ring": "*.png"})
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    monkeypatch.setenv("FUSION_DATA", str(tmp_path))
    assert gallery.main(["--out", str(tmp_path)]) == 0
    picture = images.read(tmp_path / "ring.jpg")
    assert picture.shape == (2 * 525 + 1, 2 * 700 + 1, 3)
    assert not picture[540:, 710:].any()  # all from the first
    assert images.read(tmp_path / "build/gallery/ring.png").shape == photo.shape


@pytest.mark.parametrize(
    ("data", "names", "words"), [("", [], "FUSION_DATA"), ("x", ["none"], "no stack none")]
)
def test_missing_files_are_reported(monkeypatch, capsys, data, names, words):
    monkeypatch.setenv("FUSION_DATA", data)
    with pytest.raises(SystemExit) as stop:
        gallery.main(names)
    assert stop.value.code == 2 and words in capsys.readouterr().err
