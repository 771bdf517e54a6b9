"""The metrics of other benchmarks as plain loops and whole-image NumPy, written from the papers' equations.

The tests compare two_stream_fusion/metrics with it. Two gray uint8 sources; arguments are not checked.
"""

from __future__ import annotations

import math

import numpy as np


def frequencies(image):
    return np.bincount(image.ravel(), minlength=256) / image.size


def joint_frequencies(x, y):
    return np.bincount(256 * x.ravel().astype(int) + y.ravel(), minlength=65536).reshape(256, 256) / x.size


def entropy(p, base=2.0):
    p = p[p > 0]
    return -(p * np.log(p)).sum() / math.log(base)


def ce(a, b, fused):
    f = frequencies(fused)
    distances = []
    for source in (a, b):
        terms = zip(frequencies(source), f)
        distances.append(sum(p * math.log2(p / q) for p, q in terms if p > 0 and q > 0))
    return sum(distances) / 2


def tsallis(x, y, order):
    p = joint_frequencies(x, y)
    px, py = p.sum(1), p.sum(0)
    cells = [(i, j) for i in range(256) for j in range(256) if p[i, j] > 0]
    return (1 - sum(p[c] ** order / (px[c[0]] * py[c[1]]) ** (order - 1) for c in cells)) / (1 - order)


def te(a, b, fused):
    order = 0.43137
    below = entropy(frequencies(a)) ** order + entropy(frequencies(b)) ** order + tsallis(a, b, order)
    return (tsallis(a, fused, order) + tsallis(b, fused, order)) / below


def qncie(a, b, fused):
    every = [a, b, fused]
    r = np.eye(3)
    for i, x in enumerate(every):
        for j, y in enumerate(every):
            if i != j:
                r[i, j] = sum(entropy(frequencies(z), 256) for z in (x, y)) - entropy(
                    joint_frequencies(x, y), 256
                )
    shares = [v / 3 for v in np.linalg.eigvals(r).real if v > 0]
    return 1 + sum(s * math.log(s, 256) for s in shares)


def sf(fused):
    rows = sum((float(x) - float(y)) ** 2 for row in fused for x, y in zip(row[1:], row))
    columns = sum((float(x) - float(y)) ** 2 for row in fused.T for x, y in zip(row[1:], row))
    return math.sqrt(rows / fused.size + columns / fused.size)


def ag(fused):
    x = fused.astype(float)
    height, width = x.shape

    def derivative(line, k):
        if k in (0, len(line) - 1):
            k = max(k, 1)
            return line[k] - line[k - 1]
        return (line[k + 1] - line[k - 1]) / 2

    total = sum(
        math.sqrt((derivative(x[i], j) ** 2 + derivative(x[:, j], i) ** 2) / 2)
        for i in range(height)
        for j in range(width)
    )
    return total / ((height - 1) * (width - 1))


def ei(fused):
    x = np.pad(fused.astype(float), 1, "edge")
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    strengths = [
        math.hypot(*((x[i : i + 3, j : j + 3] * mask).sum() for mask in (sobel, sobel.T)))
        for i in range(fused.shape[0])
        for j in range(fused.shape[1])
    ]
    return sum(strengths) / len(strengths)


def scd(a, b, fused):
    a, b, f = (x.astype(float).ravel() for x in (a, b, fused))
    return np.corrcoef(f - b, a)[0, 1] + np.corrcoef(f - a, b)[0, 1]


def stretch(image):
    x = image.astype(float)
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def frequency_grid(shape, pixels):
    """Cycles a degree at the frequencies of np.fft.fft2; `pixels` count as a degree."""
    v, u = (n / pixels * 2 * np.fft.fftfreq(n) for n in shape)
    return np.hypot(*np.meshgrid(u, v))


def seen(x, sensitivity):
    return np.fft.ifft2(np.fft.fft2(x) * sensitivity).real


def correlate(x, mask):
    """Zeros outside."""
    side = mask.shape[0] // 2
    padded = np.pad(x, side)
    return sum(mask[i, j] * padded[i : i + x.shape[0], j : j + x.shape[1]] for i, j in np.ndindex(mask.shape))


