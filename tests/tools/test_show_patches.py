import h5py
import numpy as np
import pytest

from tools import show_patches
from two_stream_fusion.io import images


@pytest.fixture
def database(tmp_path):
    """Two files of 3 and 2 patches of 4 x 5 x 5, and their list; the first value tells row and dataset."""
    for name, first, count in (("0.h5", 0, 3), ("1.h5", 3, 2)):
        with h5py.File(tmp_path / name, "w") as file:
            for i, row in enumerate(show_patches.ROWS):
                values = 50 * i + np.arange(first, first + count, dtype=np.uint8)
                file[row] = values[:, None, None, None] * np.ones((1, 4, 5, 5), np.uint8)
    (tmp_path / "train.txt").write_text(f"{tmp_path}/0.h5\n{tmp_path}/1.h5\n")
    return tmp_path / "train.txt"


def test_patches_across_files(database):
    patches = show_patches.read_patches(database, 2, 2)
    assert {row: values[:, 0, 0, 0].tolist() for row, values in patches.items()} == {
        "a": [2, 3],
        "b": [52, 53],
        "label": [102, 103],
    }
    assert len(show_patches.read_patches(database, 4, 9)["a"]) == 1


def test_the_picture_has_the_rows_of_figure_4(database, tmp_path, capsys):
    out = tmp_path / "p.png"
    show_patches.main([str(database), "-o", str(out), "--count", "4"])
    picture = images.read(out)
    assert picture.shape == (17, 23, 3)
    assert [picture[y, 6, 0] for y in (0, 6, 12)] == [1, 51, 101]
    assert "patches 0 to 3" in capsys.readouterr().out


def test_floats_and_one_channel_are_shown():
    colours = show_patches.to_colour(np.full((1, 1, 2, 2), 0.2, np.float32))
    assert colours.shape == (1, 2, 2, 3) and (colours == 51).all()


def test_mistakes_are_reported(database, tmp_path):
    out = ["-o", str(tmp_path / "p.png")]
    with pytest.raises(ValueError, match="ends before patch --first"):
        show_patches.main([str(database), *out, "--first", "5"])
    with pytest.raises(OSError, match="nothing"):
        show_patches.main([str(tmp_path / "nothing.h5"), *out])
    (tmp_path / "notes.h5").write_text("no database")
    with pytest.raises(ValueError, match=r"notes\.h5: not an HDF5 file"):
        show_patches.main([str(tmp_path / "notes.h5"), *out])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"other\.h5: no images a, b and label.* it has data \(2, 3\)"):
        show_patches.main([str(tmp_path / "other.h5"), *out])
    with pytest.raises(SystemExit):
        show_patches.main([str(database), *out, "--count", "0"])
