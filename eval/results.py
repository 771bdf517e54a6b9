"""Fuse pairs by methods, score the fused images and keep them: what tables and figures are made from.

An image is fused again only where the pair, the method's code, its options or its weights have changed.
"""

from __future__ import annotations

import glob
import json
import os
import re
import traceback
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterable, Mapping, NamedTuple, Sequence, Union

import cv2
import numpy as np

from eval import pairs
from eval.score import score
from two_stream_fusion import pipeline
from two_stream_fusion.base import provenance
from two_stream_fusion.base.interrupts import delay_interrupt
from two_stream_fusion.base.options import parse_options
from two_stream_fusion.base.parallel import KILLED, process_pool
from two_stream_fusion.batch import is_whole
from two_stream_fusion.io import images
from two_stream_fusion.memory_estimate import limit_jobs
from two_stream_fusion.methods import models, registry
from two_stream_fusion.metrics import METRICS, preprocess
from two_stream_fusion.metrics.fidelity import psnr
from two_stream_fusion.metrics.preprocess import eight_bit_originals

OURS_MODELS = ("2-1-2_f64_k5-defocus", "2-1-2_f64_k5-paper")  # "Ours" is the first of them that is shipped
SELECT = "Ours+select"
# Bytes a pixel that scoring takes: Qp 641, MEF_MS_SSIM 259, VIF 140, the six of the paper below 100.
SCORING_BYTES, PAPER_SCORING_BYTES = 660, 100
EXTERNAL = "external"  # an Entry's method whose images were fused elsewhere
OUTLINE_PSNR = "PSNR at outlines"  # where halos and seams are

PairName = Union[str, pairs.Files]
Scores = Dict[str, float]  # {metric: value}


class Entry(NamedTuple):
    """A row of a table: a method with options."""

    method: str
    options: dict[str, object]


class Results(NamedTuple):
    """What `score_pairs` returns."""

    scores: dict[PairName, dict[str, Scores]]  # {pair: {title: {metric: value}}}
    missing: dict[PairName, str]  # {pair or title: why it is missing}
    failed: dict[str, str]  # {"TITLE on PAIR": what failed}


def list_entries() -> dict[str, Entry]:
    """The rows of the tables, {title: entry}; ours in several forms, the paper's net first."""
    entries = {title: Entry(name, {}) for name, title in registry.TITLES.items() if name != "two_stream"}
    shipped = models.names()
    ours = next((name for name in OURS_MODELS if name in shipped), OURS_MODELS[0])
    entries["Ours"] = Entry("two_stream", {"model": ours})
    entries[SELECT] = Entry("two_stream", {"model": ours, "refine": "select"})
    for name in shipped:
        if name != ours:
            entries[f"Ours ({name})"] = Entry("two_stream", {"model": name})
    return entries


def titles_with_other_weights() -> set[str]:
    """Titles of `list_entries` that are the network of Ours with other weights."""
    return {title for title in list_entries() if title.startswith("Ours (")}


def select_methods(titles: str | None = None, settings: Iterable[str] = ()) -> dict[str, Entry]:
    """Select rows of the tables and set their options.

    Args:
        titles: titles of `list_entries` between commas; None for all.
        settings: strings TITLE:KEY=VALUE,..., as `set_options` takes them.

    Returns:
        {title: entry} in the order of the tables.

    Raises:
        ValueError: an unknown title, or as `set_options`.
    """
    available = list_entries()
    requested = list(available) if titles is None else titles.split(",")
    for title in requested:
        if title not in available:
            raise ValueError(f"--methods: {title!r} is not one of {', '.join(available)}")
    return set_options({title: available[title] for title in available if title in requested}, settings)


def set_options(entries: Mapping[str, Entry], settings: Iterable[str]) -> dict[str, Entry]:
    """Replace default options.

    Args:
        entries: {title: entry}.
        settings: strings TITLE:KEY=VALUE,..., one a title.

    Returns:
        {title: entry}; a title that has options names them.

    Raises:
        ValueError: a title that is not in `entries` or has options twice, and options that its method
            refuses.
    """
    changed = {}
    for text in settings:
        title, colon, options_text = text.partition(":")
        if not colon:
            raise ValueError(f"--set {text}: TITLE:KEY=VALUE,... is needed")
        if title not in entries:
            raise ValueError(f"--set {text}: {title!r} is not one of {', '.join(entries)}")
        if title in changed:
            raise ValueError(f"--set {text}: {title} has options already; name all of them in one --set")
        name, options = entries[title]
        parsed = parse_options(name, pipeline.options(name), re.split(r",(?=\w+=)", options_text))
        options = {**options, **parsed}
        changed[title] = f"{title} ({options_text})", Entry(name, options)
    return dict(changed.get(title, (title, entry)) for title, entry in entries.items())


