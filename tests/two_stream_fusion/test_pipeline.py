"""pipeline.py: photographs in, a fused image out."""

import logging
import subprocess
import sys
from pathlib import Path

import caffe
import cv2
import numpy as np
import pytest

from tests.golden import nets
from tests.two_stream_fusion.stack.scenes import levels, photograph, psnr, receding, slope
from two_stream_fusion import pipeline
from two_stream_fusion.io import images
from two_stream_fusion.methods import models, networks, registry
from two_stream_fusion.stack import align
from two_stream_fusion.stack.frames import Frames

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{net, weights} of the fast net, with weights that are not trained, but not trivial either."""
    weights = tmp_path_factory.mktemp("weights") / "w.caffemodel"
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    nets.set_weights(net)
    net.save(str(weights))
    return {"net": DEPLOY, "weights": weights}


def image(seed, shape=(45, 61, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_methods_without_a_net_need_no_caffe():
    """Importing PyTorch takes seconds, more than such methods take."""
    code = (
        "import sys, two_stream_fusion.pipeline; print([m for m in ('caffe', 'torch') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "[]"


def test_folding_is_fusing_the_result_with_the_next(files):
    a, b, c = (image(i) for i in range(3))
    result = pipeline.fuse([a, b, c], refine="none", check_register=False, **files)
    net = networks.open_network(**files)
    np.testing.assert_array_equal(result.image, net(net(a, b), c))
    assert result.choice is None and result.refine == "none" and result.maps == []
    assert (result.net, result.weights) == (DEPLOY, files["weights"])


def test_files_arrays_and_frames_are_the_same(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        images.write(path, image(i))
    arrays = [image(i) for i in range(3)]
    expected = registry.fuse("lp", arrays, levels=3).image
    for sources in (paths, map(str, paths), arrays, Frames(paths)):
        result = pipeline.fuse(sources, "lp", options={"levels": 3}, check_register=False)
        np.testing.assert_array_equal(result.image, expected)
        assert result.refine is None and result.net is None and set(result.seconds) == {"align", "fuse"}
    assert pipeline.fuse(arrays, "lp", check_register=False).aligned.names == [
        "image 1",
        "image 2",
        "image 3",
    ]


def test_the_order_of_bytes_changes_nothing():
    arrays = [image(i).astype(np.uint16) * 257 for i in range(2)]
    swapped = [array.astype(">u2") for array in arrays]
    np.testing.assert_array_equal(pipeline.fuse(swapped, "lp").image, pipeline.fuse(arrays, "lp").image)


def test_maps_are_what_a_method_decided_by():
    result = pipeline.fuse([image(i) for i in range(3)], "psfs", check_register=False)
    assert [step["decision"].shape for step in result.maps] == [(45, 61)] * 2


def test_a_stack_is_put_in_order_and_in_register():
    """Frames are shifted as named; matrices are in that order, frames in the order of focus."""
    sharp = receding(4, (150, 200, 3))
    shuffled = [np.ascontiguousarray(np.roll(sharp[i], 3 * i, axis=1)[:, 20:180]) for i in (2, 0, 3, 1)]
    before = [x.copy() for x in shuffled]
    frames = Frames(shuffled)
    aligned = pipeline.align_frames(frames, "translation", reference=1, exposure=False)
    assert aligned.order in ([1, 3, 0, 2], [2, 0, 3, 1]) and aligned.reference == 1
    assert [round(matrix[0, 2]) for matrix in aligned.transforms] == [6, 0, 9, 3]
    assert aligned.names == [f"image {i}" for i in (1, 2, 3, 4)]
    assert aligned.frames.name(0) == f"image {aligned.order[0] + 1}"
    assert aligned.frames.shape[1] <= 151 and aligned.window[1].start == 0
    assert frames.shape == (150, 160, 3) and frames.matrices is None  # the caller's stays as it is
    np.testing.assert_array_equal(frames[0], before[0])
    fused = pipeline.fuse(shuffled, "lp", align="translation", reference=1, exposure=False)
    np.testing.assert_array_equal(fused.transforms, aligned.transforms)


def test_images_out_of_register_are_logged(caplog, capfd):
    photo = photograph()
    a, b = np.ascontiguousarray(photo[20:320, 50:400]), np.ascontiguousarray(photo[26:326, 62:412])
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        pipeline.fuse([a, a], "lp")
        assert not caplog.records
        pipeline.fuse([a, b], "lp", check_register=False)
        assert not caplog.records
        pipeline.fuse([a, b], "lp")
    assert "image 1 and image 2 seem 13.4 pixels apart" in caplog.text
    assert capfd.readouterr().out == ""


def test_a_bump_inside_of_a_stack_is_logged(caplog):
    """All neighbours are compared, not the first two alone."""
    photo = photograph()
    stack = [levels(x) for x in slope(photo[20:320, 50:400], 3)]
    bumped = [levels(x) for x in slope(photo[26:326, 62:412], 3)]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        pipeline.fuse(stack, "lp")
        assert not caplog.records
        pipeline.fuse([*stack[:2], bumped[2]], "lp")
    assert "image 2 and image 3 seem 13." in caplog.text and len(caplog.records) == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        pipeline.fuse([stack[0], bumped[1], stack[2]], "lp")
    assert "(and 1 more" in caplog.text


def test_a_transparent_frame_is_left_out_by_that_name(tmp_path, caplog):
    stack = [levels(x) for x in slope(photograph()[20:170, 50:250], 3)]
    for i, pixels in enumerate(stack):
        images.write(tmp_path / f"{i}.png", pixels, np.zeros(pixels.shape[:2], np.uint8) if i == 1 else None)
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        result = pipeline.fuse(sorted(tmp_path.iterdir()), "lp")
    assert "1.png is left out: it is transparent throughout" in caplog.text
    expected = pipeline.fuse([stack[0], stack[2]], "lp", check_register=False)
    np.testing.assert_array_equal(result.image, expected.image)
    assert result.alpha is None


def test_progress_is_reported_stage_by_stage(files):
    stages = []

    class Stage:
        def __init__(self, *stage):
            self.stage, self.count = stage, 0

        def __enter__(self):
            return self.track

        def track(self, items):
            for item in items:
                yield item
                self.count += 1

        def __exit__(self, *_):
            stages.append((*self.stage, self.count))

    photo = cv2.resize(photograph(), (128, 100))
    pipeline.fuse([photo] * 3, align="translation", tile=64, progress=Stage, **files)
    assert stages == [
        ("looking", 3, "image", 3),
        ("aligning", 2, "image", 2),
        ("fusing", 8, "tile", 8),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "none"}, "no method 'none'"),
        ({"refine": "best"}, "unknown refine 'best'"),
        ({"options": {"levels": 3}}, "two_stream has no options"),
        ({"net": "x"}, "net and weights go together"),
        ({"net": "x", "weights": "y", "model": "z"}, "either a model"),
        ({"model": "none"}, "no model 'none'"),
        ({"method": "lp", "align": "sideways"}, "unknown motion 'sideways'"),
        ({"method": "lp", "options": {"level": 3}}, "lp has no option 'level'; it has levels"),
        (
            {"method": "lp", "refine": "select", "model": "x"},
            "model, refine: for two_stream alone, not for lp",
        ),
        ({"method": "lp", "gpu": 0}, "gpu: for two_stream alone, not for lp"),
        ({"method": "lp", "reference": 0}, "reference: nothing is aligned without `align`"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        pipeline.fuse([image(0), image(1)], **arguments)


def test_wrong_sources_are_refused():
    with pytest.raises(ValueError, match="image 2 is 60x45 8 bit colour, image 1 is 61x45 8 bit colour"):
        pipeline.fuse([image(0), image(1, (45, 60, 3))], "lp")
    for sources in ([], [image(0)]):
        with pytest.raises(ValueError, match="two or more are needed"):
            pipeline.fuse(sources, "lp")
    with pytest.raises(ValueError, match="dtype float64"):
        pipeline.fuse([np.zeros((9, 9))] * 2, "lp")
    for path in ("near.png", Path("near.png")):
        with pytest.raises(ValueError, match=r"'near\.png' is one path; give a list of two or more"):
            pipeline.fuse(path, "lp")
    with pytest.raises(IndexError, match="no image 2: there are 2"):
        pipeline.fuse([image(0), image(1)], "lp", align="affine", reference=2)


@pytest.mark.parametrize("count", [2, 4])
def test_few_bits_are_fused_as_well_as_all(count):
    """8 and 12 bits in 16: within 1 dB of 16 bits. 8-bit photographs that are dark: from all frames."""
    photo = photograph()[100:300, 150:400].mean(2)
    noise = np.random.default_rng(0).normal(0, 0.004, (count, *photo.shape))
    results = {}
    for bits in (8, 12, 16):
        top = 2**bits - 1
        stack = [
            levels(np.clip(x / 255 + n, 0, 1) * top, np.uint16) for x, n in zip(slope(photo, count), noise)
        ]
        result = pipeline.fuse(stack, model=models.FAST, check_register=False)
        results[bits] = psnr(photo / 255 * top, result.image, top)
        assert result.image.max() <= top
        assert count == 2 or len(np.unique(result.choice)) == count
    assert min(results.values()) > results[16] - 1
    dark = [levels(x * 0.06) for x in slope(photo, count)]
    for model in (None, "translation"):
        result = pipeline.fuse(dark, model=models.FAST, refine="select", align=model)
        assert len(np.unique(result.choice)) == count
        assert set(np.unique(result.image)) <= set(range(16))


@pytest.mark.parametrize(
    ("top", "dtype"), [(2**10 - 1, np.uint16), (2**14 - 1, np.uint16), (0.25 * 255, np.uint8)]
)
def test_part_of_the_range_serves_as_well_as_all(top, dtype):
    """10 and 14 bits in 16, and photographs of a quarter of the light: every frame serves."""
    photo = photograph()[100:200, 150:300].mean(2) / 255
    results = []
    for peak in (top, np.iinfo(dtype).max):
        stack = [levels(x * peak, dtype) for x in slope(photo, 3)]
        result = pipeline.fuse(stack, model=models.FAST, check_register=False)
        results.append(psnr(photo * peak, result.image, peak))
        assert len(np.unique(result.choice)) == 3 and result.image.max() <= np.ceil(peak)
    assert results[0] > results[1] - 1


@pytest.mark.parametrize("gain", [1, 0.12, 0.06])
def test_dark_stacks_lose_what_rounding_loses(gain):
    """30 and 15 levels of 8 bits: near the best rounded frame at each pixel. `pytest -s` prints both."""
    photo = photograph()[100:220, 150:310].astype(np.float32) * gain
    stack = [levels(x) for x in slope(photo, 3)]
    errors = np.stack([((x - photo) ** 2).mean(2) for x in stack]).argmin(0)
    oracle = psnr(photo, np.choose(errors[..., None], stack), 255 * gain)
    result = pipeline.fuse(stack, model=models.FAST, check_register=False)
    found = psnr(photo, result.image, 255 * gain)
    print(f"{255 * gain:.0f} levels: {found:.2f} dB, the best frame at each pixel {oracle:.2f}")
    assert found > oracle - 0.6


@pytest.mark.parametrize("method", registry.METHODS)
def test_an_image_of_few_bits_fused_with_itself_stays(method):
    dark = levels(photograph()[100:180, 150:250] * 0.1)
    fused = pipeline.fuse([dark, dark], method, check_register=False).image
    assert np.abs(fused.astype(int) - dark).max() <= 1


def with_hot_pixels(values, i):
    image = levels(values * 4095, np.uint16)
    image[20 + i, 30] = 65535  # in each frame elsewhere
    image[70:75, 40:60] = 65535  # a scale bar
    return image


RANGES = {
    "hot": (with_hot_pixels, 4095),
    "offset": (lambda values, _: levels(30000 + values * 2040, np.uint16), 2040),
    "bright": (lambda values, _: levels(150 + values * 60), 60),
}


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize(
    ("count", "options"), [(2, {}), (2, {"refine": "select"}), (3, {}), (3, {"align": "translation"})]
)
def test_outliers_and_offsets_are_fused_as_well(kind, count, options):
    """Within 1 dB of levels that use all of their type. Outliers come back as they are."""
    photo = photograph()[100:200, 150:300].mean(2) / 255
    make, peak = RANGES[kind]
    settings = {"model": models.FAST, "check_register": False, "exposure": False, "crop": False, **options}
    frames = [x / 255 for x in slope(photo * 255, count)]
    stack = [make(x, i) for i, x in enumerate(frames)]
    result = pipeline.fuse(stack, **settings)
    expected = pipeline.fuse([levels(x * 65535, np.uint16) for x in frames], **settings)
    good = np.ones(photo.shape, bool)
    if kind == "hot":
        assert (result.image[70:75, 40:60] > 60000).all()
        good[16:27, 26:35] = good[66:79, 36:64] = False
    truth = make(photo, 0)
    assert (
        psnr(truth[good], result.image[good], peak) > psnr(photo[good], expected.image[good] / 65535, 1) - 1
    )
    if result.choice is not None and not options.get("align"):
        assert len(np.unique(result.choice)) == count


@pytest.mark.parametrize("method", [name for name in registry.METHODS if name != "srcnn"])
@pytest.mark.parametrize("kind", RANGES)
def test_outliers_fused_with_themselves_stay(method, kind):
    image = RANGES[kind][0](photograph()[100:180, 150:230].mean(2) / 255, 0)
    settings = {"model": models.FAST} if method == "two_stream" else {}
    fused = pipeline.fuse([image, image], method, check_register=False, **settings).image
    is_network = method == "two_stream"  # it is off by 3 of 255 levels where levels use all of their type
    near = np.full(image.shape, 1 + RANGES[kind][1] // 50 if is_network else 1)
    around = cv2.dilate((image > 60000).astype(np.uint8), np.ones((9, 9))) > 0
    near[around] = 65535 // 50 if is_network else 1
    assert (np.abs(fused.astype(int) - image) <= near).all()


def test_matched_brightness_keeps_an_offset_and_outliers():
    photo = photograph()[100:200, 150:300].mean(2) / 255
    image = with_hot_pixels(photo, 0)
    dark = levels(image * 0.9, np.uint16)
    aligned = pipeline.align_frames([image, dark], "translation", reference=0).frames
    ratio = aligned[1][:60, 60:] / aligned[0][:60, 60:].astype(float)
    assert np.median(ratio) == pytest.approx(1, abs=0.005)
    assert aligned[0].max() == 65535


def test_blank_frames_are_never_chosen(caplog):
    good = [levels(frame) for frame in slope(photograph()[100:200, 150:250], 2)]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        result = pipeline.fuse([good[0], *[good[0] * 0] * 3, good[1]], "lp")
    assert [out.source for out in result.left_out] == [1, 2, 3] and caplog.text.count("is left out") == 3
    np.testing.assert_array_equal(result.image, pipeline.fuse(good, "lp").image)
    with pytest.raises(ValueError, match="image 2: the only image that shows something"):
        pipeline.fuse([good[0] * 0, good[0], good[0] * 0], "lp")


@pytest.mark.parametrize("count", [2, 4])
def test_another_white_balance_gets_a_warning(count, caplog):
    """Unless alignment matches it."""
    frames = [levels(frame * 0.7) for frame in slope(photograph()[::4, ::4], count, 1.0)]
    frames[1] = levels(frames[1] * [1.0, 1.0, 0.6])
    for motion, exposure, warns in (
        (None, True, True),
        ("translation", False, True),
        ("translation", True, False),
    ):
        caplog.clear()
        pipeline.fuse(frames, "lp", align=motion, exposure=exposure)
        assert ("of another white balance: blue is 0." in caplog.text) == warns


def test_a_doubtful_frame_is_fused_with_a_warning(caplog):
    frames = [levels(frame * 0.6) for frame in slope(photograph()[100:200, 150:250], 4)]
    frames[1] = levels(frames[1] * 1.4)
    frames[2][75:] = round(frames[2][75:].mean())
    for matched, texts in (
        (False, ("image 2 is fused, though", "image 3 is fused, though it is of one level")),
        (True, ("image 3",)),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "two_stream_fusion"):
            aligned = pipeline.align_frames(frames, "translation" if matched else None)
        assert aligned.left_out == () and caplog.text.count("though") == len(texts)
        assert all(text in caplog.text for text in texts)


@pytest.mark.parametrize("motion", [None, "translation"])
def test_a_bad_frame_is_left_out_with_a_warning(caplog, motion):
    photo = photograph()[100:300, 150:400]
    good = [levels(frame) for frame in slope(photo, 4)]
    bad = [*good[:2], good[1] // 3, *good[2:]]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        result = pipeline.fuse(bad, "lp", align=motion)
        assert "image 3 is left out: it is 0.34 times as bright as the others" in caplog.text
    np.testing.assert_array_equal(result.image, pipeline.fuse(good, "lp", align=motion).image)
    assert [(out.source, out.name) for out in result.left_out] == [(2, "image 3")]
    assert result.aligned.order == [0, 1, 3, 4] and len(result.aligned.names) == 5
    if motion:
        assert result.transforms[2] is None and result.transforms[3] is not None
    all_frames = pipeline.fuse(bad, "lp", align=motion, keep_all=True)
    assert all_frames.left_out == () and len(all_frames.aligned.frames) == 5
    assert all_frames.aligned.reference != 2  # whatever the order
    with pytest.raises(ValueError, match=r"image 3: cannot be the reference: it is 0\.34 times"):
        pipeline.align_frames(bad, reference=2)
    assert pipeline.align_frames(bad, "translation", reference=2, keep_all=True).reference == 2


@pytest.mark.parametrize("places", [(1, 3), (0, 1, 2)])
def test_several_noisy_frames_are_named(caplog, places):
    frames = [levels(x) for x in slope(photograph()[::3, ::3], 5, 4.0)]
    for i in places:
        frames[i] = levels(frames[i] + np.random.default_rng(i).normal(0, 25, frames[i].shape))
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        pipeline.align_frames(frames, None)
    for i in range(5):
        named = [x.getMessage() for x in caplog.records if x.getMessage().startswith(f"image {i + 1} is")]
        assert any("far noisier than the others" in text for text in named) == (i in places)


def test_of_a_noisy_pair_the_noise_is_said(caplog):
    first, second = (levels(x) for x in slope(photograph()[::3, ::3], 2, 4.0))
    second = levels(second + np.random.default_rng(0).normal(0, 25, second.shape))
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        pipeline.fuse([first, second], method="lp")
        pipeline.fuse([second, first], method="lp")
    assert "image 2 is far noisier than image 1" in caplog.text
    assert "image 1 is far noisier than image 2" in caplog.text


def test_of_a_pair_none_is_left_out(caplog):
    photo = photograph()[100:300, 150:400]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        assert pipeline.fuse([photo, photo // 3], "lp").left_out == ()
    assert "image 2 is 0.34 times as bright, compared to image 1" in caplog.text


def test_the_given_order_can_be_kept():
    shuffled = [receding(5)[i] for i in (3, 0, 4, 2, 1)]
    aligned = pipeline.fuse(shuffled, model=models.FAST, check_register=False).aligned
    given_order = pipeline.fuse(shuffled, model=models.FAST, keep_order=True, check_register=False).aligned
    assert aligned.order in ([1, 4, 3, 0, 2], [2, 0, 3, 4, 1]) and given_order.order == [0, 1, 2, 3, 4]


def test_the_order_of_a_shaken_stack_is_not_sure(caplog):
    photo = photograph()[::2, ::2]
    steady = [levels(x)[8:-8, 8:-8] for x in slope(photo, 5, 3.0)]
    shaken = [levels(x)[8 + i : i - 8, 8 - i : -8 - i] for i, x in enumerate(slope(photo, 5, 3.0), -2)]
    for stack, warned in ((steady, False), (shaken, True)):
        caplog.clear()
        shuffled = [stack[i] for i in (3, 0, 4, 2, 1)]
        with caplog.at_level(logging.WARNING, "two_stream_fusion"):
            assert pipeline.align_frames(shuffled, None).order in ([1, 4, 3, 0, 2], [2, 0, 3, 4, 1])
            assert pipeline.align_frames(shuffled, None, in_order=False).order == [0, 1, 2, 3, 4]
        assert ("the order of focus may be wrong; --keep-order" in caplog.text) == warned


def test_a_black_frame_and_a_bumped_one_are_left_out(caplog):
    """The result is that of the stack without them; keep_all fuses them too."""
    good = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 3.0)]
    bumped = cv2.blur(good[4], (13, 1))  # the camera moved along the rows
    bad = [good[0], good[1] * 0, *good[2:4], bumped, *good[5:]]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        result = pipeline.fuse(bad, "lp")
    assert [(out.source, out.reason.split()[-1]) for out in result.left_out] == [(1, "others"), (4, "motion")]
    assert "image 5 is left out: it is blurred by motion; --keep-all fuses it too" in caplog.text
    rest = [bad[i] for i in (0, 2, 3, 5, 6)]
    np.testing.assert_array_equal(result.image, pipeline.fuse(rest, "lp").image)
    assert pipeline.fuse(bad, "lp", keep_all=True, check_register=False).left_out == ()


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_black_frames_do_not_hide_a_bump(count):
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 5, 3.0)]
    frames[2] = cv2.blur(frames[2], (13, 1))
    result = pipeline.fuse([*frames, *[frames[0] * 0] * count], "lp")
    assert [out.source for out in result.left_out] == [2, *range(5, 5 + count)]


def test_the_frame_at_a_bump_is_named(caplog):
    """A camera that is moved in the middle of a stack, by 9 and 6 pixels."""
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 6)]
    shift = np.array([[1, 0, -9], [0, 1, -6], [0, 0, 1]])
    bumped = [*frames[:3], *(align.warp(frame, shift) for frame in frames[3:])]
    with caplog.at_level(logging.WARNING, "two_stream_fusion"):
        assert pipeline.fuse(bumped, "lp").left_out == ()
    assert "image 3 and image 4 seem 10.8 pixels apart" in caplog.text
