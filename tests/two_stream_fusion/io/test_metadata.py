import struct
import time

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from two_stream_fusion.io import icc, images, jpeg, metadata
from two_stream_fusion.io.metadata import Metadata, Resolution

ENDINGS = (".png", ".tif", ".jpg", ".webp")
PIXELS = np.random.default_rng(0).integers(0, 255, (13, 17, 3), np.uint8)


def packet(inside="", attributes=""):
    """A packet of XMP with Lightroom's namespaces."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f' xmlns:exif="http://ns.adobe.com/exif/1.0/" xmp:Rating="4"{attributes}>{inside}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize("ending", ENDINGS)
def test_xmp_and_resolution_come_back(tmp_path, ending):
    written = Metadata(b"", b"", packet(), Resolution(300, 150))
    images.write(tmp_path / f"x{ending}", PIXELS, metadata=written)
    loaded = images.load(tmp_path / f"x{ending}").metadata
    assert loaded.xmp == packet()
    per_inch = loaded.resolution.per("inch")
    assert (round(per_inch.x, 1), round(per_inch.y, 1)) == (300, 150)


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_readers_find_xmp_and_resolution(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    images.write(path, PIXELS, metadata=Metadata(b"", b"", packet(), Resolution(300, 150)))
    if ending == ".tif":
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            assert tags[700].value == packet() and tags[296].value == 2
            assert [tags[tag].value for tag in (282, 283)] == [(300, 1), (150, 1)]
        return
    with Image.open(path) as file:
        file.load()
        assert packet() in path.read_bytes() and file.info["xmp"].strip() == packet()
        if ending == ".webp":
            assert [file.getexif()[tag] for tag in (282, 283, 296)] == [300, 150, 2]
        else:
            assert [round(x) for x in file.info["dpi"]] == [300, 150]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("unit", ["µm", "nm", "mm", "cm"])
def test_calibrations_of_microscopes_fit_each_format(tmp_path, ending, unit):
    """Dots an inch of a microscope leave the fields of JFIF."""
    written = Resolution(9.25, 9.25, unit)
    images.write(tmp_path / f"x{ending}", PIXELS, metadata=Metadata(resolution=written))
    loaded = images.load(tmp_path / f"x{ending}").metadata.resolution
    if unit == "nm" and ending == ".png":
        assert loaded is None  # 9.25e9 a metre: more than pHYs holds
        return
    assert loaded.per(unit).x == pytest.approx(9.25, rel=0.03 if ending == ".jpg" else 1e-4)
    if ending == ".tif":
        assert loaded.unit == unit


@pytest.mark.parametrize("unit", ["micron", "\\u00B5m", "um", "mm"])
def test_calibrations_of_imagej_are_carried_over(tmp_path, unit):
    stack = np.zeros((3, 9, 11), np.uint16)
    options = {"imagej": True, "resolution": (5.5, 4.0), "metadata": {"unit": unit, "axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "x.tif", stack, **options)
    loaded = images.load(tmp_path / "x.tif")
    unit = "mm" if unit == "mm" else "µm"
    assert (
        loaded.metadata.resolution[:2] == pytest.approx((5.5, 4)) and loaded.metadata.resolution.unit == unit
    )
    images.write(tmp_path / "one.tif", loaded.pixels, metadata=loaded.metadata)
    with tifffile.TiffFile(tmp_path / "one.tif") as file:
        assert file.imagej_metadata["unit"] == ("mm" if unit == "mm" else "micron")
        assert file.pages[0].tags[296].value == 1
        assert file.pages[0].tags[282].value[0] / file.pages[0].tags[282].value[1] == pytest.approx(5.5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "one.tif"), loaded.pixels)


def test_calibrations_of_ome_are_carried_over(tmp_path):
    sizes = {
        "PhysicalSizeX": 0.2,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "µm",
    }
    stack = np.zeros((3, 9, 11), np.uint16)
    tifffile.imwrite(tmp_path / "x.ome.tif", stack, ome=True, metadata={"axes": "ZYX", **sizes})
    loaded = images.load(tmp_path / "x.ome.tif").metadata.resolution
    assert (loaded.x, loaded.y, loaded.unit) == (pytest.approx(5), pytest.approx(4), "µm")


@pytest.mark.parametrize("unit", [2, 3])
def test_resolutions_of_tiff_keep_their_unit(tmp_path, unit):
    tifffile.imwrite(
        tmp_path / "x.tif", PIXELS, photometric="rgb", resolution=(118.5, 72), resolutionunit=unit
    )
    loaded = images.load(tmp_path / "x.tif").metadata.resolution
    assert loaded.unit == {2: "inch", 3: "cm"}[unit] and loaded[:2] == pytest.approx((118.5, 72))


def test_a_shape_of_pixels_is_no_resolution(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, photometric="rgb", resolution=(1, 1), resolutionunit=1)
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    for path in tmp_path.iterdir():
        assert images.load(path).metadata.resolution is None


def test_a_description_stays_beside_a_calibration(tmp_path):
    exif = Image.Exif()
    exif[270] = "a fly"
    images.write(
        tmp_path / "x.tif", PIXELS, metadata=Metadata(exif.tobytes(), resolution=Resolution(5, 5, "µm"))
    )
    loaded = images.load(tmp_path / "x.tif").metadata
    assert b"a fly" in loaded.exif and loaded.resolution.per("µm").x == pytest.approx(5)


@pytest.mark.parametrize("where", ["inside", "attributes"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_xmp_says_of_the_old_file_is_dropped(tmp_path, ending, where):
    """Its orientation above all: a reader would turn the upright image again."""
    old = (("tiff:Orientation", "6"), ("exif:PixelXDimension", "17"), ("tiff:ImageLength", "13"))
    inside, attributes = "<xmp:Label>Red</xmp:Label><xmp:Thumbnails>a picture</xmp:Thumbnails>", ""
    for name, value in old:
        if where == "inside":
            inside += f"<{name}>{value}</{name}>"
        else:
            attributes += f' {name}="{value}"'
    xmp, exif = packet(inside, attributes), Image.Exif()
    exif[274] = 6
    path = tmp_path / f"x{ending}"
    image = Image.fromarray(PIXELS)
    if ending == ".tif":
        tags = [(274, "H", 1, 6, True), (700, "B", len(xmp), xmp, True)]
        tifffile.imwrite(path, PIXELS, photometric="rgb", extratags=tags)
    elif ending == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(path, exif=exif, pnginfo=info)
    else:
        image.save(path, exif=exif, lossless=True, **({"xmp": xmp} if ending == ".webp" else {}))
        if ending == ".jpg":
            path.write_bytes(jpeg.with_xmp(path.read_bytes(), xmp))
    loaded = images.load(path)
    assert loaded.pixels.shape == (17, 13, 3)  # turned once
    kept_xmp = loaded.metadata.xmp
    assert b"Orientation" not in kept_xmp and b"Dimension" not in kept_xmp and b"ImageLength" not in kept_xmp
    assert b"Thumbnails" not in kept_xmp and b"Red" in kept_xmp and b'xmp:Rating="4"' in kept_xmp
    images.write(tmp_path / "again.jpg", loaded.pixels, metadata=loaded.metadata)
    assert images.read(tmp_path / "again.jpg").shape == (17, 13, 3)


@pytest.mark.parametrize("xmp", [b"\xff\xfe<\0", b"none", b"", b"<" + b"x" * metadata.MAX_XMP])
def test_xmp_that_is_none_is_dropped(tmp_path, xmp):
    tags = [(700, "B", len(xmp), xmp, True)] if xmp else []
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, photometric="rgb", extratags=tags)
    assert images.load(tmp_path / "x.tif").metadata.xmp == b""


def test_long_xmp_is_left_out_of_jpeg_alone(tmp_path):
    xmp = packet("<xmp:Label>" + "x" * 70_000 + "</xmp:Label>")
    for ending in ENDINGS:
        images.write(tmp_path / f"x{ending}", PIXELS, metadata=Metadata(xmp=xmp))
        loaded_xmp = images.load(tmp_path / f"x{ending}").metadata.xmp
        assert loaded_xmp == (b"" if ending == ".jpg" else xmp)


def test_hostile_xmp_takes_no_time():
    """An expression of quadratic time would take minutes."""
    start = time.process_time()
    for text in ("<tiff:Orientation " * 50_000, "<xmp:Thumbnails>" * 50_000, ' tiff:Orientation="' * 50_000):
        metadata._kept_xmp(packet(text))
    assert time.process_time() - start < 20


@pytest.mark.parametrize("source", ENDINGS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_of_exif_keep_their_bytes(tmp_path, source, ending):
    name = "Zo\u00eb \u592a\u90ce".encode()  # UTF-8; EXIF itself knows ASCII alone
    exif = Image.Exif()
    exif[315], exif[271] = name, "plain"
    images.write(tmp_path / f"a{source}", PIXELS, metadata=Metadata(exif.tobytes()))
    first = images.load(tmp_path / f"a{source}").metadata
    images.write(tmp_path / f"b{ending}", PIXELS, metadata=first)
    kept = Image.Exif()
    kept.load(images.load(tmp_path / f"b{ending}").metadata.exif)
    assert kept[315].encode("latin-1") == name and kept[271] == "plain"
    assert name + b"\0" in (tmp_path / f"b{ending}").read_bytes()


def test_texts_of_the_exposure_keep_their_bytes(tmp_path):
    """The owner of the camera stands in a part of its own, as text (type 2)."""
    owner = b"Zo\xc3\xab"
    entry = struct.pack("<HHII", 0xA430, 2, len(owner) + 1, 44)
    part = struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    head = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    exif = b"Exif\0\0" + head + part + owner + b"\0"
    images.write(tmp_path / "a.jpg", PIXELS, metadata=Metadata(exif))
    loaded = images.load(tmp_path / "a.jpg").metadata.exif
    assert struct.pack(">HHI", 0xA430, 2, len(owner) + 1) in loaded and owner + b"\0" in loaded


def test_xmp_is_found_among_the_segments_of_a_jpeg(tmp_path):
    images.write(tmp_path / "x.jpg", PIXELS, metadata=Metadata(b"Exif\0\0", b"", packet()))
    with Image.open(tmp_path / "x.jpg") as file:
        assert jpeg.find_xmp(file.applist) == packet()
    assert jpeg.find_xmp([("APP1", b"Exif")]) == b""


def parsed(exif):
    parsed = Image.Exif()
    parsed.load(exif)
    return parsed


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
def test_adobe_rgb_of_a_camera_gets_a_profile(tmp_path, ending):
    """TIFF has no place for the camera's note, and programs that show PNG do not read it."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03", 2: b"0100"}}
    for name, pixels in (("a.jpg", PIXELS), ("gray.jpg", PIXELS[..., 0])):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    assert images.load(tmp_path / "gray.jpg").metadata.icc == b""
    loaded = images.load(tmp_path / "a.jpg").metadata
    assert loaded.icc == icc.make_profile("Adobe RGB (1998)", icc.ADOBE_RGB, icc.ADOBE_RGB_GAMMA)
    images.write(tmp_path / f"b{ending}", PIXELS, metadata=loaded)
    assert images.load(tmp_path / f"b{ending}").metadata.icc == loaded.icc
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif, icc_profile=b"its own")
    assert images.load(tmp_path / "a.jpg").metadata.icc == b"its own"
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    assert images.load(tmp_path / "a.png").metadata.icc == loaded.icc
    exif[0x8769] = {0xA001: 1, 0xA005: {1: "R03", 2: b"0100"}}  # converted by a program
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    assert images.load(tmp_path / "a.jpg").metadata.icc == b""


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_adobe_rgb_is_said_as_cameras_say_it(tmp_path, ending):
    """They write no profile, but "R03" in a part of EXIF of its own."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA002: 17, 0xA005: {1: "R03", 2: b"0100", 0x1001: 17}}
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    loaded = images.load(tmp_path / "a.jpg").metadata
    images.write(tmp_path / f"b{ending}", PIXELS, metadata=loaded._replace(resolution=Resolution(9, 9, "µm")))
    with Image.open(tmp_path / f"b{ending}") as file:
        kept = file.getexif()
        assert kept.get_ifd(0xA005) == {1: "R03", 2: b"0100"}
        assert kept.get_ifd(0x8769)[0xA001] == 65535 and 0xA002 not in kept.get_ifd(0x8769)


def test_a_part_of_exif_that_is_no_interop_is_dropped(tmp_path):
    """Its offset leads to the first part of EXIF, whose tags are others."""
    exif = Image.Exif()
    exif[271], exif[0x8769] = "a camera", {0xA001: 65535, 0xA005: 8}
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    kept = parsed(images.load(tmp_path / "a.jpg").metadata.exif)
    assert kept[271] == "a camera" and dict(kept.get_ifd(0x8769)) == {0xA001: 65535}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exif", [b"garbage", b"I", b"II*\0", b"II*\0\x08\0\0", b"II*\0\xff\xff\xff\x7f"])
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_exif_that_is_none_is_dropped(tmp_path, ending, exif):
    """The image was called damaged."""
    Image.fromarray(PIXELS).save(tmp_path / f"x{ending}", exif=b"Exif\0\0" + exif, lossless=True)
    loaded = images.load(tmp_path / f"x{ending}")
    assert loaded.pixels.shape == PIXELS.shape and loaded.metadata.exif == b""


def test_exif_with_values_of_wrong_types_is_dropped():
    """Pillow reads them and cannot write them: here a maker that is a number (type 11)."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIfI", 8, 1, 271, 11, 1, 1.5, 0)
    assert metadata.from_info({"exif": exif}) == (metadata.NO_METADATA, 1)