def cache_key(method: str, options: Mapping[str, object]) -> str:
    """The options, code, nets and weights that a fused image depends on besides its pair, as text.

    Args:
        method: its name in the registry.
        options: its options.

    Returns:
        JSON; equal texts give equal images.

    Raises:
        ValueError: a model whose files are not whole.
    """
    composed = ["two_stream_fusion.pipeline"] if method == "two_stream" else []  # as `fuse` runs it
    code = provenance.code_digest(f"two_stream_fusion.methods.{method}", *composed)
    model_names = [options["model"]] if "model" in options else models.names(method)
    weights = {
        name: [provenance.sha256(path.read_bytes()) for path in models.model_files(name, method)]
        for name in model_names
    }
    return json.dumps([method, options, code, weights], sort_keys=True)


@lru_cache(maxsize=4)  # photographs of any size: not all of many pairs at once
def load_pair(name: PairName) -> pairs.Pair:
    """As pairs.load; the last few pairs are kept in memory."""
    return pairs.load(name)


def fuse(a: np.ndarray, b: np.ndarray, entry: Entry) -> np.ndarray:
    """Fuse two images that are in register.

    Args:
        a, b: H x W or H x W x 3, of one shape and dtype.
        entry: the method with its options.

    Returns:
        The fused image, of the same shape and dtype.

    Raises:
        ValueError: the method refuses the images, or its weights are missing.
    """
    if entry.method == "two_stream":
        return pipeline.fuse([a, b], entry.method, **entry.options, check_register=False).image
    return registry.fuse(entry.method, [a, b], **entry.options).image


def fuse_pair(
    name: PairName, title: str, method: str, options: Mapping[str, object], folder: str | Path
) -> Path:
    """Fuse a pair, unless the image is there and whole.

    Args:
        name: the pair, as pairs.load takes it.
        title: the row of the table, for the file's name.
        method: its name in the registry.
        options: its options.
        folder: where fused images are kept, a folder a pair.

    Returns:
        The PNG file; its name holds the hash of `cache_key` and the pair. Older images of the same title are
        removed.

    Raises:
        ValueError, OSError: the pair cannot be loaded or fused.
    """
    a, b, _ = load_pair(name)
    key = provenance.sha256(b"".join([cache_key(method, options).encode(), a.tobytes(), b.tobytes()]))[:16]
    folder = _pair_folder(name, folder)
    path = folder / f"{title.replace(' ', '_')}-{key}.png"
    if not (path.is_file() and is_whole(path)):  # a copy of the folder may have been cut short
        folder.mkdir(parents=True, exist_ok=True)
        fused = fuse(a, b, Entry(method, dict(options)))
        for old in folder.glob(_pattern(title)):
            old.unlink()
        images.write(path, fused)
    return path


def find_fused(name: PairName, title: str, folder: str | Path) -> Path | None:
    """Find the image that `fuse_pair` keeps of a pair.

    Args:
        name, title, folder: as `fuse_pair` takes them.

    Returns:
        Its file, whatever code made it; None where there is none.
    """
    return next(_pair_folder(name, folder).glob(_pattern(title)), None)


def _pair_folder(name, folder):
    suffix = f"-{provenance.sha256(str(name[1:]).encode())[:8]}" if isinstance(name, pairs.Files) else ""
    return Path(folder, str(name).replace("/", "-") + suffix)


def _pattern(title):
    return f"{glob.escape(title.replace(' ', '_'))}-{'?' * 16}.png"


def score_pair(
    name: PairName,
    title: str,
    method: str,
    options: Mapping[str, object],
    folder: str | Path,
    columns: Sequence[str] | None = None,
) -> Scores | str:
    """Fuse a pair and score the image, in a process of its own.

    Args:
        name, title, method, options, folder: as `fuse_pair` takes them; of an EXTERNAL method the option
            `file` is the fused image.
        columns: names of metrics.REGISTRY; None for the six of the paper.

    Returns:
        {metric: value}, with PSNR and SSIM where the ground truth is known; or why there are no scores.
    """
    cv2.setNumThreads(1)
    try:
        a, b, truth = load_pair(name)
        called = None
        if method == EXTERNAL:
            path = Path(str(options["file"]))
            fused = images.read(path)
            if a.dtype == np.uint8:  # a 16-bit copy of an image of 8 bits counts as its original
                (fused,) = eight_bit_originals(fused)
            called = ["A", "B", str(path), "the ground truth"]
        else:
            fused = images.read(fuse_pair(name, title, method, options, folder))
        scores = score([a, b], fused, reference=truth, names=called, columns=columns)
    except (ValueError, OSError) as error:
        return str(error)
    except Exception as error:  # a fault in one method must not stop the others
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    if name in pairs.WITH_GROUND_TRUTH:
        (clean, _), gray = preprocess.prepare(truth, truth, fused)
        band = pairs.outline_mask(name)
        scores[OUTLINE_PSNR] = psnr(clean[band], gray[band])
    return scores


