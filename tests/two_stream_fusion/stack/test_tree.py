"""stack/tree.py: a stack fused two by two."""

import pytest

from two_stream_fusion.stack.tree import fuse_tree


def fuse(a, b):
    return f"({a}{b})"


@pytest.mark.parametrize(
    "frames, fused",
    [("a", "a"), ("ab", "(ab)"), ("abcde", "(((ab)(cd))e)"), ("abcdefg", "(((ab)(cd))((ef)g))")],
)
def test_neighbours_are_fused_in_their_order(frames, fused):
    assert fuse_tree(fuse, frames) == fused


def test_each_frame_passes_few_fusions():
    for count in range(1, 70):
        depth = fuse_tree(lambda a, b: max(a, b) + 1, [0] * count)
        assert 2**depth < 2 * count or depth == 0


def test_frames_are_read_as_they_are_needed():
    read, fused_after = [], []
    fuse_tree(lambda a, b: fused_after.append(len(read)), (read.append(i) for i in range(4)))
    assert fused_after == [2, 4, 4]


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        fuse_tree(fuse, [])
