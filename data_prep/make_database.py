"""Make HDF5 databases of training patches from photographs.

Every photograph becomes a pair focused on different parts of it, cut into patches. The databases
have the datasets a, b and label, bytes of rows x 4 channels (R, G, B and Rec.601 gray) x P x P, and the
lists train.txt and val.txt that Caffe's HDF5Data reads. Photographs go to training or to validation
as a whole. The same seed gives the same rows, whatever the number of workers.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import hashlib
import json
import math
import os
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, NamedTuple

import cv2
import numpy as np
import PIL
from tqdm import tqdm

from data_prep import fetch, photographs, recipes, regions
from data_prep.database import Database, row_bytes
from two_stream_fusion.base import cli, lens
from two_stream_fusion.base.files import atomic_folder
from two_stream_fusion.base.interrupts import delay_interrupt

BATCH, TESTED = 16, 1600  # patches in a batch of the nets, and in a test of the solvers
UNREAD = """no net reads {out} as it is: name its lists in a copy of prototxt/NAME/train_val.prototxt and the
copy in one of a solver, or let experiments/run.py do so (experiments/fig5d)"""
EXAMPLES = """examples:
  python data_prep/make_database.py                          what `make data` runs
  python data_prep/make_database.py --photos ~/Pictures --seed 7
  python data_prep/make_database.py --patch 25 --gray --out build/data_p25_gray
  python data_prep/make_database.py --recipe defocus --pairs 8   for a long training on a GPU

