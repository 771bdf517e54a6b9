"""Make HDF5 databases of training patches from photographs.

Every photograph becomes a pair focused on different parts of it, cut into patches. The databases
have the datasets a, b and label, bytes of rows x 4 channels (R, G, B and Rec.601 gray) x P x P, and the
lists train.txt and val.txt that Caffe's HDF5Data reads. Photographs go to training or to validation
as a whole. The same seed gives the same rows, whatever the number of workers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import h5py
import numpy as np
from tqdm import tqdm

from data_prep import fetch, photographs, regions
from data_prep.recipes import RECIPES

NAMES = ("a", "b", "label")
ROWS = 2048  # in a file: 61 MB of 50x50 patches, 245 MB as the floats that Caffe makes of them
EXAMPLES = """examples:
  python data_prep/make_database.py                          what `make data` runs
  python data_prep/make_database.py --photos ~/Pictures --seed 7
  python data_prep/make_database.py --patch 25 --gray --out build/data_p25_gray
"""


def channels(rgb, gray=False):
    """H x W x 3 uint8 as H x W x 4: R, G, B and Rec.601 gray, rounded; all four gray if asked."""
    luma = np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    return np.repeat(luma, 4, axis=2) if gray else np.concatenate([rgb, luma], axis=2)


def cut(image, size, stride):
    """All whole patches of H x W x C on a grid, N x C x size x size, row by row."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))
    return windows[::stride, ::stride].reshape(-1, image.shape[2], size, size)


