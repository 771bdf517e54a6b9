"""Fuse pairs by methods, score what comes of it, and keep the images: what tables and figures are made from.

Fused images are made again only where the pair, the method's code, its options or its weights have changed.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from eval import pairs
from eval.score import psnr, score
from two_stream_fusion import pipeline
from two_stream_fusion.base import provenance
from two_stream_fusion.base.interrupts import delay_interrupt
from two_stream_fusion.base.options import parse_options
from two_stream_fusion.base.parallel import process_pool
from two_stream_fusion.io import images
from two_stream_fusion.methods import models
from two_stream_fusion.methods import registry as methods
from two_stream_fusion.metrics import preprocess

PLAIN = ("2-1-2_f64_k5-defocus", "2-1-2_f64_k5-paper")  # "Ours" is the first of them that is shipped
SELECT = "Ours+select"
OUTLINES = "PSNR at outlines"  # where halos and seams are


def entries() -> dict[str, tuple[str, dict]]:
    """{title: (method, options)} in the order of the tables; ours in several forms, the paper's net first."""
    found = {title: (name, {}) for name, title in methods.TITLES.items() if name != "two_stream"}
    shipped = models.names()
    plain = next((name for name in PLAIN if name in shipped), PLAIN[0])
    found["Ours"] = ("two_stream", {"model": plain})
    found[SELECT] = ("two_stream", {"model": plain, "refine": "select"})
    for name in shipped:
        if name != plain:
            found[f"Ours ({name})"] = ("two_stream", {"model": name})
    return found


def other_weights() -> set[str]:
    """Titles of `entries` that are the network of Ours with other weights."""
    return {title for title in entries() if title.startswith("Ours (")}


def choose(titles=None, varied=()) -> dict[str, tuple[str, dict]]:
    """`entries`, those of `titles` (between commas) alone, with options in place of defaults.

    varied: TITLE:KEY=VALUE,...; the title of the entry then says so. ValueError for a title that is not
    there or has options twice, and for what methods.parse refuses.
    """
    known = entries()
    wanted = list(known) if titles is None else titles.split(",")
    for title in wanted:
        if title not in known:
            raise ValueError(f"--methods: {title!r} is none of {', '.join(known)}")
    return variants({title: known[title] for title in known if title in wanted}, varied)


def variants(chosen, texts) -> dict:
    """Entries with options, as TITLE:KEY=VALUE,..., in place of defaults, as `choose` has them."""
    varied = {}
    for text in texts:
        title, given, settings = text.partition(":")
        if not given:
            raise ValueError(f"--set {text}: TITLE:KEY=VALUE,... is needed")
        if title not in chosen:
            raise ValueError(f"--set {text}: {title!r} is none of {', '.join(chosen)}")
        if title in varied:
            raise ValueError(f"--set {text}: {title} has options already; name all of them in one --set")
        name, options = chosen[title]
        given = parse_options(name, pipeline.options(name), re.split(r",(?=\w+=)", settings))
        options = {**options, **given}
        varied[title] = f"{title} ({settings})", (name, options)
    return dict(varied.get(title, (title, entry)) for title, entry in chosen.items())


def recipe(method, options) -> str:
    """What an image depends on besides the pair, as text: options, code, nets and weights."""
    composed = ["two_stream_fusion.pipeline"] if "refine" in options else []
    code = provenance.code_digest(f"two_stream_fusion.methods.{method}", *composed)
    used = [options["model"]] if "model" in options else models.names(method)
    trained = {
        name: [provenance.sha256(path.read_bytes()) for path in models.files(name, method)] for name in used
    }
    return json.dumps([method, options, code, trained], sort_keys=True)


@lru_cache(maxsize=4)  # photographs of any size: not all of many pairs at once
def load(pair):
    return pairs.load(pair)