NAME.png beside a photograph NAME of another format is a mask: the object, over which one of the two
photographs is blurred, is where it is over 127. Photographs without one get a smooth random shape.
"""


def planes(rgb, gray=False):
    """H x W x 3 uint8 as the nets' 4 x H x W: R, G, B and Rec.601 gray, rounded; all four gray if asked."""
    luma = ((rgb @ np.array([299, 587, 114], np.uint32) + 500) // 1000).astype(np.uint8)
    return np.stack([luma] * 4 if gray else [*np.moveaxis(rgb, 2, 0), luma])


def corners(height, width, size, stride):
    """The upper left corners of all whole patches on a grid, row by row."""
    return [(y, x) for y in range(0, height - size + 1, stride) for x in range(0, width - size + 1, stride)]


def patch_datasets(settings):
    """The datasets of patches: a, b and label, 4 x P x P bytes a row."""
    return dict.fromkeys(("a", "b", "label"), ((4, settings["patch"], settings["patch"]), "uint8"))


def count_patches(shape, settings):
    """How many patches a photograph of H x W gives."""
    return len(corners(*shape, settings["patch"], settings["stride"]))


def patches(entry, settings):
    """The patches of a photograph's pair, one after another: a, b and label of each."""
    images, size = pair(entry, settings), settings["patch"]
    for y, x in corners(*entry["shape"], size, settings["stride"]):
        yield [image[:, y : y + size, x : x + size] for image in images]


class Rows(NamedTuple):
    """A kind of database: its name, the datasets, how many rows a photograph gives, and the rows."""

    name: str
    datasets: Callable  # of settings: {name: (shape of a row, dtype)}
    count: Callable  # of the photograph's (H, W) and settings; 0 where it is too small
    make: Callable  # of an entry of `plan` and settings: as many rows, each the arrays of the datasets
    regions: bool = False  # whether photographs have an object, so that masks matter


PATCHES = Rows("pairs", patch_datasets, count_patches, patches, regions=True)


def inspect(source):
    """What is needed to plan with a photograph, or why it cannot serve."""
    path, mask = source
    try:
        image, sha256 = photographs.read(path)
    except (ValueError, OSError) as error:
        return {"path": path, "error": getattr(error, "strerror", None) or str(error)}
    entry = {"path": path, "mask": mask, "sha256": sha256, "shape": image.shape[:2], "error": None}
    if mask:
        try:
            photographs.read_mask(mask, image.shape[:2])
        except (ValueError, OSError) as error:
            entry.update(mask=None, warning=f"{mask}: {error}: a random shape is used instead")
    return entry


def reread(entry, settings):
    """An inspected photograph, and random numbers of its own: they depend neither on the others nor on
    the order of work."""
    image, sha256 = photographs.read(entry["path"])
    if sha256 != entry["sha256"]:
        raise ValueError(f"{entry['path']}: changed while it was used")
    draw = [entry["draw"]] if entry.get("draw") else []
    return image, np.random.default_rng([settings["seed"], int(sha256[:16], 16), *draw])


def pair(entry, settings):
    """The pair made of a photograph, and the photograph: a, b, label, each 4 x H x W uint8."""
    image, rng = reread(entry, settings)
    region = regions.shape(*image.shape[:2], rng)  # drawn always: a mask changes nothing else
    if entry["mask"]:
        region = photographs.read_mask(entry["mask"], image.shape[:2])
    if entry.get("recolour"):
        image = recipes.recoloured(image, rng)
    if settings["gray"]:
        image = np.moveaxis(planes(image, gray=True)[:3], 0, 2)
    a, b, label = recipes.RECIPES[settings["recipe"]](image, region, rng)
    if rng.integers(2):
        a, b = b, a
    return [planes(x, settings["gray"]) for x in (a, b, label)]


def plan(sources, settings, pool, kind=PATCHES):
    """Inspect the photographs and divide them: {"train": entries, "val": entries}, Counter of skips."""
    evaluation, seen, usable, skipped = fetch.evaluation_hashes(), {}, [], Counter()

    def skip(entry, kind, reason):
        print(f"skipped: {entry['path']}: {reason}", file=sys.stderr)
        skipped[kind] += 1

    masked = [(path, mask if kind.regions else None) for path, mask in sources]
    for entry in each(pool, inspect, masked, "reading"):
        if entry["error"]:
            skip(entry, "unreadable", entry["error"])
        elif entry["sha256"] in evaluation:
            skip(entry, "evaluation", "an image that fusion is judged on")
        elif entry["sha256"] in seen:
            skip(entry, "duplicate", f"the same file as {seen[entry['sha256']]}")
        elif not kind.count(entry["shape"], settings):
            skip(entry, "small", "smaller than a patch")
        else:
            if "warning" in entry:
                print(f"warning: {entry['warning']}", file=sys.stderr)
            seen[entry["sha256"]] = entry["path"]
            entry["patches"] = kind.count(entry["shape"], settings)
            usable.append(entry)
    if len(usable) < 2:
        raise ValueError(f"{len(usable)} usable photographs; two are needed, for training and validation")
    # Sorted by content, so that neither names nor folders matter.
    usable.sort(key=lambda entry: entry["sha256"])
    order = np.random.default_rng(settings["seed"]).permutation(len(usable))
    held_back = min(max(1, round(settings["val_share"] * len(usable))), len(usable) - 1)
    return {
        "train": [usable[i] for i in order[held_back:]],
        "val": [usable[i] for i in order[:held_back]],
    }, skipped


def drawn(split, entries, settings):
    """An entry for each pair that is made of photographs. For training several of each, or in other colours,
    if asked."""
    asked = settings if split == "train" else {}
    more = {"recolour": True} if asked.get("recolour") else {}
    return [{**entry, **more, "draw": draw} for draw in range(asked.get("pairs", 1)) for entry in entries]


def write(split, entries, folder, settings, pool, kind=PATCHES):
    """Write the patches of `entries`, shuffled over all of them; the files' names and the number of rows."""
    entries = drawn(split, entries, settings)
    ends = np.cumsum([entry["patches"] for entry in entries])
    rows = np.random.default_rng([settings["seed"], split == "val"]).permutation(ends[-1])
    kept = min(len(rows), settings["val_patches"] or len(rows)) if split == "val" else len(rows)
    with delay_interrupt():
        database = Database(folder / split, kept, kind.datasets(settings))

    def put(job):
        entry, places = job
        for row, arrays in zip(places, kind.make(entry, settings)):
            if row < kept:
                database.put(row, arrays)

    each(pool, put, zip(entries, np.split(rows, ends[:-1])), f"{split} rows")
    return [f"{split}/{path.name}" for path, _ in database.files], kept


def each(pool, function, items, label):
    """[function(item) for item in items] by the threads of `pool`, with a progress bar."""
    futures = []
    try:
        with delay_interrupt():
            futures += [pool.submit(function, item) for item in items]
        return [f.result() for f in tqdm(futures, label, unit="photo", disable=None, leave=False)]
    finally:
        for future in futures:
            future.cancel()  # what has not begun when something fails, or at Ctrl-C


def described(sources, root, settings, kind=PATCHES):
    """What decides the rows, as manifests begin: kind and settings, programs, photographs (`fingerprint`)."""
    maker = sys.modules[kind.make.__module__]
    used = {str(getattr(v, "__module__", getattr(v, "__name__", None))) for v in vars(maker).values()}
    methods = {sys.modules[name] for name in used if name.startswith("two_stream_fusion.")}
    makers = {photographs, recipes, regions, lens, sys.modules[__name__], maker} | methods
    files = {module.__file__ for module in makers}
    code = sorted(Path(file).read_bytes() for file in files)
    versions = {"numpy": np.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__}
    return {
        "kind": kind.name,
        **settings,
        "made_with": {**versions, "code": hashlib.sha256(b"".join(code)).hexdigest()},
        "sources": photographs.fingerprint(sources, root),
    }


def listed(entry, split, root, kind):
    """A photograph as the manifest lists it."""
    return {
        "file": os.path.relpath(entry["path"], root),
        "sha256": entry["sha256"],
        "set": split,
        **({"region": "mask" if entry["mask"] else "shape"} if kind.regions else {}),
        "patches": entry["patches"],
    }


def kind_of(folder):
    """The name of the kind of the database in a folder, by its manifest; None where there is none."""
    try:
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or not {"rows", "photographs"} <= set(manifest):
        return None
    return manifest.get("kind")


def make(sources, root, out, settings, workers=None, kind=PATCHES):
    """Make databases of a kind from (photograph, mask) pairs in the folder `out`; returns the manifest.

    An older database in `out` is replaced once the new one is whole. ValueError where `out` is a
    folder of something else or of another kind, another run is making it, the disk is too small, or too few
    photographs can be used.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        there = kind_of(out)
        if there is None:
            raise ValueError(f"{out}: exists and is not a database made by this program")
        if there != kind.name:
            raise ValueError(f"{out}: a database of kind {there}, not {kind.name}: give another --out")
    if len(out.as_posix().split()) != 1:
        raise ValueError(f"{str(out)!r}: Caffe reads no path with a space in it")
    origin = described(sources, root, settings, kind)
    cv2.setNumThreads(1)  # the photographs are what is done in parallel
    # Threads will do: decoding, hashing, blurring and writing all leave Python to the others.
    with atomic_folder(out) as part, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        splits, skipped = plan(sources, settings, pool, kind)
        rows = sum(e["patches"] for split, es in splits.items() for e in drawn(split, es, settings))
        needed = rows * row_bytes(kind.datasets(settings))
        if needed > shutil.disk_usage(part).free:
            size = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{math.ceil(needed / 1e6)} MB"
            raise ValueError(f"{out}: {size} are needed on this disk, more than is free")
        manifest = {**origin, "skipped": dict(skipped), "rows": {}, "sha256": {}, "photographs": []}
        for split, entries in splits.items():
            names, manifest["rows"][split] = write(split, entries, part, settings, pool, kind)
            (part / f"{split}.txt").write_text("".join(f"{out.as_posix()}/{name}\n" for name in names))
            hashes = {name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in names}
            manifest["sha256"].update(hashes)
            manifest["photographs"] += [listed(entry, split, root, kind) for entry in entries]
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def choose(photos, unreadable=None):
    """(photographs, their folder, where they come from in words) for --photos or the default.

    unreadable: as of photographs.find. ValueError where --photos is no folder, or there are none at all.
    """
    if photos:
        if not os.path.isdir(photos):
            raise ValueError(f"{photos}: no such folder")
        return photographs.find(photos, unreadable), photos, photos
    found, missing = fetched(unreadable)
    shared = os.environ.get("FUSION_DATA")
    folder = os.path.join(shared, "train") if shared else None
    given = photographs.find(folder, unreadable) if shared and os.path.isdir(folder) else []
    if found and (not missing or len(found) >= len(given)):
        more = f"; {missing} files are missing: data_prep/fetch.py train goes on" if missing else ""
        return found, fetch.ROOT / "train", f"build/photos/train (fetched{more})"
    if given:
        return given, folder, "the training photographs of FUSION_DATA"
    found = photographs.bundled()
    if not found:
        raise ValueError("no photographs: give --photos DIR, or run data_prep/fetch.py train")
    none = f"; FUSION_DATA has none: {folder}" if shared else ""
    words = f"the photographs inside scikit-image (PHOTOS=DIR uses yours{none})"
    return found, os.path.dirname(found[0][0]), words


def fetched(unreadable=None):
    """(as of photographs.find what `data_prep/fetch.py train` has fetched, how many files are missing)."""
    folder, files = fetch.ROOT / "train", [Path(file).name for file in fetch.files("train")]
    masks = {name for name in files if name.endswith(".png")}  # no photographs where theirs are missing
    found = photographs.find(folder, unreadable) if folder.is_dir() else []
    found = [(path, mask) for path, mask in found if Path(path).name not in masks]
    return found, sum(not (folder / name).is_file() for name in files)


def number(least):
    """A type of argparse: a whole number from `least` on."""

    def integer(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}, but it is {least} or more")
        return value

    return integer


def share(text):
    """A type of argparse: between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}, but it is between 0 and 1")
    return value


