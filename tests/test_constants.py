"""The tuned constants that no result depends on, and so no test: each says so in the comment beside it.

Those of two_stream_fusion/stack, methods and data_prep that results depend on are held: a change by 30 %
fails a test of the module or of tests/golden/stages.py.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNTESTED = {
    "for speed alone": [
        ("data_prep/stack_patches.py", "REGION"),
        ("two_stream_fusion/base/tiles.py", "TILE"),
        ("two_stream_fusion/stack/fuse_network.py", "EDGE_TILE"),
        ("two_stream_fusion/stack/registration.py", "ECC_CRITERIA"),
    ],
    "for memory alone": [
        ("data_prep/regions.py", "STRIP_ROWS"),
        ("two_stream_fusion/base/tiles.py", "NETWORK_TILE"),
        ("two_stream_fusion/io/decode.py", "BAND"),
        ("two_stream_fusion/methods/cnn.py", "TILE"),
        ("two_stream_fusion/methods/multi_stream.py", "LOWEST"),
        ("two_stream_fusion/methods/multi_stream.py", "MEMORY"),
        ("two_stream_fusion/methods/multi_stream.py", "TILES"),
        ("two_stream_fusion/methods/srcnn.py", "TILE"),
    ],
    "against division by zero": [
        ("two_stream_fusion/methods/cp.py", "_E"),
        ("two_stream_fusion/methods/gf.py", "_TINY"),
        ("two_stream_fusion/methods/rp.py", "_E"),
    ],
}
FOLDERS = ("data_prep", "two_stream_fusion/base", "two_stream_fusion/io", "two_stream_fusion/methods",
           "two_stream_fusion/stack", "two_stream_fusion")  # fmt: skip


@pytest.mark.parametrize("reason", UNTESTED)
def test_a_constant_without_a_test_says_why(reason):
    stated = [
        (path.relative_to(ROOT).as_posix(), name)
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py")
        for name in re.findall(rf"^(\w+) = .*#.*{reason}", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(stated) == UNTESTED[reason]
