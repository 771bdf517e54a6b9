"""The numbers of a card."""

import pytest

from tools import release_card

LOG = """I1231 23:00:00.000000 1 training.py:1] Solving net
I1231 23:00:30.500000 1 training.py:1] Iteration 10, loss = 5
I1231 23:59:00.000000 1 training.py:1] Solving net
a line without a time
I0101 00:01:00.000000 1 training.py:1] Iteration 20, loss = 4
"""


def test_the_time_is_that_of_all_runs_without_pauses():
    assert release_card.training_seconds(LOG.splitlines()) == 30.5 + 120
    assert release_card.training_seconds([]) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(40.2, "40 s"), (170, "3 min"), (10260, "2 h 51 min"), (7200, "2 h 0 min")]
)
def test_durations_in_words(seconds, words):
    assert release_card.format_duration(seconds) == words


def test_the_machine_is_the_gpu_of_the_log_or_the_processor():
    line = "I1231 23:00:00.000000 1 main.py:1] GPU 0: NVIDIA H200"
    assert release_card.describe_machine([line], "0", "tf32") == "NVIDIA H200, tf32"
    assert release_card.describe_machine([], None, None).endswith(", float32")


def test_scores_are_those_of_the_first_table(tmp_path):
    path = tmp_path / "scores.md"
    path.write_text(
        "mean of 7 pairs, recipe defocus, noise 0\n\n| | PSNR | SSIM |\n|---|---|---|\n"
        "| net | **49.2118** | 0.9 |\n| select | 48.7572 | 0.9 |\n\n| | MI |\n|---|---|\n| net | 1 |\n"
    )
    assert release_card.read_scores(path) == (7, ["49.2118", "48.7572"])
