import numpy as np

from data_prep import depth_pair
from experiments.stacks import measure as measure_stack


def test_a_tree_fuses_neighbours_in_their_order():
    assert measure_stack.fuse_tree(lambda a, b: f"({a}{b})", list("abcde")) == "(((ab)(cd))e)"


def test_frames_are_sharp_in_turn(monkeypatch):
    sharp, disparity = (x[200:300, 300:420] for x in depth_pair.scene())
    monkeypatch.setattr(depth_pair, "scene", lambda: (sharp, disparity))
    frames, truth = measure_stack.render(4)
    assert len(frames) == 4 and truth is sharp
    near = [np.abs(frame.astype(int) - sharp).mean(axis=2) for frame in frames]
    assert (np.min(near, axis=0) <= 2).mean() > 0.9 and min(map(np.mean, near)) > 0.1
