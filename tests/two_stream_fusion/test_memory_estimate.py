import numpy as np
import pytest

from two_stream_fusion import memory_estimate, pipeline
from two_stream_fusion.base import memory
from two_stream_fusion.io import decode, images
from two_stream_fusion.memory_estimate import needed_bytes
from two_stream_fusion.methods import registry


def big(itemsize=1):
    return decode.Header(20_000, 20_000, 3, itemsize, 400_000_000 * 3 * itemsize * 3)


@pytest.fixture
def pair(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.tif")]
    for path in paths:
        images.write(path, np.zeros((40, 50, 3), np.uint8))
    return paths


def test_a_fusion_that_memory_cannot_hold_is_refused_at_once(pair, monkeypatch):
    monkeypatch.setattr(decode, "decode_with_pillow", None)  # nothing is decoded
    monkeypatch.setattr(images, "load", None)
    monkeypatch.setattr(memory, "available", lambda: 2**27)
    with pytest.raises(
        MemoryError, match=r"(a\.png|b\.tif): 2 images of 50x40 pixels, fused by lp: not enough"
    ):
        pipeline.fuse(pair, "lp")
    monkeypatch.setattr(memory, "available", lambda: 2**28)
    memory_estimate.check_memory(pair, "lp")


@pytest.mark.parametrize("method", registry.METHODS)
def test_more_is_needed_than_the_images_take(method):
    for itemsize in (1, 2):
        header = big(itemsize)
        assert needed_bytes(method, 2, header) > 3 * header.size + memory_estimate.PROGRAM_BYTES
    assert needed_bytes(method, 2, big(2)) > needed_bytes(method, 2, big())


def test_methods_that_take_all_images_need_more_for_each():
    assert needed_bytes("gf", 9, big()) >= needed_bytes("gf", 2, big()) + 7 * big().size
    assert needed_bytes("lp", 9, big()) == needed_bytes("lp", 2, big())


def test_networks_need_more_for_a_stack_and_a_multi_stream_one_for_each_frame():
    stack = needed_bytes("two_stream", 8, big())
    assert stack - needed_bytes("two_stream", 2, big()) == 300 * 2**20
    needed = [needed_bytes("multi_stream", count, big()) for count in (8, 16)]
    assert needed[0] > stack
    assert needed[1] - needed[0] == 8 * 2 * 400_000_000


def test_a_multi_stream_network_that_memory_cannot_hold_is_refused(pair, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**30)  # enough for two_stream
    memory_estimate.check_memory(pair, "two_stream")
    with pytest.raises(MemoryError, match=r"fused by multi_stream: not enough memory: 1\.5 GiB are needed"):
        pipeline.fuse(pair, model="N-stream_f16_k3-stack")


@pytest.mark.parametrize(
    ("free", "jobs", "fitting"),
    [(2**40, 16, 16), (16, 16, 16), (3.5, 16, 3), (3.5, 2, 2), (1.5, 16, 1), (0.5, 16, 16)],
)  # fmt: skip
def test_no_more_jobs_than_memory_holds_at_a_time(free, jobs, fitting, pair, monkeypatch, caplog):
    needed = memory_estimate.estimate_memory(pair, "lp").needed
    monkeypatch.setattr(memory, "available", lambda: int(free * needed))
    assert memory_estimate.limit_jobs([pair] * 20, jobs, "lp") == fitting
    if fitting < jobs:
        (line,) = caplog.messages
        assert line.startswith(f"--jobs 16: memory holds only {fitting} at a time: the largest needs 0.")
    else:
        assert not caplog.messages


def test_the_largest_of_a_batch_limit_its_jobs(pair, tmp_path, monkeypatch):
    large = [tmp_path / name for name in ("c.png", "d.png")]
    for path in large:
        images.write(path, np.zeros((2000, 3000, 3), np.uint8))
    (tmp_path / "damaged.png").write_bytes(b"x")
    batch = [pair] * 5 + [large] * 2 + [[tmp_path / "damaged.png", tmp_path / "none.png"]]
    small, needed = (memory_estimate.estimate_memory(sources, "lp").needed for sources in (pair, large))
    for free, fitting in (
        (2 * needed - 1, 1),
        (2 * needed, 2),
        (2 * needed + small, 3),
        (needed - 1, (needed - 1) // small),
    ):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        assert memory_estimate.limit_jobs(batch, 4, "lp") == fitting, free


def test_scoring_takes_memory_too(pair):
    fusing = memory_estimate.estimate_memory(pair, "lp").needed
    scoring = memory_estimate.estimate_memory(pair, "lp", scoring_bytes=10**6).needed
    assert memory_estimate.estimate_memory(pair, "lp", scoring_bytes=1).needed == fusing
    assert scoring > memory_estimate.PROGRAM_BYTES + 40 * 50 * 10**6