def qcb(a, b, fused):
    r = frequency_grid(a.shape, 30)
    sensitivity = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
    y, x = np.mgrid[-15:16, -15:16]
    masked = []
    for image in (a, b, fused):
        filtered = seen(stretch(image), sensitivity)
        near, far = (
            correlate(filtered, np.exp(-(x * x + y * y) / (2 * s * s)) / (2 * np.pi * s * s)) for s in (2, 4)
        )
        c = np.abs(near / far - 1)
        masked.append(c**3 / (c**2 + 0.0001))
    *of_sources, f = masked
    weights = [c**2 for c in of_sources]
    kept = [np.minimum(c, f) / np.maximum(c, f) for c in of_sources]
    return (sum(w * k for w, k in zip(weights, kept)) / sum(weights)).mean()


def qcv(a, b, fused):
    r = 0.144 * frequency_grid(a.shape, 8)
    sensitivity = 2.6 * (0.0192 + r) * np.exp(-(r**1.1))
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    above = below = 0.0
    for image in (a, b):
        x = stretch(image)
        strength = np.hypot(correlate(x, sobel), correlate(x, sobel.T))
        difference = seen(x - stretch(fused), sensitivity)
        for i in range(0, a.shape[0], 16):
            for j in range(0, a.shape[1], 16):
                window = np.s_[i : i + 16, j : j + 16]
                weight = (strength[window] ** 5).sum()
                above += weight * (difference[window] ** 2).sum() / 256
                below += weight
    return above / below


def gaussian(size, sigma):
    taps = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return np.outer(taps, taps) / taps.sum() ** 2


def windows(x, size):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size))


def moments(x, y, kernel):
    """Means, variances and covariance under a kernel, by deviations from the means."""
    wx, wy = windows(x, len(kernel)), windows(y, len(kernel))
    mx, my = (wx * kernel).sum((2, 3)), (wy * kernel).sum((2, 3))
    dx, dy = wx - mx[..., None, None], wy - my[..., None, None]
    return mx, my, *(((p * kernel).sum((2, 3))) for p in (dx * dx, dy * dy, dx * dy))


def quality_index(x, y, c1=2e-16, c2=2e-16, kernel=None):
    mx, my, vx, vy, cov = moments(x, y, gaussian(7, 1.5) if kernel is None else kernel)
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)), vx, vy, cov


def qc(a, b, fused):
    a, b, f = (x.astype(float) for x in (a, b, fused))
    qa, _, _, ca = quality_index(a, f)
    qb, _, _, cb = quality_index(b, f)
    share = np.clip(ca / (ca + cb), 0, 1)
    return (share * qa + (1 - share) * qb).mean()


def qc_2012(a, b, fused):
    a, b, f = (x.astype(float) for x in (a, b, fused))
    qa, _, _, ca = quality_index(a, f)
    qb, _, _, cb = quality_index(b, f)
    share = ca / (ca + cb)
    local = share * qa + (1 - share) * qb
    return np.where(share < 0, 0, np.where(share > 1, 1, local)).mean()


def qy(a, b, fused):
    a, b, f = (x.astype(float) for x in (a, b, fused))
    alike, va, vb, _ = quality_index(a, b)
    qa, qb = quality_index(a, f)[0], quality_index(b, f)[0]
    share = va / (va + vb)
    return np.where(alike >= 0.75, share * qa + (1 - share) * qb, np.maximum(qa, qb)).mean()


def ssim_sources(a, b, fused):
    kernel, c1, c2 = gaussian(11, 1.5), 2.55**2, 7.65**2
    pairs = ((x.astype(float), fused.astype(float)) for x in (a, b))
    return np.mean([quality_index(x, f, c1, c2, kernel)[0].mean() for x, f in pairs])


