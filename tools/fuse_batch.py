"""Many results in one command: what `tools/fuse.py --batch` does."""

from __future__ import annotations

import argparse
import csv
import logging
import os
import sys
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from two_stream_fusion.base.interrupts import delay_interrupt
from two_stream_fusion.base.parallel import process_pool
from two_stream_fusion.io import images
from two_stream_fusion.stack import frames

BESIDE = {"panel": ".png", "map": ".png", "maps": "", "json": ".json"}  # outputs: the endings of their files


def items(batch) -> list[tuple[str, list[Path]]]:
    """(name of the output, its images) of a CSV file or of a folder of folders.

    A line of the file: output,image,image,... with images relative to the file. A folder gives its name to
    the output. ValueError for what is neither, and for lines that do not fit.
    """
    batch = Path(batch)
    found = []
    if batch.is_dir():
        folders = (p for p in batch.iterdir() if p.is_dir() and not p.name.startswith("."))
        for folder in sorted(folders, key=frames.in_order):
            inside = frames.inside(folder)
            if inside:
                found.append((folder.name, inside))
    else:
        with open(batch, newline="", encoding="utf-8-sig") as file:
            try:
                rows = list(csv.reader(file))
            except (csv.Error, UnicodeDecodeError):
                raise ValueError(f"{batch}: not a CSV file of output,image,image,...") from None
        for number, row in enumerate(rows, start=1):
            cells = [cell.strip() for cell in row if cell.strip()]
            if not cells or cells[0].startswith("#"):
                continue
            if len(cells) < 2:
                raise ValueError(f"{batch}, line {number}: output,image,image,... is needed")
            found.append((cells[0], [batch.parent / cell for cell in cells[1:]]))
    if not found:
        wanted = "a result is a folder of images" if batch.is_dir() else "a result is a line OUTPUT,IMAGE,..."
        raise ValueError(f"{batch}: nothing to fuse there; {wanted}")
    names = [name for name, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"{batch}: {twice} is the output of two")
    return found


def whole(path) -> bool:
    """Whether there is an image at `path` that reads to its end."""
    try:
        images.read(path)
    except (OSError, ValueError):
        return False
    return True


def outputs(args, name) -> dict[str, Path]:
    """What is written for the item of that name: {option of tools/fuse.py: where, in the folder it names}."""
    path = Path(name)
    path = path if path.suffix.lower() in images.WRITABLE else path.with_name(path.name + ".png")
    found = {"output": Path(args.output) / path}
    for option, ending in BESIDE.items():
        if getattr(args, option):
            found[option] = Path(getattr(args, option)) / path.with_suffix(ending)
    return found


def run(args, fuse_one) -> int:
    """Fuse every item of args.batch into the folder args.output; 1 where any failed, else 0.

    args: of tools/fuse.py; its other outputs are folders too. fuse_one: called with those of one item, in a
    process of its own; gives what went wrong, or None. ValueError where two items have an output in common,
    or the output of one is an image of another.
    """
    left, failed, named = [], {}, {}
    skipped = 0
    found = items(args.batch)
    inputs = set(_inputs(found))
    for name, sources in found:
        paths = outputs(args, name)
        for path in paths.values():
            if path.exists() and _identity(path) in inputs:
                raise ValueError(f"{path}: is one of the images to fuse")
            if named.setdefault(path, name) != name:
                raise ValueError(f"{path}: named for {named[path]} and for {name}")
        if args.resume and whole(paths["output"]) and all(path.exists() for path in paths.values()):
            skipped += 1
            continue
        changes = {"batch": None, "images": [str(s) for s in sources]}
        changes.update({option: str(path) for option, path in paths.items()})
        changes.update(quiet=True, level=max(args.level, logging.WARNING))  # no bars, but warnings
        changes["new"] = not any(path.exists() for path in paths.values())
        if args.resume:
            changes["force"] = True  # what is there is not whole
        left.append(argparse.Namespace(**{**vars(args), **changes}))
    for folder in {path.parent for path in named}:
        folder.mkdir(parents=True, exist_ok=True)
    for number, (item, error) in enumerate(done(left, fuse_one, args), start=1):
        if error:
            failed[item.output] = error
            print(f"fuse.py: error: {error}", file=sys.stderr)
        logging.getLogger("fuse").info(
            "%d of %d: %s%s", number, len(left), item.output, " failed" * bool(error)
        )
    logging.getLogger("fuse").info(
        "%d fused, %d left out as whole, %d failed", len(left) - len(failed), skipped, len(failed)
    )
    return 1 if failed else 0


def _inputs(found):
    """The identities of all images that there are of `items`."""
    for _, sources in found:
        try:
            files = frames.find(sources)
        except (OSError, ValueError):  # said when its turn comes
            continue
        yield from (_identity(path) for path in files if path.exists())


def _identity(path):
    """What all names of one file have in common."""
    about = os.stat(path)
    return about.st_dev, about.st_ino


def done(left, fuse_one, args):
    """(item, error or None) of each, as they are finished.

    Where a process is killed, as where memory ends, those in work with it are done again, each alone.
    """
    left, again = list(left), []
    with tqdm(
        desc="batch", total=len(left), unit="result", disable=True if args.quiet else None, leave=False
    ) as bar:
        while left or again:
            some = left or [again.pop()]
            for item, error in _by_pool(some, fuse_one, args.jobs if left else 1, again):
                bar.update()
                yield item, error


def _by_pool(left, fuse_one, jobs, again):
    """`done` until `left` is empty or a process is killed: those in work then are put into `again`, but for
    one that was alone.
    """
    working = {}
    try:
        with process_pool(jobs) as pool:
            while left or working:
                with delay_interrupt():
                    while left and len(working) < jobs:
                        future = pool.submit(fuse_one, left[0])
                        working[future] = left.pop(0)
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    error = future.result()
                    yield working.pop(future), error
    except BrokenProcessPool:
        if jobs > 1:
            for item in working.values():
                item.force |= item.new  # what is there by now is its own, written just before
            again.extend(working.values())
        else:
            for item in working.values():
                yield item, f"{item.output}: a process was killed, as where memory ends"
