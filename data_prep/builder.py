"""Plan, write and describe databases of training rows, made from photographs.

A `DatasetSpec` says what the rows are. data_prep/pair_patches.py, stack_patches.py, cnn_patches.py and
srcnn_patches.py have one each. The same seed gives the same rows, for any number of workers and any order of
work.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Callable, ClassVar, Iterable, Iterator, NamedTuple, Sequence

import cv2
import numpy as np
import PIL
from tqdm import tqdm

from data_prep import fetch, photographs
from data_prep.database import Database, Datasets, row_bytes
from data_prep.photographs import SourcePhotograph
from two_stream_fusion.base.files import MARK, atomic_folder
from two_stream_fusion.base.interrupts import delay_interrupt
from two_stream_fusion.base.provenance import code_digest

Warn = Callable[[str], None]


class InspectedPhotograph(NamedTuple):
    """Properties of a file for planning; `error` says why it is unusable."""

    path: str
    mask: str | None = None
    sha256: str = ""
    shape: tuple[int, int] = (0, 0)  # H, W
    error: str | None = None
    warning: str | None = None


class PlannedPhotograph(NamedTuple):
    """A photograph to make rows from."""

    path: str
    mask: str | None
    sha256: str
    shape: tuple[int, int]  # H, W
    rows: int  # their number
    draw: int = 0  # counts the pairs made of one photograph; each has random numbers of its own
    recolour: bool = False  # whether its colours may be changed


class Plan(NamedTuple):
    """The photographs for training and for validation, and how many were skipped for which reason."""

    train: list[PlannedPhotograph]
    val: list[PlannedPhotograph]
    skipped: dict[str, int]


@dataclasses.dataclass(frozen=True)
class DatasetSpec(abc.ABC):
    """The settings of a database, and how its rows are made of a photograph.

    Subclasses add their settings as fields. The manifest lists all fields.

    Attributes:
        val_share: the share of photographs for validation, between 0 and 1.
        val_patches: validation rows kept at most; 0 keeps all.
        seed: of everything that is drawn at random, 0 or more.
    """

    val_share: float = 0.1
    val_patches: int = 0
    seed: int = 1
    uses_masks: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """The name of this kind of database. One kind never replaces another."""

    @abc.abstractmethod
    def datasets(self) -> Datasets:
        """{name: (shape of a row, dtype)}."""

    @abc.abstractmethod
    def count_rows(self, shape: tuple[int, int]) -> int:
        """The number of rows from a photograph of shape (H, W); 0 if it is too small."""

    @abc.abstractmethod
    def make_rows(self, photograph: PlannedPhotograph) -> Iterator[Sequence[np.ndarray]]:
        """Make the rows of a photograph, as many as `count_rows` says: an array for each dataset.

        Raises:
            ValueError: the file has changed since it was inspected.
        """

    def expand_pairs(self, train: list[PlannedPhotograph]) -> list[PlannedPhotograph]:
        """The training photographs, each repeated once for every pair made from it."""
        return train


def load_with_rng(photograph: PlannedPhotograph, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Read a photograph again, with random numbers of its own.

    The numbers depend on its content, its draw and the seed. They depend neither on other photographs nor on
    the order of work.

    Args:
        photograph: of the plan.
        seed: of the database.

    Returns:
        H x W x 3 uint8 RGB, and the generator.

    Raises:
        ValueError: the file has changed since it was inspected.
    """
    image, sha256 = photographs.read(photograph.path)
    if sha256 != photograph.sha256:
        raise ValueError(f"{photograph.path}: changed while it was used")
    draw = [photograph.draw] if photograph.draw else []
    return image, np.random.default_rng([seed, int(sha256[:16], 16), *draw])


def inspect(source: SourcePhotograph) -> InspectedPhotograph:
    """Read a photograph and its mask, and report whether they are usable. A bad file raises nothing."""
    path, mask = source
    try:
        image, sha256 = photographs.read(path)
    except (ValueError, OSError) as error:
        return InspectedPhotograph(path, error=getattr(error, "strerror", None) or str(error))
    warning = None
    if mask:
        try:
            photographs.read_mask(mask, image.shape[:2])
        except (ValueError, OSError) as error:
            mask, warning = None, f"{mask}: {error}: a random region is used instead"
    return InspectedPhotograph(path, mask, sha256, image.shape[:2], warning=warning)


