"""caffe.Detector: class scores of windows of images, as R-CNN takes them (arXiv:1311.2524)."""

import numpy as np

from . import io
from .classifier import check_image, image_transformer
from .net import TEST, Net


class Detector(Net):
    """A net that scores windows of images.

    context_pad: pixels, of the net's input, that show what lies around the window; what is outside the
    image shows the mean. Without it the window alone is stretched over the input. The rest: as Classifier.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad) -> None:
        """Choose the `context_pad` of the crops from now on."""
        height, width = self.crop_dims
        if context_pad and not 0 < 2 * context_pad < width <= height:
            raise ValueError(f"context_pad {context_pad} does not fit the net's input, {height} x {width}")
        self.context_pad = context_pad
        if context_pad:
            self.crop_mean = self._mean_image()

    def _mean_image(self):
        """The mean as an image H x W x C in the range and order of channels that images come in."""
        name, t = self.inputs[0], self.transformer
        shape = (*self.crop_dims, self.blobs[name].shape[1])
        mean = np.broadcast_to(np.moveaxis(np.asarray(t.mean.get(name, np.zeros((1, 1, 1)))), 0, -1), shape)
        if name in t.channel_swap:
            mean = mean[:, :, np.argsort(t.channel_swap[name])]
        return np.array(mean / t.raw_scale.get(name, 1), np.float32)

    def crop(self, im, window) -> np.ndarray:
        """The window (ymin, xmin, ymax, xmax) of the H x W x C image, float32; resized if there is context.

        ValueError for a window that is empty or lies outside the image.
        """
        ymin, xmin, ymax, xmax = np.asarray(window).tolist()
        height, width = im.shape[:2]
        if not self.context_pad:
            rows, columns = slice(int(ymin), int(ymax)), slice(int(xmin), int(xmax))
            if not (0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width):
                raise ValueError(f"window {window} is empty or outside the image, {height} x {width}")
            return im[rows, columns]
        size = int(self.crop_dims[1])  # crops with context are square, as in R-CNN
        rows, to_rows = _span(ymin, ymax, height, size, self.context_pad)
        columns, to_columns = _span(xmin, xmax, width, size, self.context_pad)
        crop = self.crop_mean.copy()
        room = crop[to_rows, to_columns]
        room[...] = io.resize_image(im[rows, columns], room.shape[:2])
        return crop

    def detect_windows(self, images_windows) -> list:
        """Score windows: [{"window": as given, "prediction": the first output's row, "filename": name}, ...].

        images_windows: pairs of an image file and a list of its windows (ymin, xmin, ymax, xmax), ends
        excluded. ValueError for no windows at all, and for one that is empty or outside its image.
        """
        found, rows, name = [], [], self.inputs[0]
        for filename, windows in images_windows:
            image = io.load_image(filename).astype(np.float32)
            check_image(image, self, filename)
            for window in windows:
                try:
                    rows.append(self.transformer.preprocess(name, self.crop(image, window)))
                except ValueError as error:
                    raise ValueError(f"{filename}: {error}") from None
                found.append({"window": window, "filename": filename})
        if not rows:
            raise ValueError("no windows to score")
        scores = self.forward_all(**{name: np.stack(rows)})[self.outputs[0]]
        return [{**one, "prediction": row} for one, row in zip(found, scores, strict=True)]

    def detect_selective_search(self, image_fnames) -> list:
        """`detect_windows` on what selective search proposes; it needs a package that runs it in MATLAB."""
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise ValueError(
                "detect_selective_search needs the package selective_search_ijcv_with_python, and MATLAB"
            ) from None
        files = list(image_fnames)
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(zip(files, windows, strict=True))


def _span(low, high, length, size, pad):
    """Along one axis: the slice of the image, of `length`, that is shown, and the slice of the crop it fills.

    The window is widened about its centre until, with `size` pixels for all, `pad` at each end are around it.
    """
    half = (high - low + 1) / 2
    reach = half * size / (size - 2 * pad)
    start, end = round(low + half - reach), round(low + half + reach)
    first, last = max(0, start), min(length, end)
    if not first < last:
        raise ValueError(f"window from {low} to {high} is empty or outside the image, {length}")
    # BVLC Caffe measures with the end included and cuts with it excluded, so this does too.
    zoom = size / (end - start + 1)
    before, filled = round((first - start) * zoom), round((last - first + 1) * zoom)
    return slice(first, last), slice(before, min(before + filled, size))
