"""Many fusions in one command: what to fuse, and worker processes of which none takes another down."""

from __future__ import annotations

import csv
import glob
import os
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Hashable, Iterable, Iterator, Optional, Tuple

from two_stream_fusion.base.files import read_text
from two_stream_fusion.base.interrupts import delay_interrupt
from two_stream_fusion.base.parallel import KILLED, process_pool
from two_stream_fusion.io import images
from two_stream_fusion.outputs import Outputs
from two_stream_fusion.stack.frames import ENDINGS, find_images, images_in_folder, natural_key

SUFFIXES = {"panel": ".png", "choice_map": ".png", "map_folder": "", "report": ".json", "page": ".html"}


@dataclass(frozen=True)
class BatchItem:
    """One result of a batch.

    sources: words as find_images takes them. outputs: files of this item. is_new: none of them existed.
    """

    sources: list[Path]
    outputs: Outputs
    is_new: bool


FuseOne = Callable[[BatchItem], Optional[str]]
Outcome = Tuple[BatchItem, Optional[str]]


def read_batch(batch: str | Path) -> list[tuple[str, list[Path]]]:
    """The names of outputs and the images of each.

    Args:
        batch: a CSV file with lines output,image,image,... (images relative to the file), or a folder of
            folders, each of which gives its name to an output.

    Returns:
        (name, images) for each.

    Raises:
        OSError: there is no such file.
        ValueError: it is neither, or a line does not fit.
    """
    batch = Path(batch)
    lines = _read_folders(batch) if batch.is_dir() else _read_csv(batch)
    if not lines:
        form = "a result is a folder of images" if batch.is_dir() else "a result is a line OUTPUT,IMAGE,..."
        raise ValueError(f"{batch}: holds nothing to fuse; {form}")
    names = [name for name, _ in lines]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise ValueError(f"{batch}: {repeated} is the output of two lines")
    return lines


def plan_batch(
    batch: str | Path, folders: Outputs, resume: bool = False, anywhere: bool = False
) -> tuple[list[BatchItem], int]:
    """What is to be fused.

    Args:
        batch: as of `read_batch`.
        folders: for each kind of output, the folder that it goes to.
        resume: leave out what exists and is whole, and replace what is not.
        anywhere: outputs may lie outside of the folders.

    Returns:
        (items, number of those left out).

    Raises:
        ValueError: two items have an output in common, by whatever spelling; the output of one is an image of
            another; or, without `anywhere`, an output lies outside of the folder that it goes to.
    """
    lines = read_batch(batch)
    inputs, searches = set(_input_identities(lines)), _glob_patterns(lines)
    items: list[BatchItem] = []
    skipped = 0
    names: dict[Hashable, str] = {}
    for name, sources in lines:
        if not anywhere and _is_outside(name, folders.image):
            raise ValueError(f"{batch}: {name} leaves the folder {folders.image}; --anywhere allows that")
        outputs = item_outputs(name, folders)
        paths = [path for path in (*outputs.files(), outputs.map_folder) if path]
        for path in paths:
            identity = _identity(path)
            if identity in inputs:
                raise ValueError(f"{path}: is one of the images to fuse")
            if path.suffix.lower() in ENDINGS:
                real = Path(os.path.realpath(path))
                other = next((x for x, pattern in searches if x != name and real.match(pattern)), None)
                if other:
                    raise ValueError(f"{path}: is one of the images to fuse for {other}")
            if names.setdefault(identity, name) != name:
                raise ValueError(f"{path}: named for {names[identity]} and for {name}")
        if resume and outputs.image and is_whole(outputs.image) and all(path.exists() for path in paths):
            skipped += 1
            continue
        is_new = not any(path.exists() for path in paths)
        items.append(BatchItem(sources, replace(outputs, force=folders.force or resume), is_new))
    return items, skipped


def item_outputs(name: str, folders: Outputs) -> Outputs:
    """The outputs of the item of a name; a name without a suffix of an image becomes a PNG file.

    Args:
        name: of the item, a path relative to the folders of `folders`.
        folders: the outputs of the whole batch, whose paths are folders.

    Returns:
        The outputs of the item, whose paths are files.
    """
    path = Path(name)
    path = path if path.suffix.lower() in images.WRITABLE else path.with_name(path.name + ".png")
    paths: dict[str, Any] = {}
    for field, suffix in SUFFIXES.items():
        folder = getattr(folders, field)
        paths[field] = folder / path.with_suffix(suffix) if folder else None
    return replace(folders, image=folders.image / path if folders.image else None, **paths)


def is_whole(path: str | Path) -> bool:
    """Whether there is an image at `path` that reads to its end."""
    try:
        images.read(path)
    except (OSError, ValueError):
        return False
    return True