def visual_information(x, f, noise):
    """For each scale VID, VIND and gain."""
    x, f = x.astype(float), f.astype(float)
    for size in (17, 9, 5, 3):
        kernel = gaussian(size, size / 5)
        if size < 17:
            x, f = ((windows(y, size) * kernel).sum((2, 3))[::2, ::2] for y in (x, f))
        _, _, vx, vf, cov = moments(x, f, kernel)
        gain = np.where(cov > 0, cov / vx, 0)
        rest = vf - gain * cov
        yield np.log10(1 + gain**2 * vx / (rest + noise)), np.log10(1 + vx / noise), gain


def vif(a, b, fused):
    total = 0.0
    for source in (a, b):
        scales = list(visual_information(source, fused, 2))
        total += sum(vid.sum() for vid, _, _ in scales) / sum(vind.sum() for _, vind, _ in scales)
    return total


def viff(a, b, fused):
    total = 0.0
    scales = zip(*(visual_information(source, fused, 0.005 * 255**2) for source in (a, b)))
    for weight, (of_a, of_b) in zip((1, 0, 0.15, 1), scales):
        first = of_a[2] < of_b[2]
        vid, vind = ((np.where(first, of_a[i], of_b[i]) + 1e-7).sum() for i in (0, 1))
        total += weight / 2.15 * vid / vind
    return total


def mef_ssim(a, b, fused):
    kernel = gaussian(11, 1.5)
    values = []
    for wa, wb, wf in zip(*(windows(x.astype(float), 11).reshape(-1, 11, 11) for x in (a, b, fused))):
        patches = [w - w.mean() for w in (wa, wb)]
        lengths = [np.linalg.norm(p) for p in patches]
        consistency = min(np.linalg.norm(sum(patches)) / sum(lengths), 1)
        power = min(math.tan(math.pi / 2 * consistency), 10) if consistency < 1 else 10
        lengths = [length + 0.001 for length in lengths]
        weights = [(length / 11) ** power for length in lengths]
        r = sum(w / sum(weights) * p / length for w, p, length in zip(weights, patches, lengths))
        r = r / np.linalg.norm(r) * max(lengths)
        dr, df = r - (kernel * r).sum(), wf - (kernel * wf).sum()
        c = (0.03 * 255) ** 2
        values.append(
            (2 * (kernel * dr * df).sum() + c) / ((kernel * dr**2).sum() + (kernel * df**2).sum() + c)
        )
    return np.mean(values)


def fmi(features_a, features_b, features_f):
    """FMI of features, window by window."""
    values = []
    for x in (features_a, features_b):
        for wx, wf in zip(*(windows(y, 3).reshape(-1, 3, 3) for y in (x, features_f))):
            same = (wx == wf).all()
            values.append(1.0 if same else window_information(wx.T.ravel(), wf.T.ravel()))
    return np.mean(values)


def window_information(x, y):
    p, q = ((w - w.min()) / (w - w.min()).sum() if w.min() < w.max() else np.full(9, 1 / 9) for w in (x, y))
    n = np.arange(1, 10)
    sp, sq = (math.sqrt(max((n * n * w).sum() - (n * w).sum() ** 2, 0)) for w in (p, q))
    flat = [w.min() == w.max() for w in (x, y)]
    c = float(all(flat)) if any(flat) else np.corrcoef(p, q)[0, 1]
    cp, cq = np.cumsum(p), np.cumsum(q)
    bound = np.minimum.outer(cp, cq) if c >= 0 else np.maximum(np.add.outer(cp, cq) - 1, 0)
    covariance = (bound - np.outer(cp, cq)).sum()
    phi = c / (covariance / (sp * sq)) if c != 0 and sp > 0 and sq > 0 else 0.0
    joint = phi * np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    joint += (1 - phi) * np.outer(p, q)
    hp, hq = entropy(p), entropy(q)
    cells = np.abs(joint[np.abs(joint) > 1e-15])
    signs = np.sign(joint[np.abs(joint) > 1e-15])
    information = hp + hq + (signs * cells * np.log2(cells)).sum()
    return 2 * information / (hp + hq) if hp + hq > 0 else 0.0
