"""The metrics of other benchmarks: by hand, against plain loops and the public toolboxes, and 0/0."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.two_stream_fusion.metrics import plain_further as plain
from two_stream_fusion import metrics
from two_stream_fusion.metrics import (
    METRICS,
    REGISTRY,
    cache,
    feature_information,
    phase_congruency,
    preprocess,
)

FURTHER = [name for name in REGISTRY if name not in METRICS]
# What is 1 (VIF: 2) for A = B = F.
IDENTITIES = {
    "NMI": 2,
    "FMI": 1,
    "FMI_pixel": 1,
    "FMI_dct": 1,
    "Qcb": 1,
    "Qc": 1,
    "Qy": 1,
    "VIF": 2,
    "VIFF": 1,
}
IDENTITIES.update({"SSIM_sources": 1, "Qc_2012": 1, "CE": 0, "Qcv": 0})


def metric(name, *images):
    return REGISTRY[name].function(*images)


def image(*rows):
    return np.array(rows, np.uint8)


def noise(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_registry_names_every_metric_once():
    assert [name for name, row in REGISTRY.items() if row.group == "paper"] == list(METRICS)
    assert [name for name in REGISTRY if not metrics.is_higher_better(name)] == ["CE", "Qcv"]
    assert metrics.is_higher_better("PSNR")  # a column that is no fusion metric
    assert all(row.title and row.range and row.function.__doc__ for row in REGISTRY.values())
    assert metrics.select_names("paper") == list(METRICS)
    assert metrics.select_names("all") == [name for name in REGISTRY if name not in metrics.VARIANTS]
    assert metrics.select_names("SF,paper,SF,Qe_edge") == ["SF", *METRICS, "Qe_edge"]
    for text in ("", "ie", "SF,,IE", "all,XX"):
        with pytest.raises(ValueError, match="is not one of paper, all, IE"):
            metrics.select_names(text)


def test_single_images_by_hand():
    x = image([0, 0, 6], [0, 8, 6])
    # differences along x: 0, 6, 8, -2; along y: 0, 8, 0
    assert metric("SF", x, x, x) == pytest.approx(math.sqrt((36 + 64 + 4) / 6 + 64 / 6))
    assert metric("SF_mean", x, x, x) == pytest.approx(math.sqrt(104 / 4 + 64 / 3))
    assert metric("SD", x, x, x) == pytest.approx(math.sqrt((36 + 64 + 36) / 6 - (20 / 6) ** 2))
    # (dx, dy): (0, 0) (3, 8) (6, 0) / (8, 0) (3, 8) (-2, 0)
    expected = sum(math.sqrt((dx**2 + dy**2) / 2) for dx, dy in ((3, 8), (6, 0), (8, 0), (3, 8), (-2, 0)))
    assert metric("AG", x, x, x) == pytest.approx(expected / 2)
    ramp = image(*[[0, 10, 20, 30]] * 3)
    assert metric("EI", ramp, ramp, ramp) == (40 + 80 + 80 + 40) / 4
    flat = image(*[[7] * 4] * 4)
    assert [metric(name, flat, flat, flat) for name in ("SF", "SD", "AG", "EI", "EN")] == [0] * 5


def test_histograms_by_hand():
    a, fused = image([0, 0, 0, 9]), image([0, 9, 9, 9])
    # 3/4 log2 3 + 1/4 log2(1/3)
    assert metric("CE", a, a, fused) == pytest.approx(0.5 * math.log2(3))
    assert metric("CE", a, fused, fused) == pytest.approx(0.25 * math.log2(3))
    assert metric("CE", a, a, image([0, 5, 5, 5])) == pytest.approx(0.75 * math.log2(3))  # no 9: left out
    # Independent of one another: NCC are 0, three eigenvalues of 1
    x, y = image([0, 0, 1, 1], [0, 0, 1, 1]), image([0, 1, 0, 1], [0, 1, 0, 1])
    z = image([0, 0, 0, 0], [1, 1, 1, 1])
    assert metric("Qncie", x, y, z) == pytest.approx(1 - math.log(3, 256))
    # All levels once: NCC of equal images is 1, eigenvalues 3, 0, 0
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert metric("Qncie", every, every, every) == pytest.approx(1)
    q = 0.43137
    shared = (1 - 2 * 0.5**q / 0.25 ** (q - 1)) / (1 - q)  # of x with itself; none with y
    assert metric("TE", x, y, x) == pytest.approx(shared / 2)
    assert metric("TE_Cvejic", x, y, x) == pytest.approx((1 - 2 * 0.5**1.85 / 0.25**0.85) / (1 - 1.85))
    assert math.isnan(metric("TE", x * 0, x * 0, x * 0))


def test_differences_by_hand():
    a, b = image([0, 10, 20, 30]), image([40, 0, 40, 0])
    fused = image([20, 5, 30, 15])  # the mean
    # F - B = (A - B) / 2, F - A = (B - A) / 2: with r = corr(A, B) by their deviations
    da, db = (x - x.mean() for x in (a, b))
    d = (da - db) / 2
    expected = sum(
        (s * d * x).sum() / math.sqrt((d * d).sum() * (x * x).sum()) for s, x in ((1, da), (-1, db))
    )
    assert metric("SCD", a, b, fused) == pytest.approx(expected)
    assert math.isnan(metric("SCD", a, b, a))
    error = (((fused - 1.0 * a) ** 2).mean() + ((fused - 1.0 * b) ** 2).mean()) / 2
    assert metric("PSNR_sources", a, b, fused) == pytest.approx(10 * math.log10(255**2 / error))
    assert metric("PSNR_sources", a, a, a) == math.inf
    assert metric("PSNR_VIFB", a, a, b) == pytest.approx(
        20 * math.log10(255 / math.sqrt(math.sqrt(((a - 1.0 * b) ** 2).sum()) / 4))
    )


def test_visible_differences_by_hand():
    # Edges of constant sources are at the border; one level more everywhere has the frequency 0.
    a = np.full((16, 16), 100, np.uint8)
    assert metric("Qcv", a, a, a + 1) == pytest.approx((2.6 * 0.0192) ** 2)


@pytest.mark.parametrize("name", ["Qc", "Qc_2012", "Qy"])
def test_flat_windows_are_exact(name):
    a, b = np.full((9, 9), 100, np.uint8), np.full((9, 9), 50, np.uint8)
    assert metric(name, a, a, b) == pytest.approx(2 * 100 * 50 / (100**2 + 50**2), abs=1e-12)
    assert metric(name, a, noise(9, 9, 0), a) == pytest.approx(0.5 if name == "Qc" else 1, abs=0.5)


PLAIN = {
    "CE": plain.ce,
    "TE": plain.te,
    "Qncie": plain.qncie,
    "SF": lambda a, b, f: plain.sf(f),
    "AG": lambda a, b, f: plain.ag(f),
    "EI": lambda a, b, f: plain.ei(f),
    "SCD": plain.scd,
    "SSIM_sources": plain.ssim_sources,
    "Qcb": plain.qcb,
    "Qcv": plain.qcv,
    "Qc": plain.qc,
    "Qc_2012": plain.qc_2012,
    "Qy": plain.qy,
    "VIF": plain.vif,
    "VIFF": plain.viff,
    "MEF_SSIM": plain.mef_ssim,
    "FMI_pixel": lambda *x: plain.fmi(*(y.astype(float) for y in x)),
    "FMI": lambda *x: plain.fmi(*(np.gradient(y.astype(float), axis=1) for y in x)),
}


def parts(shape=(43, 46)):
    """A, B, F: of a texture whose halves are blurred; F is the mean, rounded."""
    sharp = noise(*shape, 5).astype(float)
    sharp = np.cumsum(sharp - sharp.mean(), 1)
    sharp = (sharp - sharp.min()) / (sharp.max() - sharp.min()) * 255
    soft = sum(np.roll(sharp, k, 1) for k in range(-2, 3)) / 5
    left = np.arange(shape[1]) < shape[1] // 2
    a, b = np.where(left, sharp, soft), np.where(left, soft, sharp)
    return [np.rint(x).astype(np.uint8) for x in (a, b, (a + 2 * b) / 3)]


@pytest.mark.parametrize("name", PLAIN)
def test_plain_loops(name):
    images = parts((12, 13)) if name.startswith("FMI") else parts()
    assert metric(name, *images) == pytest.approx(PLAIN[name](*images), rel=1e-9)


# What the toolboxes of eval/CALIBRATION.md give for conftest.pictures(), under GNU Octave 7.3.0; of SSIM half
# the sum. FMI is of a part.
TOOLBOXES = {
    "CE": 0.050031548171036014,
    "EI": 154.1110146732822,
    "EN": 7.2460812206589065,
    "AG": 15.127492543334661,
    "SF": 42.542463467888957,
    "SD": 68.828086735464964,
    "PSNR_VIFB": 52.519152088185699,
    "SSIM_sources": 1.6161793027963607 / 2,
    "Qcb": 0.67975543721589204,
    "Qcv": 715.99463090860729,
    "NMI": 1.0856276907324547,
    "TE_2012": 0.46529999319481674,
    "Qncie": 0.84219803031361862,
    "Qp": 0.75387334946733509,
    "Qy": 0.91022760377921219,
    "SF_mean": 42.79532592659703,
    "VIF": 0.59056043152183946,
    "SCD": 0.85070302038876155,
    "PSNR_sources": 65.726805425511216 - 20 * math.log10(255),
    "VIFF": 0.56424771465594237,
    "MEF_SSIM": 0.94478749718309263,
    "MEF_MS_SSIM": 0.9731830310011107,
}


@pytest.mark.parametrize("name", TOOLBOXES)
def test_toolboxes(triple, name):
    # Flat windows have a residue of rounding in the toolbox of MEF_SSIM.
    tolerance = 1e-7 if name.startswith("MEF") else 1e-11
    assert metric(name, *triple) == pytest.approx(TOOLBOXES[name], rel=tolerance)


def test_fmi_of_the_toolbox(triple):
    part = [x[16:64, 24:72] for x in triple]
    assert metric("FMI_pixel", *part) == pytest.approx(0.76243254429355278, abs=1e-11)


def test_fmi_of_flat_and_single_pixels():
    flat = np.full((3, 3), 9, np.uint8)
    spot, other = flat.copy(), flat.copy()
    spot[1, 1] += 1
    other[0, 2] += 5
    for images, expected in (((flat, flat, flat + 1), 1), ((spot, spot, flat), 0), ((spot, spot, other), 0)):
        assert metric("FMI_pixel", *images) == pytest.approx(expected, abs=1e-12)
        assert metric("FMI_pixel", *images) == pytest.approx(plain.fmi(*(1.0 * x for x in images)), abs=1e-12)


@settings(max_examples=4)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4, 256]), st.booleans())
def test_ranges_and_identity(seed, levels, same):
    rng = np.random.default_rng(seed)
    a, b, fused = (rng.integers(0, levels, (41, 43)).astype(np.uint8) * (255 // levels) for _ in range(3))
    if same:
        b = fused = a
    scores = metrics.evaluate(a, b, fused, columns=FURTHER)
    for name in ("Qc", "Qc_2012", "Qy", "SSIM_sources", "MEF_SSIM"):
        assert abs(scores[name]) <= 1 + 1e-6, name
    for name in ("FMI", "FMI_pixel", "FMI_dct", "Qcb"):
        assert -1e-9 <= scores[name] <= 1 + 1e-9, name
    assert 1 - math.log(3, 256) - 1e-12 <= scores["Qncie"] <= 1 + 1e-12
    for name in ("EI", "AG", "SF", "SD", "VIFF", "Qcv", "VIF"):
        assert math.isnan(scores[name]) or scores[name] >= 0, name
    for name in ("VIF", "MEF_MS_SSIM", "Qp", "FMI", "FMI_pixel", "FMI_dct"):
        expected = pytest.approx(scores[name], abs=1e-11, nan_ok=True)
        assert metric(name, b, a, fused) == expected, name
    if same:
        for name, value in IDENTITIES.items():
            assert math.isnan(scores[name]) or scores[name] == pytest.approx(value, abs=1e-6), name


def test_of_16_bits_what_is_constant_has_no_correlation():
    """Also where a level is no multiple of 257, so that it has no exact value on the scale 0..255."""
    a, b = (np.random.default_rng(seed).integers(0, 60000, (48, 50), dtype=np.uint16) for seed in (0, 1))
    flat = np.full_like(a, 100)
    for triple in ((flat, b, a), (a, flat, b), (a, b, b + 1), (a, b, a + 7)):
        assert math.isnan(metric("SCD", *triple))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_constant_fused_image_keeps_no_phase_congruency(level):
    a, b = noise(64, 64, 0), noise(64, 64, 1)
    assert math.isnan(metric("Qp", a, b, np.full_like(a, level)))


def test_histograms_of_constant_images():
    flat = [np.full((48, 50), level, np.uint8) for level in (10, 20, 15)]
    assert metric("TE_2012", *flat) == pytest.approx(2) and math.isnan(metric("TE_2012", *[flat[0]] * 3))
    assert math.isnan(metric("TE", flat[0], flat[0], noise(48, 50, 0)))
    one_pixel = np.full((48, 50), 50, np.uint8)
    one_pixel[0, 0] = 100
    source = np.full((48, 50), 100, np.uint8)
    assert metric("CE", source, source, one_pixel) == pytest.approx(math.log2(48 * 50))  # p is 1, q 1 / 2400


def test_only_two_sources():
    x = noise(41, 41, 1)
    for name in ("TE", "TE_2012", "Qc", "Qc_2012", "Qy", "SCD"):
        with pytest.raises(ValueError, match="defined for two sources; 3 given"):
            metric(name, x, x, x, x)
    for name in set(FURTHER) - {"TE", "TE_2012", "Qc", "Qc_2012", "Qy", "SCD"}:
        assert isinstance(metric(name, x, x, x, x), float), name


@pytest.mark.parametrize(
    ("name", "side"),
    {"VIF": 41, "VIFF": 41, "MEF_MS_SSIM": 41, "MEF_SSIM": 11, "Qy": 7, "FMI": 3, "AG": 2}.items(),
)
def test_smallest_images(name, side):
    a, b, fused = (noise(side, side + 3, seed) for seed in range(3))
    assert math.isfinite(metric(name, a, b, fused))
    with pytest.raises(ValueError, match=rf"\({side - 1}, "):
        metric(name, a[1:], b[1:], fused[1:])


def test_shared_values_are_those_of_the_metrics(triple):
    names = ["Qe", "EN", "SF", "NMI", "VIFF", "Qc", "VIF", "Qy"]
    scores = metrics.evaluate(*triple, columns=names)
    assert list(scores) == names
    assert scores == pytest.approx({name: metric(name, *triple) for name in names}, abs=1e-15)


def test_chunks_do_not_show(triple, monkeypatch):
    names = ("FMI", "FMI_dct", "Qp")
    before = [metric(name, *triple) for name in names]
    monkeypatch.setattr(cache, "LARGEST", 0)
    monkeypatch.setattr(feature_information, "_CHUNK", 37)
    monkeypatch.setattr(phase_congruency, "_BLOCK", 37)
    assert [metric(name, *triple) for name in names] == pytest.approx(before, abs=1e-13)


def test_filters_are_even_and_odd_parts():
    bank = phase_congruency._filter_bank(6, 7)
    for oriented in bank.orientations:
        # Real responses to a real image: none at frequency 0, which has no odd part.
        assert oriented.odd[0, 0] == 0 and (np.abs(oriented.odd) <= oriented.even).all()


def test_gradients_of_16_bits_are_exactly_flat():
    flat, steep = (np.tile(np.arange(0, 40 * step, step, np.uint16), (9, 1)) for step in (3, 5))
    assert metric("FMI", flat, flat, steep) == pytest.approx(1, abs=1e-13)


def test_stretch_and_windows():
    x = image([10, 20, 40], [10, 25, 40], [10, 10, 10])
    assert preprocess.stretch(x).tolist() == [[0, 85, 255], [0, 128, 255], [0, 0, 0]]  # 127.5 is rounded up
    assert preprocess.stretch(x * 0 + 7).tolist() == [[7] * 3] * 3
    assert preprocess.levels(np.array([[257, 514]], np.uint16)).tolist() == [[1, 2]]
    assert preprocess.is_flat(image([1, 1, 2], [1, 1, 2]).astype(float), 2).tolist() == [[True, False]]