def plan(
    sources: Iterable[SourcePhotograph], spec: DatasetSpec, pool: Executor, warn: Warn | None = None
) -> Plan:
    """Inspect photographs and divide them, each as a whole, between training and validation.

    Unreadable and small files, duplicates and images that fusion is judged on are left out. The split depends
    on the whole set: after adding photographs, rebuild the database and retrain. The photographs of the
    released models keep their split, unless one side would be left empty.

    Args:
        sources: photographs and masks.
        spec: what rows are made.
        pool: threads that read the files.
        warn: called with a line for each file that is skipped and each mask that does not fit.

    Returns:
        The plan.

    Raises:
        ValueError: fewer than two photographs can be used.
    """
    evaluation, released = fetch.evaluation_hashes(), fetch.released_photographs()
    path_of, usable, skipped = {}, [], Counter()  # path_of: {sha256 or registered file: path}
    sources = [source if spec.uses_masks else source._replace(mask=None) for source in sources]
    for photograph in parallel_map(pool, inspect, sources, "reading"):
        rows = 0 if photograph.error else spec.count_rows(photograph.shape)
        key = released[photograph.sha256].file if photograph.sha256 in released else photograph.sha256
        if photograph.error:
            reason, detail = "unreadable", photograph.error
        elif photograph.sha256 in evaluation:
            reason, detail = "evaluation", "an image that fusion is judged on"
        elif key in path_of:
            reason, detail = "duplicate", f"the same photograph as {path_of[key]}"
        elif not rows:
            reason, detail = "small", "smaller than a patch"
        else:
            if photograph.warning and warn:
                warn(f"warning: {photograph.warning}")
            path_of[key] = photograph.path
            usable.append(
                PlannedPhotograph(photograph.path, photograph.mask, photograph.sha256, photograph.shape, rows)
            )
            continue
        skipped[reason] += 1
        if warn:
            warn(f"skipped: {photograph.path}: {detail}")
    if len(usable) < 2:
        raise ValueError(f"{len(usable)} usable photographs; two are needed, for training and validation")
    usable.sort(key=lambda photograph: photograph.sha256)  # neither names nor folders matter
    order = np.random.default_rng(spec.seed).permutation(len(usable))
    held_out = _choose_held_out([usable[i] for i in order], released, spec.val_share)
    train = [usable[i] for i in order if usable[i].sha256 not in held_out]
    val = [usable[i] for i in order if usable[i].sha256 in held_out]
    return Plan(train, val, dict(skipped))


def _choose_held_out(shuffled, released, share):
    """The sha256 of the photographs for validation: of a share, and as the released models have them."""
    known = {sha256: photograph.split for sha256, photograph in released.items()}
    splits = [known.get(photograph.sha256) for photograph in shuffled]
    # All that the released models were validated on, none that they were trained on; neither side is empty.
    count = max(round(share * len(shuffled)), splits.count("val"))
    count = min(count, len(shuffled) - splits.count("train"))
    count = min(max(1, count), len(shuffled) - 1)
    ranks = {"val": 0, None: 1, "train": 2}
    ranked = sorted(shuffled, key=lambda photograph: ranks[known.get(photograph.sha256)])
    return {photograph.sha256 for photograph in ranked[:count]}


def build(
    sources: Sequence[SourcePhotograph],
    root: str | Path,
    out: str | Path,
    spec: DatasetSpec,
    workers: int | None = None,
    warn: Warn | None = None,
) -> dict:
    """Build the training and validation database of a spec.

    A folder gets train/ and val/ with HDF5 files, the lists train.txt and val.txt that Caffe's HDF5Data
    reads, and manifest.json. An older database there is replaced once the new one is whole.

    Args:
        sources: photographs and masks.
        root: the folder that the manifest's names are relative to.
        out: the folder to make.
        spec: what rows are made.
        workers: photographs processed at a time; by default one for each core.
        warn: called with a line for each file that is skipped and each mask that does not fit.

    Returns:
        The manifest.

    Raises:
        ValueError: `out` holds something else or another kind of database, another run is making it, the disk
            is too small, or fewer than two photographs can be used.
        OSError: files cannot be read or written.
    """
    out = Path(out)
    _check_replaceable(out, spec)
    if len(out.as_posix().split()) != 1:
        raise ValueError(f"{str(out)!r}: Caffe reads no path with a space in it")
    origin = provenance(sources, root, spec)
    # Threads suffice: decoding, hashing, blurring and writing release Python's lock.
    workers = workers or os.cpu_count()
    with atomic_folder(out) as part, _one_opencv_thread(), ThreadPoolExecutor(workers) as pool:
        planned = plan(sources, spec, pool, warn)
        splits = {"train": spec.expand_pairs(planned.train), "val": planned.val}
        rows = sum(_kept_rows(split, expanded, spec) for split, expanded in splits.items())
        _check_disk(out, part, rows * row_bytes(spec.datasets()))
        manifest = {**origin, "skipped": planned.skipped, "rows": {}, "sha256": {}, "photographs": []}
        for split, expanded in splits.items():
            names, manifest["rows"][split] = _write_split(split, expanded, part, spec, pool)
            lines = "".join(f"{out.as_posix()}/{name}\n" for name in names)
            (part / f"{split}.txt").write_bytes(os.fsencode(lines))  # a path may be any bytes
            hashes = {name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in names}
            manifest["sha256"].update(hashes)
            entries = [manifest_entry(p, split, root, spec) for p in getattr(planned, split)]
            manifest["photographs"] += entries
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def provenance(sources: Iterable[SourcePhotograph], root: str | Path, spec: DatasetSpec) -> dict:
    """What decides the rows of a database, with which its manifest begins.

    Args:
        sources: the photographs.
        root: the folder that their paths are relative to in the manifest.
        spec: of the database.

    Returns:
        Settings, code, libraries and photographs, ready for JSON.
    """
    versions = {"numpy": np.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__}
    return {
        "kind": spec.kind,
        **dataclasses.asdict(spec),
        "made_with": {**versions, "code": _loaded_code(code_modules(spec))},
        "released_photographs": hashlib.sha256(repr(fetch.released_photographs()).encode()).hexdigest(),
        "sources": photographs.fingerprint(sources, root),
    }


