"""WindowData."""

import pytest

from tests.caffe_torch.helpers import assert_golden_batches, source_net

pytest.importorskip("lmdb", reason="pip install lmdb")


@pytest.fixture
def folder(image_folder):
    return image_folder


def test_windows_are_bvlc_caffes(image_batches):
    assert_golden_batches(*image_batches, "windows")


@pytest.mark.parametrize(
    ("layer_type", "settings", "message"),
    [
        (
            "WindowData",
            'window_data_param { source: "windows.txt" batch_size: 1 }',
            "crop_size must be given",
        ),
        (
            "WindowData",
            'window_data_param { source: "list.txt" batch_size: 1 } transform_param { crop_size: 4 }',
            "image 0: an image is `# number path",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, layer_type, settings, message):
    with pytest.raises(ValueError, match=message):
        source_net(layer_type, settings)
