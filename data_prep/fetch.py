"""Fetch evaluation pairs, focus stacks and training photographs by URL and sha256.

Files come from the public repositories they were published in, each pinned to a commit; most may be used
for research only, which is why they are fetched and not shipped. A file that the folder FUSION_DATA holds
already, byte for byte (or saved as PNG, of a known sha256), is used from there. What has been fetched is not
fetched again. Of training photographs and masks, copies are made that equal those of the released models.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence
from urllib.parse import quote, urlsplit

from data_prep import training_copies
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.base.interrupts import delay_interrupt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / "build" / "photos"
URL = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
EXAMPLES = """examples:
  python data_prep/fetch.py --list
  python data_prep/fetch.py clock pepsi lytro-tif
  python data_prep/fetch.py train          1000 photographs and 631 masks; `make data` then uses them
  python data_prep/fetch.py bsds500        those of them that come from BSDS500, with their masks

Of a training photograph a JPEG of quality 92 is kept, those of ILSVRC scaled to 364 pixels; of a mask, its
largest region. The released weights were trained on the same files, byte for byte, and masks of the same
pixels.
"""
COPY_DIFFERS = "its copy has another sha256: Pillow 9.4 or newer with libjpeg-turbo is needed, as pip has it"


class FetchError(OSError):
    """A file that cannot be fetched: its message says why in a few words.

    Attributes:
        name: the file.
        reason: why, in a few words.
        url: where it is published.
    """

    def __init__(self, name: str, reason: str, url: str):
        super().__init__(f"{Path(name).name} cannot be fetched: {reason}")
        self.name, self.reason, self.url = name, reason, url


@lru_cache(maxsize=None)
def registry() -> dict[str, dict[str, str]]:
    """The files that can be fetched, by name: repo, url, sha256, and png_sha256 where a copy as PNG is known.

    Photographs and masks for training have copy_sha256, that of `training_copies.fingerprint`. Photographs
    have a split, too: train or val, of all released models.
    """
    with open(HERE / "repositories.csv", newline="") as file:
        commits = {row["repo"]: row["commit"] for row in csv.DictReader(file)}
    with open(HERE / "registry.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        row["url"] = URL.format(repo=row["repo"], commit=commits[row["repo"]], path=quote(row["path"]))
    return rows


def evaluation_hashes() -> set[str]:
    """sha256 of every image that fusion is judged on, to be kept out of training."""
    rows = [row for name, row in registry().items() if not name.startswith("train/")]
    return {row[key] for row in rows for key in ("sha256", "png_sha256") if row[key]}


class Released(NamedTuple):
    """A photograph of the released models: its file in `registry`, and its split, train or val."""

    file: str
    split: str


def released_photographs() -> dict[str, Released]:
    """The photographs of the released models, by sha256.

    Each has two: that of the published file, and that of the copy for training.
    """
    rows = [row for row in registry().values() if row["split"]]
    return {
        row[key]: Released(row["file"], row["split"]) for row in rows for key in ("sha256", "copy_sha256")
    }


@lru_cache(maxsize=None)
def list_groups() -> dict[str, list[str]]:
    """Files by each of their names: SET, SET/NAME, and NAME where only one set has it."""
    sets: dict[str, list[str]] = {}
    names: dict[str, set[str]] = {}
    bsds = {Path(name).stem for name, row in registry().items() if row["repo"] == "BIDS/BSDS500"}
    for file in registry():
        folders = file.split("/")[:-1]
        if folders == ["train"]:
            sets.setdefault("train", []).append(file)
            if Path(file).stem in bsds:
                sets.setdefault("bsds500", []).append(file)
        else:
            group, name = folders[-2:]
            sets.setdefault(group, []).append(file)
            sets.setdefault(f"{group}/{name}", []).append(file)
            names.setdefault(name, set()).add(group)
    for name, within in names.items():
        if len(within) == 1 and name not in sets:
            sets[name] = sets[f"{min(within)}/{name}"]
    return sets


def list_files(name: str) -> list[str]:
    """The files of a set, pair or stack.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in list_groups():
        several = [key for key in list_groups() if key.endswith(f"/{name}")]
        hint = f"name its set: {' or '.join(several)}" if several else "fetch.py --list shows all names"
        raise ValueError(f"no set or pair {name!r}: {hint}")
    return list_groups()[name]


def fetch(name: str, root: str | Path = ROOT) -> Path:
    """Fetch a registered file, whole or not at all, where it is missing.

    Args:
        name: the file, as in `registry`.
        root: the folder below which files are kept.

    Returns:
        Its path: in FUSION_DATA where the same bytes are there, else below `root`. Training photographs and
        masks are always below `root`, since they have to be in one folder.

    Raises:
        FetchError: it is not available.
    """
    row, target = registry()[name], Path(root, name)
    try:
        if row["copy_sha256"]:
            _copy_for_training(name, row, target)
            return target
        folder = os.environ.get("FUSION_DATA")
        local = _same_bytes(Path(folder, name), row) if folder else None
        if local:
            return local
        _download(name, row, target)
        return target
    except FetchError:
        raise
    except OSError as error:  # a full disk, a forbidden folder or file
        raise FetchError(name, _reason(error, row["url"]), row["url"]) from None


def _same_bytes(path, row):
    """The file, or its copy as PNG, where it has the known bytes; None where neither has."""
    for candidate, sha256 in ((path, row["sha256"]), (path.with_suffix(".png"), row["png_sha256"])):
        if sha256 and candidate.is_file() and hashlib.sha256(candidate.read_bytes()).hexdigest() == sha256:
            return candidate
    return None