def code_modules(spec: DatasetSpec) -> tuple[str, ...]:
    """The modules that make rows; those that they import from both packages belong to the code too."""
    return (__name__, type(spec).__module__, code_digest.__module__)


@lru_cache(maxsize=None)
def _loaded_code(modules):
    """The digest of the code that this process runs: files that change later do not matter to it."""
    return code_digest(*modules)


def manifest_entry(
    photograph: PlannedPhotograph, split: str, root: str | Path, spec: DatasetSpec
) -> dict[str, object]:
    """A photograph as the manifest lists it.

    Args:
        photograph: of the plan.
        split: "train" or "val".
        root: the folder that its path is relative to in the manifest.
        spec: of the database.

    Returns:
        Ready for JSON.
    """
    return {
        "file": os.path.relpath(photograph.path, root),
        "sha256": photograph.sha256,
        "set": split,
        **({"region": "mask" if photograph.mask else "shape"} if spec.uses_masks else {}),
        "patches": photograph.rows,
    }


def database_kind(folder: str | Path) -> str | None:
    """The kind of the database in a folder, by its manifest; None if there is no database."""
    try:
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or not {"rows", "photographs"} <= set(manifest):
        return None
    return manifest.get("kind")


def parallel_map(pool: Executor, function: Callable, items: Iterable, label: str) -> list:
    """Apply a function to items by the threads of a pool, with a progress bar.

    What has not begun is cancelled where a call fails, or at Ctrl-C.

    Args:
        pool: of threads.
        function: takes an item.
        items: its arguments.
        label: of the progress bar.

    Returns:
        The results, in the order of the items.
    """
    futures = []
    try:
        with delay_interrupt():
            futures += [pool.submit(function, item) for item in items]
        return [f.result() for f in tqdm(futures, label, unit="photo", disable=None, leave=False)]
    finally:
        for future in futures:
            future.cancel()


def _check_replaceable(out, spec):
    """ValueError where `out` is a folder of something else than an older database of this kind."""
    if out.exists() and any(out.iterdir()):
        existing = database_kind(out)
        if existing is None:
            raise ValueError(f"{out}: exists and is not a database made by this program")
        if existing != spec.kind:
            raise ValueError(f"{out}: a database of kind {existing}, not {spec.kind}: give another --out")
        foreign = _foreign_files(out)
        if foreign:
            raise ValueError(f"{foreign[0]}: would be lost, since {out} is replaced: move it elsewhere")


def _foreign_files(out):
    """The files in the folder of a database that its manifest does not list."""
    manifest = json.loads((out / "manifest.json").read_text())
    lists = {"train.txt", "val.txt", "manifest.json", MARK}
    listed = {out / name for name in lists.union(manifest.get("sha256", ()))}
    return sorted(path for path in out.rglob("*") if path not in listed and not path.is_dir())


def _check_disk(out, folder, needed):
    """ValueError where the disk of `folder` has less free space than `needed` bytes."""
    if needed > shutil.disk_usage(folder).free:
        size = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{math.ceil(needed / 1e6)} MB"
        raise ValueError(f"{out}: {size} are needed on this disk, more than is free")


@contextlib.contextmanager
def _one_opencv_thread():
    """Photographs are processed in parallel, not parts of them."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _kept_rows(split, expanded, spec):
    """How many rows of the photographs of a split are written."""
    rows = sum(photograph.rows for photograph in expanded)
    return min(rows, spec.val_patches or rows) if split == "val" else rows


def _write_split(split, expanded, folder, spec, pool):
    """Write the rows of photographs, shuffled over all of them: the files' names, and the number of rows."""
    ends = np.cumsum([photograph.rows for photograph in expanded])
    order = np.random.default_rng([spec.seed, split == "val"]).permutation(ends[-1])
    row_count = _kept_rows(split, expanded, spec)
    with delay_interrupt():
        database = Database(folder / split, row_count, spec.datasets())

    def write_photograph(job):
        photograph, numbers = job
        for row, arrays in zip(numbers, spec.make_rows(photograph)):
            if row < row_count:
                database.write_row(row, arrays)

    parallel_map(pool, write_photograph, zip(expanded, np.split(order, ends[:-1])), f"{split} rows")
    return [f"{split}/{path.name}" for path in database.paths], row_count