@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_raises_nothing():
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[271], exif[0x8825] = "a camera", {1: "N", 2: (1.0, 2.0, 3.0)}
    exif[0x8769] = {0x829A: 0.01, 0xA005: {1: "R03"}, 0x927C: b"maker's"}
    whole = exif.tobytes()
    for _ in range(500):
        data = bytearray(whole)
        data[rng.integers(6, len(data))] = rng.integers(256)
        metadata.from_info({"exif": bytes(data)})
        metadata.from_info({"exif": whole[: rng.integers(6, len(whole))]})


@pytest.mark.parametrize("unit", ["inch", "µm"])
@pytest.mark.parametrize(
    ("note", "comment", "kept_tags"),
    [(60_000, 10, {0x927C, 0x9286}), (70_000, 10, {0x9286}), (70_000, 70_000, set()), (70_000, 0, set())],
)
def test_long_exif_is_shortened_in_jpeg_alone(tmp_path, note, comment, kept_tags, unit):
    """A segment of JPEG ends at 64 KB: the maker's note goes first."""
    exif = Image.Exif()
    exif[0x8769] = {0x927C: bytes(note), **({0x9286: bytes(comment)} if comment else {})}
    written = Metadata(exif.tobytes(), resolution=Resolution(5, 5, unit))
    for ending in (".jpg", ".png", ".webp"):
        images.write(tmp_path / f"x{ending}", PIXELS, metadata=written)
        loaded = images.load(tmp_path / f"x{ending}").metadata
        expected = kept_tags if ending == ".jpg" else set(exif[0x8769])
        assert set(parsed(loaded.exif).get_ifd(0x8769)) == expected
        assert loaded.resolution.per(unit).x == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize(("size", "is_kept"), [(65_532, True), (65_534, False)])
def test_exif_up_to_the_limit_of_jpeg_is_whole(tmp_path, size, is_kept):
    exif = Image.Exif()
    exif[0x8769] = {0x927C: bytes(1000)}
    exif[0x8769] = {0x927C: bytes(1000 + size - len(exif.tobytes()))}
    assert len(exif.tobytes()) == size
    images.write(tmp_path / "x.jpg", PIXELS, metadata=Metadata(exif.tobytes()))
    assert bool(images.load(tmp_path / "x.jpg").metadata.exif) == is_kept