def fuse(pair, title, method, options, folder) -> Path:
    """The file of a fused image, made where it is not there yet; its name says what it was made of."""
    a, b, _ = load(pair)
    key = provenance.sha256(b"".join([recipe(method, options).encode(), a.tobytes(), b.tobytes()]))[:16]
    own = f"-{provenance.sha256(str(pair[1:]).encode())[:8]}" if isinstance(pair, pairs.Files) else ""
    folder = Path(folder, str(pair).replace("/", "-") + own)
    path = folder / f"{title.replace(' ', '_')}-{key}.png"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if method == "two_stream":
            fused = pipeline.fuse([a, b], method, **options, check_register=False).image
        else:
            fused = methods.fuse(method, [a, b], **options)
        for old in folder.glob(f"{title.replace(' ', '_')}-{'?' * 16}.png"):
            old.unlink()
        images.write(path, fused)
    return path


def job(pair, title, method, options, folder):
    """The scores of a method on a pair, {metric: value}, or why there are none."""
    cv2.setNumThreads(1)
    try:
        a, b, truth = load(pair)
        fused = images.read(fuse(pair, title, method, options, folder))
        scores = score([a, b], fused, reference=truth)
    except (ValueError, OSError) as error:
        return str(error)
    except Exception as error:  # of a method in the making, say: the others are made all the same
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    if pair in pairs.TRUE:
        (clean, _), gray = preprocess.prepare(truth, truth, fused)
        at = pairs.outlines(pair)
        scores[OUTLINES] = psnr(clean[at], gray[at])
    return scores


def run(names, chosen, folder, workers=None):
    """({pair: {title: {metric: value}}}, {pair or title: why it is missing}, {"TITLE on PAIR": what failed}).

    All cores are at work. names: pairs, as pairs.load takes them.
    """
    from tqdm import tqdm

    if workers is not None and workers < 1:
        raise ValueError(f"--workers {workers}: 1 or more")
    missing, failed = {}, {}
    for pair in names:
        try:
            load(pair)
        except (ValueError, OSError) as error:
            missing[pair] = str(error)
    for title, (method, options) in chosen.items():
        try:
            recipe(method, options)
            needed = provenance.source_files(f"two_stream_fusion.methods.{method}")
            if models.__name__ in needed and not models.names(method):
                raise ValueError("its weights are not shipped")
        except ValueError as error:
            missing[title] = str(error)
    jobs = [
        (pair, title, *chosen[title], folder)
        for pair in names
        for title in chosen
        if pair not in missing and title not in missing
    ]
    # SRCNN, which takes by far the longest, comes first, so that the cores finish together.
    jobs.sort(key=lambda job: job[2] != "srcnn")
    # Of the processes started here: each has a core, and Caffe speaks up for errors only.
    os.environ.update(OMP_NUM_THREADS="1", GLOG_minloglevel="2")
    results = {}
    with process_pool(workers or os.cpu_count()) as pool:
        with delay_interrupt():
            futures = {pool.submit(job, *arguments): arguments[:2] for arguments in jobs}
        for future in tqdm(
            as_completed(futures), "fusing", len(jobs), unit="image", disable=None, leave=False
        ):
            pair, title = futures[future]
            scores = future.result()
            if isinstance(scores, str):
                failed[f"{title} on {pair}"] = scores
            else:
                results[pair, title] = scores
    ordered = {p: {t: results[p, t] for t in chosen if (p, t) in results} for p in names if p not in missing}
    return ordered, missing, failed


def mean(of) -> dict[str, dict[str, float]]:
    """{title: {metric: mean}} of the scores of several pairs: of titles and metrics that all pairs have."""
    first, means = next(iter(of.values())), {}
    for title in first:
        rows = [scores[title] for scores in of.values() if title in scores]
        if len(rows) == len(of):
            common = [metric for metric in rows[0] if all(metric in row for row in rows)]
            means[title] = {metric: float(np.mean([row[metric] for row in rows])) for metric in common}
    return means
