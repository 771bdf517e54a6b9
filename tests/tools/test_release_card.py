"""The numbers of a card."""

from pathlib import Path

import pytest
from caffe.proto import caffe_pb2

from tools import release_card
from tools.release_card import Release

LOG = """I1231 22:59:50.000000 1 main.py:1] Use CPU.
I1231 22:59:51.000000 1 training.py:1] Initializing solver from parameters:
I1231 23:00:00.000000 1 training.py:1] Solving net
I1231 23:00:30.500000 1 training.py:1] Iteration 10, loss = 5
I1231 23:00:31.000000 1 training.py:1] Optimization stopped early.
I1231 23:00:31.000000 1 main.py:1] Optimization Done.
I1231 23:30:00.000000 1 main.py:1] Use CPU.
I1231 23:30:01.000000 1 training.py:1] Initializing solver from parameters:
I1231 23:30:10.000000 1 training.py:1] Solving net
I1231 23:30:14.000000 1 training.py:1] Iteration 15, loss = 5
I1231 23:58:40.000000 1 main.py:1] Use CPU.
I1231 23:59:00.000000 1 training.py:1] Solving net
a line without a time
I0101 00:01:00.000000 1 training.py:1] Iteration 20, loss = 4
"""


def test_the_time_is_that_of_all_runs_without_pauses():
    """The second run was killed."""
    assert release_card.training_seconds(LOG.splitlines()) == 31 + 4 + 120
    assert release_card.training_seconds([]) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(40.2, "40 s"), (170, "3 min"), (10260, "2 h 51 min"), (7200, "2 h 0 min")]
)
def test_durations_in_words(seconds, words):
    assert release_card.format_duration(seconds) == words


def test_the_machine_is_that_of_each_run_in_the_log():
    processor = release_card.describe_machine(["1] Use CPU."])
    assert processor.endswith(", float32") and processor == release_card.describe_machine([])
    on_gpu = ["1] Using GPUs 0", "1] GPU 0: NVIDIA H200", "1] Precision: tf32", "1] Initializing solver from"]
    assert release_card.describe_machine(on_gpu) == "NVIDIA H200, tf32"
    assert release_card.describe_machine([*on_gpu, *on_gpu]) == "NVIDIA H200, tf32"
    assert release_card.describe_machine([*on_gpu, "1] Use CPU."]) == f"NVIDIA H200, tf32, then {processor}"


def test_the_command_that_repeats_a_release():
    solver = caffe_pb2.SolverParameter(max_iter=20)
    made = Release("m", Path("out"), solver, "", "--out out", "photos", "caffe", "0", "tf32")
    assert release_card.repeat_command(made) == "make release MODEL=m GPU=0 PRECISION=tf32 PHOTOS=photos"
    dry_run = made._replace(gpu=None, precision=None, score_pairs=2, photos="out/photographs")
    assert release_card.repeat_command(dry_run) == "make release MODEL=m ITERATIONS=20"


def test_scores_are_those_of_the_first_table(tmp_path):
    path = tmp_path / "scores.md"
    path.write_text(
        "mean of 7 pairs, recipe defocus, noise 0\n\n| | PSNR | SSIM |\n|---|---|---|\n"
        "| net | **49.2118** | 0.9 |\n| select | 48.7572 | 0.9 |\n\n| | MI |\n|---|---|\n| net | 1 |\n"
    )
    assert release_card.read_scores(path) == (7, ["49.2118", "48.7572"])
    path.write_text(f"a line before\n{path.read_text()}")
    assert release_card.read_scores(path) == (7, ["49.2118", "48.7572"])
    path.write_text("mean of 7 pairs")
    with pytest.raises(ValueError, match="is not what eval/held_out"):
        release_card.read_scores(path)