def count(height, width, size, stride):
    """How many patches `cut` gives."""
    return max(0, (height - size) // stride + 1) * max(0, (width - size) // stride + 1)


def inspect(source):
    """What is needed to plan with a photograph, or why it cannot serve."""
    path, mask = source
    try:
        image, sha256 = photographs.read(path)
    except (ValueError, OSError) as error:
        return {"path": path, "error": str(error)}
    entry = {"path": path, "mask": mask, "sha256": sha256, "shape": image.shape[:2], "error": None}
    if mask:
        try:
            photographs.read_mask(mask, image.shape[:2])
        except (ValueError, OSError) as error:
            entry.update(mask=None, warning=f"{mask}: {error}: a generated shape is used")
    return entry


def patches(entry, settings):
    """The patches of one photograph: a, b, label, each N x 4 x P x P uint8."""
    image, sha256 = photographs.read(entry["path"])
    if sha256 != entry["sha256"]:
        raise ValueError(f"{entry['path']}: changed while it was used")
    # The photograph's own random numbers: they do not depend on the others, nor on the order of work.
    rng = np.random.default_rng([settings["seed"], int(sha256[:16], 16)])
    shape = image.shape[:2]
    generated = regions.shape(*shape, rng)
    region = photographs.read_mask(entry["mask"], shape) if entry["mask"] else generated
    if settings["gray"]:
        image = channels(image, gray=True)[..., :3]
    a, b, label = RECIPES[settings["recipe"]](image.astype(np.float32), region, rng)
    if rng.integers(2):
        a, b = b, a
    return [
        cut(
            channels(np.clip(np.rint(x), 0, 255).astype(np.uint8), settings["gray"]),
            settings["patch"],
            settings["stride"],
        )
        for x in (a, b, label)
    ]


def plan(sources, settings, pool):
    """Inspect the photographs and divide them: {"train": entries, "val": entries}, Counter of skips."""
    evaluation, seen, usable, skipped = fetch.evaluation_hashes(), {}, [], Counter()

    def skip(entry, kind, reason):
        tqdm.write(f"skipped: {entry['path']}: {reason}", file=sys.stderr)
        skipped[kind] += 1

    results = pool.imap(inspect, sources, chunksize=4)
    for entry in tqdm(results, "reading", len(sources), unit="photo", disable=None, leave=False):
        if entry["error"]:
            skip(entry, "unreadable", entry["error"])
        elif entry["sha256"] in evaluation:
            skip(entry, "evaluation", "an image that fusion is judged on")
        elif entry["sha256"] in seen:
            skip(entry, "double", f"the same file as {seen[entry['sha256']]}")
        elif not count(*entry["shape"], settings["patch"], settings["stride"]):
            skip(entry, "small", "smaller than a patch")
        else:
            if "warning" in entry:
                tqdm.write(f"warning: {entry['warning']}", file=sys.stderr)
            seen[entry["sha256"]] = entry["path"]
            entry["patches"] = count(*entry["shape"], settings["patch"], settings["stride"])
            usable.append(entry)
    if len(usable) < 2:
        raise ValueError(f"{len(usable)} usable photographs; two are needed, for training and validation")
    # Sorted by content, so that neither names nor folders matter.
    usable.sort(key=lambda entry: entry["sha256"])
    order = np.random.default_rng(settings["seed"]).permutation(len(usable))
    held_back = max(1, round(settings["val_share"] * len(usable)))
    held_back = min(held_back, len(usable) - 1)
    return {
        "train": [usable[i] for i in order[held_back:]],
        "val": [usable[i] for i in order[:held_back]],
    }, skipped


def allocate(path, rows, patch):
    """An HDF5 file with room for `rows` patches; its datasets as arrays mapped onto the file."""
    shape = (rows, 4, patch, patch)
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # no time of day in the file: the same rows are the same bytes
    offsets = {}
    with h5py.File(path, "w") as file:
        for name in NAMES:
            dataset = h5py.h5d.create(
                file.id, name.encode(), h5py.h5t.STD_U8LE, h5py.h5s.create_simple(shape), layout
            )
            offsets[name] = dataset.get_offset()
    return [np.memmap(path, np.uint8, "r+", offsets[name], shape) for name in NAMES]


def write(split, entries, folder, settings, pool):
    """Write the patches of `entries`, shuffled over all of them; the names of the files and the rows.

    Every patch is put straight into its place, so one photograph at a time is in memory.
    """
    counts = [entry["patches"] for entry in entries]
    total = sum(counts)
    places = np.random.default_rng([settings["seed"], split == "val"]).permutation(total)
    kept = min(total, settings["val_patches"] or total) if split == "val" else total
    (folder / split).mkdir(parents=True)
    names = [f"{split}/{i:03d}.h5" for i in range(-(-kept // ROWS))]
    files = [
        allocate(folder / name, min(ROWS, kept - i * ROWS), settings["patch"]) for i, name in enumerate(names)
    ]
    first = 0
    work = pool.imap(partial(patches, settings=settings), entries)
    for number, stacks in zip(tqdm(counts, f"{split} pairs", unit="photo", disable=None, leave=False), work):
        where = places[first : first + number]
        first += number
        for i, file in enumerate(files):
            here = np.flatnonzero(where // ROWS == i)
            here = here[where[here] < kept]
            for dataset, stack in zip(file, stacks):
                dataset[where[here] - i * ROWS] = stack[here]
    for file in files:
        for dataset in file:
            dataset.flush()
    return names, kept


def make(sources, root, out, settings, workers=None):
    """Make the databases from (photograph, mask) pairs in the folder `out`; returns the manifest.

    An older database in `out` is replaced once the new one is whole. ValueError where `out` is a
    folder of something else, the disk is too small, or too few photographs can be used.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise ValueError(f"{out}: exists and is not a database made by this program")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with multiprocessing.Pool(workers, initializer=_start_worker) as pool:
            splits, skipped = plan(sources, settings, pool)
            needed = sum(e["patches"] for es in splits.values() for e in es) * 12 * settings["patch"] ** 2
            if needed > shutil.disk_usage(part).free:
                raise ValueError(f"{out}: {needed / 1e9:.1f} GB are needed on this disk, more than is free")
            manifest = {**settings, "skipped": dict(skipped), "rows": {}, "photographs": []}
            for split, entries in splits.items():
                names, manifest["rows"][split] = write(split, entries, part, settings, pool)
                (part / f"{split}.txt").write_text("".join(f"{out.as_posix()}/{name}\n" for name in names))
                manifest["photographs"] += [
                    {
                        "file": os.path.relpath(entry["path"], root),
                        "sha256": entry["sha256"],
                        "set": split,
                        "region": "mask" if entry["mask"] else "shape",
                        "patches": entry["patches"],
                    }
                    for entry in entries
                ]
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        old = out.with_name(out.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            os.rename(out, old)
        os.rename(part, out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _start_worker():
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)


def choose(photos):
    """(photographs, their folder, where they come from in words) for --photos or the default."""
    if photos:
        if not os.path.isdir(photos):
            raise ValueError(f"{photos}: no such folder")
        return photographs.find(photos), photos, photos
    fetched = fetch.ROOT / "train"
    if photographs.find(fetched):
        return photographs.find(fetched), fetched, "build/photos/train (fetched)"
    shared = os.environ.get("FUSION_DATA")
    if shared and os.path.isdir(os.path.join(shared, "train")):
        folder = os.path.join(shared, "train")
        return photographs.find(folder), folder, "the training photographs of FUSION_DATA"
    found = photographs.bundled()
    return found, os.path.dirname(found[0][0]), "the photographs inside scikit-image (PHOTOS=DIR uses yours)"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", metavar="DIR", help="a folder of photographs, searched in depth (default: fetched ones,"
        " else those inside scikit-image)")  # fmt: skip
    add("--out", default="build/data", help="where the databases go (default: %(default)s)")
    add("--recipe", choices=sorted(RECIPES), default="paper", help="how pairs are blurred")
    add("--patch", type=int, default=50, help="side of the patches (default: %(default)s)")
    add("--stride", type=int, help="distance between patches (default: their side, no overlap)")
    add("--gray", action="store_true", help="make the photographs gray first")
    add("--val-share", type=float, default=0.1, help="share of photographs held back (default: %(default)s)")
    add("--val-patches", type=int, default=1600, metavar="N", help="validation patches kept at the most; the"
        " solvers test on 100 batches of 16 (default: %(default)s, 0: all)")  # fmt: skip
    add("--seed", type=int, default=1, help="(default: %(default)s)")
    add("--workers", type=int, help="processes (default: one for each core)")
    args = parser.parse_args(argv)
    args.stride = args.stride or args.patch
    if args.patch < 1 or args.stride < 1 or not 0 < args.val_share < 1:
        parser.error("--patch and --stride are 1 or more, --val-share between 0 and 1")
    sources, root, words = choose(args.photos)
    print(f"photographs: {len(sources)} of {words}", flush=True)
    names = ("recipe", "patch", "stride", "gray", "val_share", "val_patches", "seed")
    settings = {name: getattr(args, name) for name in names}
    manifest = make(sources, root, args.out, settings, args.workers)
    for split in ("train", "val"):
        used = sum(p["set"] == split for p in manifest["photographs"])
        print(f"{args.out}/{split}.txt: {manifest['rows'][split]} patches of {used} photographs")
    if manifest["skipped"]:
        print("skipped: " + ", ".join(f"{n} {kind}" for kind, n in sorted(manifest["skipped"].items())))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"make_database.py: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
