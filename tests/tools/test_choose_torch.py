import sys

import pytest

from tools import choose_torch


@pytest.mark.parametrize(
    ("has_gpu", "index_answers", "index", "words"),
    [
        (True, False, False, "finds a GPU"),
        (False, True, True, "build for CPUs"),
        (False, False, False, "cannot be reached"),
    ],
)
def test_the_build_for_cpus_where_there_is_no_gpu(has_gpu, index_answers, index, words):
    arguments, reason = choose_torch.pip_arguments(has_gpu, index_answers)
    assert arguments.startswith("torch==2.13.0") and ("--index-url" in arguments) == index
    assert words in reason


def test_a_command_that_hangs_ends(monkeypatch):
    monkeypatch.setattr(choose_torch, "TIMEOUT_S", 0.2)
    assert not choose_torch.command_succeeds(sys.executable, "-c", "import time; time.sleep(60)")
    assert not choose_torch.command_succeeds("no-such-program")
