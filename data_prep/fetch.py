"""Fetch evaluation pairs, focus stacks and training photographs by URL and sha256.

Files come from the public repositories they were published in, each pinned to a commit; most may be used
for research only, which is why they are fetched and not shipped. A file that the folder FUSION_DATA holds
already, byte for byte (or saved as PNG, of a known sha256), is used from there; what has been fetched
stays.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from two_stream_fusion.base import cli
from two_stream_fusion.base.interrupts import delay_interrupt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / "build" / "photos"
URL = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
EXAMPLES = """examples:
  python data_prep/fetch.py --list
  python data_prep/fetch.py clock pepsi lytro-tif
  python data_prep/fetch.py train          1000 photographs and 631 masks; `make data` then uses them
  python data_prep/fetch.py bsds500        those of them that come from BSDS500, with their masks

The training photographs come as they were published. The shipped weights were trained on copies of them
saved as JPEG of quality 92, those of ILSVRC scaled to 364 pixels, and on the largest region of each mask.
"""


@lru_cache(maxsize=None)
def registry() -> dict[str, dict[str, str]]:
    """What can be fetched, by file: its url, sha256, and png_sha256 where a copy saved as PNG is known.

    The sha256 of a mask is not known (""): its commit alone pins it.
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


@lru_cache(maxsize=None)
def groups() -> dict[str, list[str]]:
    """Files by every name they can be asked for: SET, SET/NAME, and NAME where one set has it."""
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


def files(name: str) -> list[str]:
    """The files of a set, pair or stack; ValueError for a name that is none."""
    if name not in groups():
        several = [key for key in groups() if key.endswith(f"/{name}")]
        hint = f"name its set: {' or '.join(several)}" if several else "fetch.py --list shows what there is"
        raise ValueError(f"no set or pair {name!r}: {hint}")
    return groups()[name]


def fetch(name: str, root=ROOT) -> Path:
    """The path of a registered file: in FUSION_DATA where the same bytes are there, else below `root`.

    Downloaded where it is missing, whole or not at all. OSError where it cannot be had.
    """
    row, target = registry()[name], Path(root, name)
    if os.environ.get("FUSION_DATA"):
        given = Path(os.environ["FUSION_DATA"], name)
        for path, sha256 in ((given, row["sha256"]), (given.with_suffix(".png"), row["png_sha256"])):
            if sha256 and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
                return path
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    download = pooch.HTTPDownloader(timeout=30)
    try:
        pooch.retrieve(row["url"], row["sha256"] or None, target.name, target.parent, downloader=download)
    except requests.ConnectionError:
        raise OSError(f"{name} cannot be fetched: no connection to {row['url']}") from None
    except (ValueError, OSError) as error:  # another sha256; HTTP errors, a full disk
        reason = " ".join(str(error).split())[:200]
        raise OSError(f"{name} cannot be fetched: {reason}") from None
    return target


def pair(name: str, root=ROOT) -> list[Path]:
    """The images to fuse of an evaluation pair (or triple), in the order A, B, C.

    ValueError for a name that is none of these, OSError where an image cannot be had.
    """
    roles = {Path(file).stem[-2:]: file for file in files(name)}
    members = [roles[role] for role in ("_A", "_B", "_C") if role in roles]
    if len({Path(file).parent for file in files(name)}) != 1 or len(members) < 2:
        raise ValueError(f"{name} is a set or a stack, not a pair")
    return [fetch(file, root) for file in members]


def pairs(name: str) -> list[str]:
    """The pairs of a set, or a pair itself, by the names `pair` takes; ValueError where there is none."""
    found = []
    for member in dict.fromkeys("/".join(file.split("/")[-3:-1]) for file in files(name)):
        roles = {Path(file).stem[-2:] for file in groups().get(member, ())}
        if {"_A", "_B"} <= roles and "_C" not in roles:
            found.append(member)
    if not found:
        raise ValueError(f"{name}: no pairs are in it")
    return found


def fetch_all(wanted, root) -> tuple[list[Path], list[OSError]]:
    """Fetch files, eight at a time: what is there now, and why the others are not.

    Gives up where the first eight all fail, as they do without a network.
    """
    from tqdm import tqdm

    there, failures = [], []
    with ThreadPoolExecutor(8) as pool:
        futures = []
        try:
            with delay_interrupt():
                futures += [pool.submit(fetch, file, root) for file in wanted]
            for future in tqdm(futures, "fetching", unit="file", disable=None, leave=False):
                try:
                    there.append(future.result())
                except OSError as error:
                    failures.append(error)
                if len(failures) == 8 and not there:
                    break
        finally:
            for future in futures:
                future.cancel()
    return there, failures


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, pair or stack")
    parser.add_argument("--list", action="store_true", help="show the names and how many files each has")
    parser.add_argument("--out", default=ROOT, type=Path, help="where files go (default: build/photos)")
    args = parser.parse_args(argv)
    if args.list:
        for name, members in groups().items():
            print(f"{name:32s} {len(members):5d} files")
        return
    if not args.names:
        parser.error("give a name, or --list")
    wanted = list(dict.fromkeys(file for name in args.names for file in files(name)))
    there, failures = fetch_all(wanted, args.out)
    for folder in sorted({os.path.relpath(path.parent) for path in there}):
        print(folder)
    if failures:
        print(failures[0], file=sys.stderr)
        raise OSError(f"{len(there)} of {len(wanted)} files are there; run it again for the others")
    print(f"{len(wanted)} files are there")


if __name__ == "__main__":
    cli.run(main)
