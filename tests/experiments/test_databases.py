import numpy as np
import pytest

from data_prep import builder, recipes
from experiments import databases
from two_stream_fusion.io import images


@pytest.fixture
def database(lab):
    """Makes the database of options, as a run does."""
    (lab.folder / "out").mkdir()
    return lambda options="--patch 16": databases.prepare_database(options, lab.folder / "out" / "data")


def test_databases_have_folders_of_their_own(lab):
    kept_names = {
        "": "default",
        "--gray": "gray",
        "--gray --recipe defocus": "gray_recipe_defocus",
        "--patch 25": "patch_25",
        "--patch 16 --val-share 0.5": "patch_16_val_share_0.5",
    }
    assert {options: databases.database_name(options) for options in kept_names} == kept_names
    photos = ["'/tmp/p x'", "/tmp/p-x", "/tmp/p_x", "p_x", "P.x", "'p x'", "p.x", "p_gray", "'p --gray'"]
    names = [databases.database_name(f"--photos {path}") for path in photos] + [
        databases.database_name("--photos p --gray")
    ]
    assert len(set(names)) == len(names) and not any(" " in name or "/" in name for name in names)
    assert names[0].startswith("photos_tmp_p_x-") and names[-1] == "photos_p_gray"
    assert databases.database_name("--photos /tmp/p-x") == names[1]
    assert len(databases.database_name("--photos " + 300 * "A")) < 100


def test_a_database_is_made_again_where_photographs_are_others(lab, database, capsys):
    first = database()
    assert capsys.readouterr().out.startswith(f"{lab.folder}/out/data/patch_16: not made yet\n")
    assert database().key == first.key and capsys.readouterr().out == ""
    photographs = lab.folder / "shared" / "train"
    images.write(photographs / "more.png", np.zeros((48, 64, 3), np.uint8))
    second = database()
    assert "patch_16: to do again: it has other photographs or masks\n" in capsys.readouterr().out
    assert second.key != first.key and len(second.photographs["train"] | second.photographs["val"]) == 5
    (photographs / "more.png").unlink()
    assert database().key == first.key  # by what is in it, not by when it was made


def test_a_database_is_known_by_what_is_in_it(database, monkeypatch, capsys):
    first = database()
    monkeypatch.setattr(builder.cv2, "__version__", "6.0.0")
    assert database().key == first.key
    assert "to do again: it has other code or libraries behind it\n" in capsys.readouterr().out
    monkeypatch.setattr(builder.cv2, "__version__", "6.0.1")
    monkeypatch.setitem(recipes.RECIPES, "paper", lambda clean, region, rng: [clean] * 3)
    assert database().key != first.key


def test_masks_are_part_of_what_a_database_is_known_by(lab, database):
    (lab.folder / "photos").mkdir()
    for name in "ab":
        noise = np.random.default_rng(ord(name)).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        images.write(lab.folder / "photos" / f"{name}.tif", noise)
    mask, keys = np.zeros((48, 64), np.uint8), set()
    mask[:20] = 255
    for turned in (mask, mask[::-1]):
        images.write(lab.folder / "photos" / "a.png", turned)
        keys.add(database(f"--patch 16 --photos {lab.folder}/photos").key)
    assert len(keys) == 2


def test_a_database_that_is_elsewhere_is_made_again(lab, database, capsys):
    database()
    (lab.folder / "out").rename(lab.folder / "moved")
    databases.prepare_database("--patch 16", lab.folder / "moved" / "data")
    assert "to do again: its files are not where its lists say\n" in capsys.readouterr().out
