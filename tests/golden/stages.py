"""What the stages of two_stream_fusion/stack give for small scenes; kept so that a changed constant is seen.

Unlike the other golden numbers these are our own. Where a change is meant, make them anew from the repository
root:
    python tests/golden/stages.py
"""

from pathlib import Path

import cv2
import numpy as np

from two_stream_fusion.stack import (
    align,
    camera_shift,
    dust,
    exposure,
    frame_selection,
    matte,
    motion_blur,
    order,
    pair_selection,
    potts,
    registration,
    screening,
)

FILE = Path(__file__).with_suffix(".npz")
STEPS = 20  # of the graded series that thresholds decide on


def texture(height=150, width=200, seed=0):
    """A gray scene with detail of all sizes, float32 in 20..235."""
    rng = np.random.default_rng(seed)
    scene = sum(
        np.float32(2**k) * cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), 2**k)
        for k in range(5)
    )
    scene = (scene - scene.min()) / (scene.max() - scene.min())
    return 20 + 215 * scene


def as_uint8(scene):
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def blurred(scene, sigma):
    return cv2.GaussianBlur(scene, (0, 0), sigma) if sigma else scene


def focus_stack(count=5):
    """Frames (uint8) of a scene with three things at different depths, and faint parts between them."""
    scene, (y, x) = texture(), np.indices((150, 200))
    scene = np.where((x // 25) % 3 == 1, 128 + 0.05 * (scene - 128), scene).astype(np.float32)
    depth = (x // 50 + (y > 75)) % count
    depth[60:63, 20:180] = 0
    levels = [blurred(scene, 0.8 * i) for i in range(count)]
    noise = np.random.default_rng(5).standard_normal((count, 150, 200)).astype(np.float32)
    return [as_uint8(np.choose(np.abs(depth - i), levels) + 1.5 * noise[i]) for i in range(count)]


def sharper(a, b, **_):
    """In place of the network: of two images the one with more detail around, pixel by pixel."""
    detail = [cv2.GaussianBlur(cv2.Laplacian(i.astype(np.float32), -1) ** 2, (0, 0), 2) for i in (a, b)]
    return np.where(detail[0] >= detail[1], a, b)


def moved(scene, x, y, scale=1.0):
    """The scene as a camera sees it that is (x, y) pixels off and `scale` nearer."""
    matrix = np.array([[scale, 0, x], [0, scale, y]], np.float32)
    return cv2.warpAffine(scene, matrix, scene.shape[::-1], borderMode=cv2.BORDER_REFLECT_101)


class AlphaFrames:
    """Frames with alpha, as stack/matte.py reads them."""

    def __init__(self, images, alphas):
        self.images, self.alphas = images, alphas
        self.shape, self.dtype = images[0].shape, images[0].dtype

    def __len__(self):
        return len(self.images)

    def with_alpha(self, i):
        return self.images[i], self.alphas[i]

    def name(self, i):
        return str(i)


def select():
    """Which frame, and which photograph of a pair, each pixel comes from."""
    results = {}
    frames = focus_stack()
    results["choice"] = frame_selection.select_frames(sharper, frames).astype(np.uint8)
    speck = [frame.copy() for frame in frames]
    for i, size in enumerate((1, 2, 3)):  # sharp in another frame than what is around
        speck[4][20 + 40 * i : 20 + 40 * i + size, 100 : 100 + size] = 255
    results["choice of specks"] = frame_selection.select_frames(sharper, speck).astype(np.uint8)
    fused = sharper(frames[0], frames[3])
    results["select"], results["select from b"] = pair_selection.select_pixels(frames[0], frames[3], fused)
    cost = texture(40, 50, 3) / 64 - 2
    results["potts"] = potts.binary_potts(cost.astype(np.float32))
    return results


def register():
    """The motion between images, and how far they are apart."""
    results = {}
    scene = texture(240, 320, 1)
    pairs = [(1.3, -0.7, 1.004), (3.1, 2.2, 0.99), (0.2, 0.1, 1.0)]
    moved_images = [as_uint8(blurred(moved(scene, *motion), 1.2)) for motion in pairs]
    reference = as_uint8(scene)
    results["align matrices"] = np.array([align.estimate(reference, photo) for photo in moved_images])
    results["align likeness"] = np.array([align.correlate_images(reference, photo) for photo in moved_images])
    steps = np.linspace(0, 4, STEPS)
    graded = [as_uint8(blurred(moved(scene, step, 0), 2)) for step in steps]
    results["misalignment"] = np.array([align.misalignment(reference, photo) for photo in graded])
    ignored = [
        align.pyramid_misalignment(align.small_pyramid(reference), align.small_pyramid(photo), scene.shape, 2)
        for photo in graded
    ]
    results["misalignment, 2 ignored"] = np.array(ignored)
    pyramid = registration.make_pyramid(np.tile(reference, (5, 5)))
    results["pyramid sizes"] = np.array([level.shape for level, _ in pyramid])
    return results


def fill_dust():
    """Fixed spots while the scene moves."""
    results = {}
    scene = texture(240, 320, 1)
    rng = np.random.default_rng(7)
    faint = [128 + 0.03 * (moved(scene, 5 * i, 0) - 128) for i in range(2)]
    for row, column, depth in zip(rng.integers(8, 230, 30), rng.integers(8, 310, 30), np.linspace(1, 12, 30)):
        for i, image in enumerate(faint):
            cv2.circle(
                image, (int(column), int(row)), 2, float(128 - depth * (1 - 0.03 * (row % 20) * i)), -1
            )
    faint = [image.astype(np.float32) for image in faint]
    spots = dust.find_spots(*faint)
    results["spots"] = spots
    results["spots filled"] = dust.fill_spots(faint[0], spots)[::3, ::3]
    shares = []
    for count in range(1, STEPS + 1):
        image = np.full((60, 80), 100, np.float32) + rng.standard_normal((60, 80)).astype(np.float32)
        image[5 + 10 * np.arange(count) % 50, 4 + 7 * np.arange(count) % 72] += 60
        shares.append(dust.find_spots(image, image[:, ::-1].copy()[:, ::-1]) is None)
    results["too many spots"] = np.array(shares)
    return results


def match_exposure():
    """Brightness matched between frames."""
    results = {}
    gains = 1 + np.linspace(0, 0.006, STEPS)
    exposed = [as_uint8(texture(120, 300, 2) * gain + 0.25) for gain in gains]
    same = [np.array_equal(exposure.match_exposure(exposed[0], photo), photo) for photo in exposed]
    results["exposure left alone"] = np.array(same)
    tall = as_uint8(texture(300, 400, 4))
    ends = np.where(tall > 180, 255, np.where(tall < 60, 0, tall)).astype(np.uint8)
    results["exposure"] = np.array(
        [exposure.match_exposure(ends, as_uint8(blurred(ends * gain, 3))).mean() for gain in (0.6, 0.8, 1.2)]
    )
    return results


def fill_mattes():
    """A disc that is soft by another sigma in each frame, and a hole."""
    results = {}
    y, x = np.indices((80, 100))
    disc = (((y - 40) ** 2 + (x - 50) ** 2) < 25**2).astype(np.float32)
    alphas = [as_uint8(255 * blurred(disc, sigma)) for sigma in (0.5, 2, 5)]
    alphas.append(np.where(x < 30, 0, np.minimum(255, 8 * x)).astype(np.uint8))
    alphas.append(as_uint8(np.clip(253 + 4 * blurred(disc, 8) - 2, 0, 255) * (x > 60)))
    images = [as_uint8(texture(80, 100, 10 + i)) for i in range(5)]
    for name, members in (("soft", [0, 1, 2]), ("holes", [0, 3, 2]), ("nearly opaque", [1, 4])):
        mattes = matte.Matte(AlphaFrames([images[i] for i in members], [alphas[i] for i in members]))
        results[f"matte {name}"] = np.array([*mattes.alphas])
        results[f"matte {name}, composites"] = np.array([*mattes.composites])[:, ::2, ::2]
    exceeds = matte.Matte(AlphaFrames(images[:3], alphas[:3]))._exceeds_blur
    results["matte exceeds blur"] = np.array(
        [
            exceeds(as_uint8(255 * strength * blurred(disc, sigma)))
            for strength in (0.05, 0.3, 0.6)
            for sigma in (1, 4, 12)
        ]
    )
    return results


def sort_frames():
    """The order of focus, and the shake of the camera."""
    results = {}
    scene = texture(240, 320, 1)
    wide = np.tile(as_uint8(texture(300, 400, 6)), (2, 2))
    details = order.detail_map(wide)
    results["detail map"], results["detail grid"] = details[::8, ::8], order.detail_grid(details)
    steps = np.linspace(0, 0.01, STEPS)
    results["shaken"] = np.array([camera_shift.is_shaken(np.array([[0, 0], [step, 0]])) for step in steps])
    small = [screening.small_gray(as_uint8(blurred(moved(scene, 2 * i, -i), 1 + i))) for i in range(4)]
    small.append(screening.small_gray(as_uint8(texture(240, 320, 99))))
    small.append(screening.small_gray(as_uint8(moved(scene, 30, 0))))
    results["shifts"] = camera_shift.estimate_shifts(small)
    return results


def screen_frames():
    """Frames that do not belong to a stack."""
    results = {}
    wide = np.tile(as_uint8(texture(300, 400, 6)), (2, 2))
    plain = [screening.small_gray(as_uint8(texture(240, 320, 1))) for _ in range(4)]
    gains = np.geomspace(1, 2, STEPS)
    results["too bright"] = np.array(
        [bool(screening.find_misfits([*plain, plain[0] * gain])) for gain in gains]
    )
    strange = screening.small_gray(as_uint8(texture(240, 320, 98)))
    mixed = [share * strange + (1 - share) * plain[0] for share in np.linspace(0, 1, STEPS)]
    results["another scene"] = np.array([bool(screening.find_misfits([*plain, photo])) for photo in mixed])
    torn = [
        [*plain[:2], *[share * strange + (1 - share) * plain[0]] * 3] for share in np.linspace(0, 1, STEPS)
    ]
    results["no scene in common"] = np.array([len(screening.find_misfits(stack)) for stack in torn])
    soft = [cv2.GaussianBlur(plain[0], (0, 0), sigma) for sigma in np.linspace(0.3, 2, STEPS)]
    results["blurred throughout"] = np.array(
        [bool(screening.find_misfits([*plain, photo])) for photo in soft]
    )
    faint = [128 + contrast * (plain[0] - 128) for contrast in np.geomspace(0.02, 1, STEPS)]
    results["faint and blurred"] = np.array(
        [
            bool(screening.find_misfits([photo, photo, cv2.GaussianBlur(photo, (0, 0), 3), photo, photo]))
            for photo in faint
        ]
    )
    spotted = []
    for cells in range(STEPS):  # detail in so many cells alone
        photo = np.full((256, 256), 128, np.float32)
        for cell in range(cells):
            rows, columns = (slice(16 * k, 16 * k + 16) for k in divmod(cell * 7 % 256, 16))
            photo[rows, columns] += 60 * (np.indices((16, 16)).sum(0) % 2)
        spotted.append(
            bool(screening.find_misfits([photo, photo, cv2.GaussianBlur(photo, (0, 0), 2), photo, photo]))
        )
    results["detail in few cells"] = np.array(spotted)
    results["directional detail"] = motion_blur.directional_detail(wide)
    lengths = np.linspace(1, 25, STEPS)
    motions = []
    for length in lengths:
        kernel = np.zeros((1, 2 * int(length) + 1), np.float32)
        kernel[:] = 1 / kernel.size
        shaken = as_uint8(cv2.filter2D(np.float32(wide), -1, kernel))
        measured = [motion_blur.measure_directions(photo) for photo in (wide, shaken, wide)]
        motions.append(bool(motion_blur.find_motion_blur(measured, [0, 1, 2], list)))
    results["blurred by motion"] = np.array(motions)
    return results


SECTIONS = (select, register, fill_dust, match_exposure, fill_mattes, sort_frames, screen_frames)


def stages():
    """{name: array}: bool and integer arrays are decisions, others numbers."""
    return {name: array for section in SECTIONS for name, array in section().items()}


if __name__ == "__main__":
    np.savez_compressed(FILE, **stages())
    print(f"{FILE}: {FILE.stat().st_size // 1024} KiB")