def common():
    """A parser for the options of all programs that make databases, for their `parents`."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument_group("of all databases").add_argument
    add("--photos", metavar="DIR", help="a folder of photographs, searched in depth (default: those of"
        " data_prep/fetch.py train or of the folder train in the environment variable FUSION_DATA, whichever"
        " has more, else those inside scikit-image)")  # fmt: skip
    add("--val-share", type=share, default=0.1, help="share of photographs held back (default: %(default)s)")
    add("--seed", type=number(0), default=1, help="(default: %(default)s)")
    add(
        "--workers",
        type=number(1),
        default=os.cpu_count(),
        help="photographs in work at a time (default: one for each core)",
    )
    return parser


def arguments(argv, refuse=None):
    """Parse a command line. refuse: called with what is wrong with it, to raise; else argparse exits."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
    )
    add = parser.add_argument
    add("--out", metavar="DIR", help="where the databases go, replacing those there (default: build/data, as"
        " the nets name it, or build/data_pP for patches of another size P than 50)")  # fmt: skip
    add(
        "--recipe",
        choices=sorted(recipes.RECIPES),
        default="paper",
        help="how pairs are blurred (default: %(default)s)",
    )
    add("--patch", type=number(1), default=50, metavar="P", help="side of the patches (default: %(default)s)")
    add("--stride", type=number(1), help="distance between patches (default: their side, no overlap)")
    add("--pairs", type=number(1), default=1, metavar="N", help="pairs made of each photograph to train on,"
        " each with a region and blur of its own (default: %(default)s)")  # fmt: skip
    add("--recolour", action="store_true", help="train on half the pairs in other colours, most of them"
        " saturated, which in photographs are rare")  # fmt: skip
    add("--gray", action="store_true", help="make the photographs gray first")
    add("--val-patches", type=number(0), default=TESTED, metavar="N", help="validation patches kept at most;"
        " the solvers test on 100 batches of 16 (default: %(default)s, 0: all)")  # fmt: skip
    parser.error = refuse or parser.error
    args = parser.parse_args(argv)
    args.stride = args.stride or args.patch
    args.out = args.out or default_out(args.patch)
    return args