def _copy_for_training(name, row, target):
    """Make the copy of a training photograph or mask: of the one in FUSION_DATA, or of the published file."""

    def is_copy(path):
        return path.is_file() and training_copies.fingerprint(path) == row["copy_sha256"]

    def is_published(path):
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]

    if is_copy(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = os.environ.get("FUSION_DATA")
    places = [target, Path(folder, name)] if folder else [target]
    copied = next(filter(is_copy, places), None)
    if copied:
        with atomic_write(target) as partial:
            shutil.copyfile(copied, partial)
        return
    published = next(filter(is_published, places), None)
    if published:
        data = published.read_bytes()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _download(name, row, Path(temporary, target.name))
            data = Path(temporary, target.name).read_bytes()
    is_mask = target.suffix == ".png"
    copy = training_copies.copy_mask(data) if is_mask else training_copies.copy_photograph(data, row["repo"])
    with atomic_write(target) as partial:
        partial.write_bytes(copy)
        if training_copies.fingerprint(partial) != row["copy_sha256"]:
            raise FetchError(name, COPY_DIFFERS, row["url"])


def _download(name, row, target):
    """Download a published file, unless it is there."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    download = pooch.HTTPDownloader(timeout=30)
    try:
        pooch.retrieve(row["url"], row["sha256"], target.name, target.parent, downloader=download)
    except (ValueError, OSError) as error:
        raise FetchError(name, _reason(error, row["url"]), row["url"]) from None


def _reason(error, url):
    """Why a download failed, in a few words."""
    import requests

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"HTTP status {status}"
    if isinstance(error, requests.Timeout):
        return f"no answer from {urlsplit(url).hostname}"
    if isinstance(error, requests.ConnectionError):
        return f"no connection to {urlsplit(url).hostname}"
    if isinstance(error, ValueError):  # pooch's, of another sha256
        return "the published file has another sha256"
    if isinstance(error.errno, int) and error.errno in errno.errorcode:  # a full disk, a forbidden folder
        return os.strerror(error.errno)
    return re.sub(r"\s+", " ", str(error))[:60]


def pair_files(name: str, root: str | Path = ROOT) -> list[Path]:
    """Fetch the images to fuse of an evaluation pair or triple, without its ground truth.

    Args:
        name: a pair, as in `list_groups`.
        root: the folder below which files are kept.

    Returns:
        Their paths, in the order A, B, C.

    Raises:
        ValueError: no pair has this name.
        FetchError: an image is not available.
    """
    roles = {Path(file).stem[-2:]: file for file in list_files(name)}
    members = [roles[role] for role in ("_A", "_B", "_C") if role in roles]
    if len({Path(file).parent for file in list_files(name)}) != 1 or len(members) < 2:
        raise ValueError(f"{name} is a set or a stack, not a pair")
    return [fetch(file, root) for file in members]


def pair_names(name: str) -> list[str]:
    """The pairs of a set, or a pair itself, by the names that `pair_files` takes.

    Raises:
        ValueError: the folder holds no pair.
    """
    names = []
    for member in dict.fromkeys("/".join(file.split("/")[-3:-1]) for file in list_files(name)):
        roles = {Path(file).stem[-2:] for file in list_groups().get(member, ())}
        if {"_A", "_B"} <= roles and "_C" not in roles:
            names.append(member)
    if not names:
        raise ValueError(f"{name}: no pairs are in it")
    return names


def fetch_all(names: Sequence[str], root: str | Path) -> tuple[list[Path], list[FetchError]]:
    """Fetch files, eight at a time.

    Gives up where the first eight all fail, as they do without a network.

    Args:
        names: the files, as in `registry`.
        root: the folder below which files are kept.

    Returns:
        The paths of the files that exist now, and the errors of the others.
    """
    from tqdm import tqdm

    paths, failures = [], []
    with ThreadPoolExecutor(8) as pool:
        futures = []
        try:
            with delay_interrupt():
                futures += [pool.submit(fetch, name, root) for name in names]
            for future in tqdm(futures, "fetching", unit="file", disable=None, leave=False):
                try:
                    paths.append(future.result())
                except FetchError as error:
                    failures.append(error)
                if len(failures) == 8 and not paths:
                    break
        finally:
            for future in futures:
                future.cancel()
    return paths, failures


def describe_failures(failures: Iterable[FetchError]) -> list[str]:
    """A line for each reason why files cannot be fetched: how many, and one of them by name."""
    by_reason = defaultdict(list)
    for failure in failures:
        by_reason[failure.reason].append(Path(failure.name).name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in by_reason.items()
    ]


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, pair or stack")
    parser.add_argument("--list", action="store_true", help="show the names and how many files each has")
    parser.add_argument("--verbose", action="store_true", help="show the URL of each file that failed")
    parser.add_argument("--out", default=ROOT, type=Path, help="where files go (default: build/photos)")
    args = parser.parse_args(argv)
    if args.list:
        for name, members in list_groups().items():
            print(f"{name:32s} {len(members):5d} files")
        return
    if not args.names:
        parser.error("give a name, or --list")
    names = list(dict.fromkeys(file for name in args.names for file in list_files(name)))
    paths, failures = fetch_all(names, args.out)
    for folder in sorted({os.path.relpath(path.parent) for path in paths}):
        print(folder)
    if failures:
        for line in describe_failures(failures):
            print(f"not fetched: {line}", file=sys.stderr)
        if args.verbose:
            for failure in failures:
                print(f"{failure.name}: {failure.url}", file=sys.stderr)
        raise OSError(f"{len(paths)} of {len(names)} files are available; run it again for the others")
    print(f"{len(names)} files are available")


if __name__ == "__main__":
    cli.run(main)
