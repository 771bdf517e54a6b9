"""Fetch evaluation pairs, focus stacks and training photographs by URL and sha256.

Files come from the public repositories they were published in, each pinned to a commit; most may be used
for research only, which is why they are fetched and not shipped. A file that the folder FUSION_DATA holds
already, byte for byte, is used from there.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / "build" / "photos"
EXAMPLES = """examples:
  python data_prep/fetch.py --list
  python data_prep/fetch.py clock pepsi lytro-tif
  python data_prep/fetch.py train          the 1000 photographs and 631 masks; `make data` then uses them

The training photographs come as they were published. The shipped weights were trained on copies of them
whose longer side is at most 512 (ILSVRC: 364) pixels, saved as JPEG of quality 92.
"""


@lru_cache(maxsize=None)
def registry() -> dict[str, dict[str, str]]:
    """What can be fetched, by file: sha256 ("" for masks, which their commit alone pins), source, url."""
    with open(HERE / "sources.csv", newline="") as file:
        sources = {row["source"]: row for row in csv.DictReader(file)}
    with open(HERE / "registry.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        source = sources[row["source"]]
        row["url"] = "https://raw.githubusercontent.com/{}/{}/{}".format(
            source["repo"], source["commit"], quote(row["path"])
        )
    return rows


def evaluation_hashes() -> set[str]:
    """sha256 of every image that fusion is judged on, to be kept out of training."""
    return {row["sha256"] for name, row in registry().items() if not name.startswith("train/")}


@lru_cache(maxsize=None)
def groups() -> dict[str, list[str]]:
    """Files by every name they can be asked for: SET, SET/NAME, and NAME where one set has it."""
    found: dict[str, list[str]] = {}
    for name, row in registry().items():
        parts = name.split("/")
        keys = ["train"] if parts[0] == "train" else [parts[-3], f"{parts[-3]}/{parts[-2]}"]
        if row["source"] == "bsds500":
            keys.append("bsds500")
        for key in keys:
            found.setdefault(key, []).append(name)
    short = [key.split("/")[1] for key in found if "/" in key]
    for key in [key for key in found if "/" in key]:
        name = key.split("/")[1]
        if short.count(name) == 1 and name not in found:
            found[name] = found[key]
    return found


def files(name: str) -> list[str]:
    """The files of a set, pair or stack; ValueError for a name that is none."""
    if name not in groups():
        several = [key for key in groups() if key.endswith(f"/{name}")]
        hint = f"name its set: {' or '.join(several)}" if several else "--list shows what there is"
        raise ValueError(f"no set or pair {name!r}: {hint}")
    return groups()[name]


def fetch(name: str, root=ROOT) -> Path:
    """The path of a registered file: in FUSION_DATA where the same bytes are there, else below `root`.

    Downloaded where it is missing, whole or not at all. OSError where it cannot be had.
    """
    row = registry()[name]
    shared = os.environ.get("FUSION_DATA")
    for folder in (shared, root):
        path = Path(folder or "", name)
        if folder and path.is_file() and _is(path, row["sha256"]):
            return path
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    target = Path(root, name)
    try:
        path = pooch.retrieve(
            row["url"], row["sha256"] or None, target.name, target.parent, pooch.HTTPDownloader(timeout=30)
        )
    except (ValueError, OSError, requests.RequestException) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{name} cannot be fetched from {row['url']}: {reason[:200]}") from None
    return Path(path)


def _is(path, sha256):
    return not sha256 or hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def pair(name: str, root=ROOT) -> list[Path]:
    """The images of an evaluation pair (or triple), in the order A, B, C."""
    return [fetch(file, root) for file in sorted(files(name))]


def main(argv=None):
    from tqdm import tqdm

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, pair or stack")
    parser.add_argument("--list", action="store_true", help="show the names and how many files each has")
    parser.add_argument("--out", default=ROOT, type=Path, help="where files go (default: build/photos)")
    args = parser.parse_args(argv)
    if args.list:
        for name, members in groups().items():
            print(f"{name:32s} {len(members):5d} files")
        return 0
    if not args.names:
        parser.error("give a name, or --list")
    wanted = list(dict.fromkeys(file for name in args.names for file in files(name)))

    def attempt(file):
        try:
            return fetch(file, args.out)
        except OSError as error:
            return error

    failures, folders = [], set()
    with ThreadPoolExecutor(8) as pool:
        work = pool.map(attempt, wanted)
        for result in tqdm(work, "fetching", len(wanted), unit="file", disable=None, leave=False):
            if isinstance(result, OSError):
                failures.append(result)
                if len(failures) >= 8 and not folders:  # nothing comes at all: no network
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
            else:
                folders.add(str(result.parent))
    for folder in sorted(folders)[:20]:
        print(folder)
    if failures:
        print(f"{failures[0]}", file=sys.stderr)
        raise OSError(f"{len(wanted) - len(failures) if folders else 0} of {len(wanted)} files are there")
    print(f"{len(wanted)} files are there")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"fetch.py: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
