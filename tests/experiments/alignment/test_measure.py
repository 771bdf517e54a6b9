import numpy as np
import pytest

from experiments.alignment import measure
from two_stream_fusion.io import images
from two_stream_fusion.stack import align


def test_pairs_hold_the_motion_they_come_with():
    photo = measure.read_photograph("chelsea.png")
    reference, image, matrix = measure.make_moved_pair(photo, np.random.default_rng(0), (8, 1.5, 0.03, 0))
    assert reference.shape == image.shape == (photo.shape[0] - 96, photo.shape[1] - 96, 3)
    assert reference.dtype == image.dtype == np.uint8
    assert (
        align.correlate_images(reference, image)
        < 0.9
        < 0.94
        < align.correlate_images(reference, image, matrix)
    )


def test_motions_stay_within_their_limits():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shift = measure.random_motion(rng, (100, 100), 20, 0, 0, 0)
        np.testing.assert_allclose(shift[:, :2], np.eye(3)[:, :2], atol=1e-12)
        assert np.abs(shift[:2, 2]).max() <= 20
        turn = measure.random_motion(rng, (100, 100), 0, 1.5, 0.03, 0)
        assert 0.97 <= np.linalg.det(turn) ** 0.5 <= 1.03
        assert align.corner_distance(turn, np.eye(3), (100, 100)) < 5


def test_stacks_are_measured(tmp_path):
    stack_folder = tmp_path / "stacks" / "two"
    stack_folder.mkdir(parents=True)
    photo = measure.read_photograph("chelsea.png").astype(np.uint8)
    for i in range(2):
        images.write(stack_folder / f"{i}.png", photo[:200, 4 * i : 4 * i + 300])
    name, frames, size, pixels, before, after, _ = next(measure.measure_folder(tmp_path))
    assert (name, frames, size, pixels) == ("two", "2", "300x200", "4.0")
    assert float(before) < 0.9 < float(after)


def test_arguments(capsys):
    for wrong in (["--pairs", "0"], ["--help"]):
        with pytest.raises(SystemExit):
            measure.main(wrong)
    assert "examples:" in capsys.readouterr().out