def run_batch(items: Iterable[BatchItem], fuse_one: FuseOne, jobs: int = 1) -> Iterator[Outcome]:
    """Fuse items in worker processes.

    A process may be killed, as where memory runs out. The items that were in work then are done again, each
    alone, so that only the one at fault fails.

    Args:
        items: what to fuse. Folders of outputs are made.
        fuse_one: called with an item in a worker process; gives an error message, or None. It must be
            importable there.
        jobs: the number of processes.

    Yields:
        (item, error message or None), in the order in which they are finished.
    """
    pending = list(items)
    retries: list[BatchItem] = []
    for item in pending:
        for path in (*item.outputs.files(), item.outputs.map_folder):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
    while pending or retries:
        group = pending or [retries.pop()]
        yield from _run_in_pool(group, fuse_one, jobs if pending else 1, retries)


def _run_in_pool(pending, fuse_one, jobs, retries) -> Iterator[Outcome]:
    """`run_batch` until `pending` is empty or a process is killed.

    Items that were in work then are added to `retries`, but for one that was alone.
    """
    working: dict[Future, BatchItem] = {}
    try:
        with process_pool(jobs) as pool:
            while pending or working:
                with delay_interrupt():
                    while pending and len(working) < jobs:
                        future = pool.submit(fuse_one, pending[0])
                        working[future] = pending.pop(0)
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    error = future.result()
                    yield working.pop(future), error
    except BrokenProcessPool:
        if jobs > 1:
            for item in working.values():
                force = item.outputs.force or item.is_new  # what exists by now is its own
                retries.append(replace(item, outputs=replace(item.outputs, force=force)))
        else:
            for item in working.values():
                yield item, f"{item.outputs.image}: {KILLED}"


def _read_folders(batch):
    folders = (p for p in batch.iterdir() if p.is_dir() and not p.name.startswith("."))
    lines = ((folder.name, images_in_folder(folder)) for folder in sorted(folders, key=natural_key))
    return [(name, paths) for name, paths in lines if paths]


def _read_csv(batch):
    lines = []
    description = "a CSV file of output,image,image,..."
    text = read_text(batch, description)
    try:
        rows = list(csv.reader(text.splitlines(keepends=True)))
    except csv.Error:
        raise ValueError(f"{batch}: not {description}") from None
    for number, row in enumerate(rows, start=1):
        output, *cells = [cell.strip() for cell in row] or [""]
        words = [cell for cell in cells if cell]
        if (not output and not words) or output.startswith("#"):
            continue
        if not output or not words:
            raise ValueError(f"{batch}, line {number}: output,image,image,... is needed")
        if "\0" in output + "".join(words) or Path(output).name in ("", ".."):
            raise ValueError(f"{batch}, line {number}: {output!r} is not a file name")
        lines.append((output, [batch.parent / word for word in words]))
    return lines


def _is_outside(name, folder):
    """Whether an output of this name lies outside of `folder`."""
    path = Path(name)
    if path.anchor or os.path.normpath(name).split(os.sep)[0] == os.pardir:
        return True
    if folder is None:
        return False
    real = Path(os.path.realpath((folder / path).parent))  # links inside lead to where they do
    inside = Path(os.path.realpath(folder))
    return inside != real and inside not in real.parents


def _input_identities(lines):
    """The identities of all images of a batch, of those that do not exist yet too."""
    for _, sources in lines:
        try:
            files = find_images(sources)
        except (OSError, ValueError):  # reported when its turn comes
            continue
        yield from map(_identity, files)


def _glob_patterns(lines):
    """[(name, pattern)]: where the folders and patterns of each line find images, as absolute patterns."""
    searches = []
    for name, sources in lines:
        for source in map(str, sources):
            if os.path.isdir(source):
                searches.append((name, os.path.join(glob.escape(os.path.realpath(source)), "*")))
            elif glob.has_magic(source) and not os.path.exists(source):
                folder, pattern = os.path.split(source)
                searches.append((name, os.path.join(glob.escape(os.path.realpath(folder)), pattern)))
    return searches


def _identity(path):
    """What all names of one file have in common; of a file that does not exist its real path."""
    try:
        status = os.stat(path)
        return status.st_dev, status.st_ino
    except OSError:
        real = os.path.realpath(path)
        return real.lower() if _ignores_case(real) else real


def _ignores_case(path):
    """Whether the file system of a path takes x.png and X.PNG for one name."""
    parent = next((p for p in Path(path).parents if p.exists()), Path(path).parent)
    other = Path(str(parent).swapcase())
    return other != parent and other.exists() and other.samefile(parent)
