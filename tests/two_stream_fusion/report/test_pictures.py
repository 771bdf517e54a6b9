import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from two_stream_fusion.report import pictures
from two_stream_fusion.report.pictures import Shown


def decode(uri):
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("shape", [(30, 2000), (3000, 20, 3), (20, 1601, 4), (5, 7), (4000, 1)])
def test_no_side_is_longer_than_the_bound(shape):
    small = pictures.shrink(np.full(shape, 65535, np.uint16))
    assert max(small.shape[:2]) <= pictures.MAX_SIDE and min(small.shape[:2]) >= 1
    assert small.dtype == np.uint8 and small.min() == 255 and small.shape[2:] == shape[2:]


def test_a_small_image_stays_as_it_is(triple):
    assert np.array_equal(pictures.shrink(triple[0]), triple[0])


def test_maps_get_no_new_colours():
    labels = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8) * 200
    assert set(np.unique(pictures.shrink(labels, True, 20))) == {0, 200}
    assert len(np.unique(pictures.shrink(labels, False, 20))) > 2
    colours = pictures.choice_colours(2)[labels // 200]
    (uri,) = pictures.encode_all([Shown(colours, is_flat=True)])
    assert np.array_equal(np.asarray(decode(uri).convert("RGB")), colours)


@pytest.mark.parametrize("count", [1, 2, 3, 24, 200])
def test_frames_have_colours_of_their_own(count):
    colours = pictures.choice_colours(count)
    assert colours.shape == (count, 3) and len(np.unique(colours, axis=0)) == count


def test_differences_are_black_where_equal(triple):
    a, b, _ = triple
    picture = pictures.difference_picture(a, b)
    assert picture.shape == (*a.shape, 3)
    black = pictures.difference_picture(a, a)[0, 0]
    assert np.array_equal((picture == black).all(axis=2)[a == b], np.ones((a == b).sum(), bool))
    deep = pictures.difference_picture(a.astype(np.uint16) * 257, b.astype(np.uint16) * 257)
    assert np.array_equal(deep, picture)
    colour = pictures.difference_picture(np.dstack([a, a, b]), np.dstack([a, a, a]))
    assert np.array_equal(colour, pictures.difference_picture(b, a))


def test_pictures_fit_the_bound():
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    total = sum(map(len, pictures.encode_all([Shown(noise)] * 3)))
    for bound in (total, total - 1, total // 4, total // 30):
        uris = pictures.encode_all([Shown(noise)] * 3, bound)
        assert sum(map(len, uris)) <= bound
        assert decode(uris[0]).size[0] == decode(uris[0]).size[1] <= 120
    with pytest.raises(ValueError, match="3 pictures are too many for a page of 0 MB"):
        pictures.encode_all([Shown(noise)] * 3, 100)


def test_profiles_and_alpha_are_kept(triple):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colour, alpha = np.dstack(triple), np.dstack([*triple, triple[0]])
    uris = pictures.encode_all([Shown(colour, icc=icc), Shown(alpha, icc=icc), Shown(triple[0], icc=icc)])
    decoded = [decode(uri) for uri in uris]
    assert [image.info.get("icc_profile") for image in decoded] == [icc, icc, None]
    assert [image.mode for image in decoded] == ["RGB", "RGBA", "RGB"]