def default_out(patch):
    """Where databases of a size of patches go."""
    return "build/data" if patch == 50 else f"build/data_p{patch}"


def run(photos, out, settings, workers, kind=PATCHES):
    """Make the databases of a command and report what they hold; returns the manifest."""
    sources, root, words = choose(
        photos, lambda error: print(f"skipped: {error.filename}: {error.strerror}", file=sys.stderr)
    )
    print(f"photographs: {len(sources)} of {words}", flush=True)
    manifest = make(sources, root, out, settings, workers, kind)
    for split in ("train", "val"):
        used = sum(p["set"] == split for p in manifest["photographs"])
        print(f"{out}/{split}.txt: {manifest['rows'][split]} patches of {used} photographs")
    if manifest["skipped"]:
        print("skipped: " + ", ".join(f"{n} {kind}" for kind, n in sorted(manifest["skipped"].items())))
    return manifest


def settings_of(args):
    """The settings of pairs in parsed `arguments`."""
    names = ("recipe", "patch", "stride", "pairs", "recolour", "gray", "val_share", "val_patches", "seed")
    return {name: getattr(args, name) for name in names}


def main(argv=None):
    args = arguments(argv)
    count = run(args.photos, args.out, settings_of(args), args.workers)["rows"]["val"]
    if count < TESTED:
        batch = max(n for n in range(1, BATCH + 1) if count % n == 0)
        print(
            f"{count} validation patches: with batch_size {batch} to test in a copy of the net, test_iter"
            f" {count // batch} in the solver goes over each once"
        )
    if args.patch != 50 and args.out == default_out(args.patch):
        print(UNREAD.format(out=args.out))


if __name__ == "__main__":
    cli.run(main)
