"""Fuse your own pairs, or whole sets of pairs, by every method and score them: one CSV, a table of means.

Images that other methods fused are scored with them (--fused).
Fused images are kept, and computed again only after a change (eval/results.py).
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import re
import sys
from pathlib import Path
from typing import Collection, Mapping, Sequence

from data_prep import fetch
from eval import compare_page, pairs, results
from eval.tables import Rows, count_wins, latex_float, markdown_table
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.metrics import is_higher_better, select_names
from two_stream_fusion.report.page import write_page
from two_stream_fusion.stack import frames

EXAMPLES = """examples:
  python eval/compare.py ~/pairs                          a folder of NAME_A.png and NAME_B.png, or of folders
  python eval/compare.py lytro-tif mffw --methods LP,GF,CNN,Ours
  python eval/compare.py ~/pairs --fused ~/others --truth ~/clean --metrics all
  python eval/compare.py lytro-tif --fused ~/others --methods none      score others' images alone
  python eval/compare.py ~/pairs --truth ~/clean --report build/compare.html      a page for a browser
  python eval/compare.py ~/pairs --set PSFs:area=0.01 --set LP:levels=5 --out build/mine

A pair is NAME_A and NAME_B (or NAME_1 and NAME_2) of one size, NAME in the folders A and B (near and far, 1
and 2, source_1 and source_2), or the two images of a folder. NAME_truth, or NAME in a folder truth, is the
ground truth, and adds PSNR and SSIM where all pairs have one; so is NAME in the folder of --truth.
Of other methods, --fused has a folder for each, with NAME or NAME_anything in it; its name is the row's. A
folder `fused` of such folders beside the pairs is taken too. Two images of different scenes are no pair. A
16-bit copy of an 8-bit image is fused and scored as its original. Sets are those of
`python data_prep/fetch.py --list`. Images that cannot be read, fused or scored are named, the rest is done,
and the status is 1. Written to --out: scores.csv, a line for each pair and method; summary.md; summary.tex, a
LaTeX table with a caption; fused/.
"""


FUSED = "fused"  # in a folder of pairs: images of other methods


def find_all_pairs(
    names: Sequence[str], skip: Path | None = None
) -> tuple[list[results.PairName], dict[str, str]]:
    """Find the pairs of folders and of sets of data_prep/fetch.py.

    Args:
        names: folders, sets or pairs.
        skip: a folder to leave out: where results go. FUSED in a folder is left out too.

    Returns:
        The pairs, each once, and {image: why it is in no pair}.

    Raises:
        ValueError: an unknown name, or a folder without a pair.
    """
    by_files, rejected = {}, {}
    for name in names:
        if not Path(name).is_dir():
            by_files.update(dict.fromkeys(fetch.pair_names(name)))
            continue
        in_folder, unpaired = pairs.find_pairs(name, skip, _fused_folder(name))
        if not in_folder:
            raise ValueError(
                f"{name}: no pair there: NAME_A and NAME_B, NAME_1 and NAME_2, folders A and B or of two"
            )
        by_files.update({pair[1:]: pair for pair in in_folder})  # by its files: folders may overlap
        rejected.update(unpaired)
    return [pair or name for name, pair in by_files.items()], rejected


def find_fused(
    folders: Sequence[str | Path], names: Sequence[results.PairName], reserved: Collection[str] = ()
) -> tuple[dict[tuple[results.PairName, str], Path], dict[str, str]]:
    """Find the images that other methods fused.

    Args:
        folders: each holds a folder a method.
        names: pairs.
        reserved: titles that methods here have; a folder of such a name gets " (images)" added to its own.

    Returns:
        {(pair, title): file}, and {"TITLE on PAIR": why it is missing}.

    Raises:
        ValueError: a folder that does not exist or has no folder of images in it; two folders of one method.
    """
    image_files, missing, folder_of = {}, {}, {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise ValueError(f"--fused {folder}: no such folder")
        by_method = {
            path: files
            for path in sorted(Path(folder).iterdir())
            if path.is_dir() and (files := _images(path))
        }
        if not by_method:
            raise ValueError(f"--fused {folder}: no folder of images there; each method has one")
        for path, files in by_method.items():
            title = f"{path.name} (images)" if path.name in reserved else path.name
            if folder_of.setdefault(title, path) != path:
                raise ValueError(
                    f"--fused: {folder_of[title]} and {path} have one name, so one title; rename one"
                )
            for name in names:
                file, reason = _only_image(files, str(name).split("/")[-1])
                if file:
                    image_files[name, title] = file
                else:
                    missing[f"{title} on {name}"] = f"{path}: {reason}"
    return image_files, missing


def add_ground_truth(names: Sequence[results.PairName], folder: str | Path) -> list[results.PairName]:
    """Give pairs their ground truth from a folder.

    Args:
        names: pairs, as `find_all_pairs` gives them.
        folder: NAME or NAME_anything of each pair NAME.

    Returns:
        The pairs; those that have an image in the folder as pairs.Files with it.

    Raises:
        ValueError: there is no such folder, or no image in it is that of a pair.
    """
    files = _images(folder) if Path(folder).is_dir() else []
    result: list[results.PairName] = []
    for name in names:
        truth, _ = _only_image(files, str(name).split("/")[-1])
        if truth and isinstance(name, pairs.Files):
            result.append(name._replace(ground_truth=truth))
        elif truth:
            a, b = fetch.pair_files(name if "/" in name else f"classic/{name}")
            result.append(pairs.Files(name, Path(a), Path(b), truth))
        else:
            result.append(name)
    if result == list(names):
        raise ValueError(f"--truth {folder}: there is no image of any pair")
    return result


def _fused_folder(name):
    """The folder FUSED in a folder of pairs, where it has a folder of images for each method."""
    folder = Path(name, FUSED)
    if folder.is_dir() and any(path.is_dir() and _images(path) for path in folder.iterdir()):
        return folder
    return None


def _images(folder):
    """The images in a folder, sorted."""
    return [path for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in frames.ENDINGS]


def _only_image(files, name):
    """(the image NAME, else the only NAME_anything; why there is none)."""
    for matches in (
        [path for path in files if path.stem == name],
        [path for path in files if re.fullmatch(re.escape(name) + r"[_-].+", path.stem)],
    ):
        if len(matches) == 1:
            return matches[0], None
        if matches:
            return None, f"{matches[0].name} and {matches[1].name} are both of {name}"
    return None, f"there is no image {name}"


def write_report(
    scores: Mapping[results.PairName, Rows], missing: Mapping[results.PairName, str], out: Path
) -> str:
    """Write scores.csv, summary.md and summary.tex.

    Args:
        scores: {pair: {title: {metric: value}}}.
        missing: {pair, method or image: why it is missing}.
        out: the folder.

    Returns:
        The text of summary.md.
    """
    all_rows = [row for rows in scores.values() for row in rows.values()]
    columns = [metric for metric in all_rows[0] if all(metric in row for row in all_rows)]
    names = [str(pair) for pair in scores]
    # Where two pairs have one name the CSV has the file of one in a folder.
    called = {p: p.a if isinstance(p, pairs.Files) and names.count(str(p)) > 1 else p for p in scores}
    lines = [
        [called[pair], title, *(f"{row[m]:.6f}" for m in columns)]
        for pair, rows in scores.items()
        for title, row in rows.items()
    ]
    write_text(out / "scores.csv", markdown_tables.comma_separated(["pair", "method", *columns], lines))
    count = "one pair" if len(scores) == 1 else f"{len(scores)} pairs"
    means = results.mean_scores(scores)
    text = f"## Mean of {count}\n\n{markdown_table(means, columns)}"
    lower = [metric for metric in columns if not is_higher_better(metric)]
    if lower:
        text += f"\nLess is better for {' and '.join(lower)}, more for all others.\n"
    titles = {title for rows in scores.values() for title in rows}
    complete = {pair: rows for pair, rows in scores.items() if titles == set(rows)}
    if complete:
        of = "" if len(complete) == len(scores) else f" of the {len(complete)} that all methods have,"
        text += f"\nOn how many{of} each is the best, alone or level to four digits:\n\n"
        text += count_wins(complete, columns)
    if missing:
        text += "\nMissing; a method that is missing on one pair is in no mean:\n\n"
        text += "".join(f"- {name}: {reason}\n" for name, reason in missing.items())
    write_text(out / "summary.md", text)
    caption = f"Fusion metrics, mean of {count}."
    write_text(out / "summary.tex", latex_float(means, columns, caption, "tab:fusion"))
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where something is missing."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("pairs", nargs="+", metavar="PAIRS", help="a folder, or a set or pair by its name")
    add("--out", type=Path, default="build/compare", help="(default: %(default)s)")
    add("--methods", metavar="TITLES", help="only these, between commas, or none (default: all:"
        f" {', '.join(results.list_entries())})")  # fmt: skip
    add("--fused", action="append", default=[], metavar="DIR", help="also images that others fused: a folder"
        " for each method; again for more")  # fmt: skip
    add("--truth", metavar="DIR", help="a folder of ground truths: adds PSNR and SSIM")
    add("--metrics", default="paper", metavar="NAMES", help="columns: names between commas, paper for the six"
        " of the paper, all; NIQE, LPIPS, DISTS if pyiqa is installed (default: %(default)s)")  # fmt: skip
    add("--set", action="append", default=[], metavar="TITLE:KEY=VALUE,...", help="options of a method"
        " instead of its defaults")  # fmt: skip
    add("--report", type=Path, metavar="PAGE.html", help="write a page for a browser: all pairs by all"
        " methods, their difference from the ground truth, tables that sort")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="images processed at a time (default: one for each core)")
    args = parser.parse_args(argv)
    try:
        entries = {} if args.methods == "none" else results.select_methods(args.methods, args.set)
        columns = select_names(args.metrics)
    except ValueError as error:
        parser.error(str(error))
    if args.report and args.report.suffix.lower() not in (".html", ".htm"):
        parser.error(f"--report {args.report}: a page is an .html file")
    names, rejected = find_all_pairs(args.pairs, args.out)
    if args.truth:
        names = add_ground_truth(names, args.truth)
    fused_folders = [_fused_folder(name) for name in args.pairs if Path(name).is_dir()]
    external, missing_images = find_fused([*args.fused, *filter(None, fused_folders)], names, entries)
    if not entries and not external:
        parser.error("--methods none: there is nothing to score without --fused")
    scores, missing, failed = results.score_pairs(
        names, entries, args.out / "fused", args.jobs, columns, external
    )
    missing = {**rejected, **missing, **missing_images, **failed}
    scores = {pair: rows for pair, rows in scores.items() if rows}
    if scores:
        print(write_report(scores, missing, args.out))
        print(f"{args.out}: scores.csv, summary.md, summary.tex and the fused images")
        if args.report:
            page = compare_page.make_page(scores, missing, external, args.out / "fused", args.report)
            write_page(args.report, page)
            print(f"{args.report}: {args.report.stat().st_size / 1e6:.1f} MB")
    else:
        for name in ("scores.csv", "summary.md", "summary.tex"):  # of an earlier run
            (args.out / name).unlink(missing_ok=True)
    for name, reason in missing.items():
        print(f"compare.py: missing: {name}: {reason}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    cli.run(main)