def score_pairs(
    names: Sequence[PairName],
    entries: Mapping[str, Entry],
    folder: str | Path,
    workers: int | None = None,
    columns: Sequence[str] | None = None,
    external: Mapping[tuple[PairName, str], Path] | None = None,
) -> Results:
    """Fuse and score all pairs by all methods, in several processes.

    Args:
        names: pairs, as pairs.load takes them.
        entries: {title: entry}.
        folder: where fused images are kept.
        workers: number of processes; None for one a core. Fewer are used where memory does not hold so many.
        columns: as `score_pair` takes them.
        external: {(pair, title): file} of images that were fused elsewhere.

    Returns:
        The scores, what is missing and what failed; the order is that of `names` and `entries`.

    Raises:
        ValueError: `workers` is less than 1.
    """
    from tqdm import tqdm

    names = list(names)
    if workers is not None and workers < 1:
        raise ValueError(f"--jobs {workers}: must be at least 1")
    missing = _find_missing(names, entries)
    jobs = [
        (name, title, *entry, folder, columns)
        for name in names
        for title, entry in entries.items()
        if name not in missing and title not in missing
    ]
    external = external or {}
    jobs += [
        (name, title, EXTERNAL, {"file": path}, folder, columns)
        for (name, title), path in external.items()
        if name not in missing
    ]
    titles = dict.fromkeys([*entries, *(title for _, title in external)])
    # SRCNN, which takes by far the longest, comes first, so that the cores finish together.
    jobs.sort(key=lambda job: job[2] != "srcnn")
    # Each process has a core, and Caffe reports errors only.
    environment = {"OMP_NUM_THREADS": "1", "GLOG_minloglevel": "2"}
    scored, failed = {}, {}
    workers = workers or os.cpu_count() or 1
    files = [[name.a, name.b] for name in names if isinstance(name, pairs.Files)]
    scoring_bytes = PAPER_SCORING_BYTES if set(columns or ()) <= set(METRICS) else SCORING_BYTES
    # Images that were fused elsewhere need what scoring takes. LP needs less.
    methods = {method for method, _ in entries.values()} | ({"lp"} if external else set())
    for method in sorted(methods) if workers > 1 else ():
        workers = limit_jobs(files, workers, method, scoring_bytes=scoring_bytes)
    with process_pool(workers, environment) as pool:
        with delay_interrupt():
            futures = {pool.submit(score_pair, *job): job[:2] for job in jobs}
        for future in tqdm(
            as_completed(futures), "fusing", len(jobs), unit="image", disable=None, leave=False
        ):
            name, title = futures[future]
            try:
                scores = future.result()
            except BrokenProcessPool:
                scores = KILLED
            if isinstance(scores, str):
                failed[f"{title} on {name}"] = scores
            else:
                scored[name, title] = scores
    ordered = {
        name: {title: scored[name, title] for title in titles if (name, title) in scored}
        for name in names
        if name not in missing
    }
    return Results(ordered, missing, failed)


def _find_missing(names, entries):
    """{pair or title: why it is missing}, before anything is fused."""
    missing = {}
    for name in names:
        try:
            pair = load_pair(name)
            if isinstance(name, pairs.Files):
                pairs.check_one_scene(name, pair)
        except (ValueError, OSError) as error:
            missing[name] = str(error)
    for title, (method, options) in entries.items():
        try:
            cache_key(method, options)
            modules = provenance.source_files(f"two_stream_fusion.methods.{method}")
            if models.__name__ in modules and not models.names(method):
                raise ValueError("its weights are not shipped")
        except ValueError as error:
            missing[title] = str(error)
    return missing


def mean_scores(scores: Mapping[object, Mapping[str, Scores]]) -> dict[str, Scores]:
    """Average the scores of several pairs.

    Args:
        scores: {pair: {title: {metric: value}}}, one pair or more.

    Returns:
        {title: {metric: mean}}, of the titles and metrics that all pairs have.
    """
    means = {}
    for title in next(iter(scores.values())):
        rows = [by_title[title] for by_title in scores.values() if title in by_title]
        if len(rows) == len(scores):
            common = [metric for metric in rows[0] if all(metric in row for row in rows)]
            means[title] = {metric: float(np.mean([row[metric] for row in rows])) for metric in common}
    return means
