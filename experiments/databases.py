"""Databases that are kept under their options, and rebuilt when their inputs change."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple, NoReturn

from data_prep import make_database
from two_stream_fusion.base import provenance


class Database(NamedTuple):
    """A database of data_prep/make_database.py."""

    folder: Path
    key: str  # a hash of the contents of its files
    patch: int  # side of a patch in pixels
    val_rows: int  # patches to validate on
    photographs: dict[str, frozenset[str]]  # {"train" or "val": the sha256 of each behind its rows}


def digest(*parts: object) -> str:
    """16 hexadecimal digits of the SHA-256 of the texts of `parts`: equal texts, equal digits."""
    return provenance.sha256("\0".join(map(str, parts)).encode())[:16]


def database_name(options: str) -> str:
    """The folder name of a database: its options, with a hash where characters had to be replaced."""
    arguments = shlex.split(options)
    name = re.sub(r"[^\w.]+", "_", options).strip("_") or "default"
    plain = all(re.fullmatch(r"--[a-z-]+|[a-z0-9.]+", word) for word in arguments)
    return name if plain else f"{name[:80]}-{digest(*arguments)[:8]}"


def prepare_database(options: str, folder: Path) -> Database:
    """Build a database where it is missing or outdated.

    Args:
        options: of data_prep/make_database.py, as one text.
        folder: the database gets a folder of its own below it.

    Returns:
        The database.

    Raises:
        ValueError: wrong options, and as builder.build raises it.
    """
    try:
        request = make_database.parse_arguments(shlex.split(options), _refuse)
    except ValueError as error:
        raise ValueError(f"{options}: {error}") from None
    request = request._replace(out=str(folder / database_name(options)))
    reason = make_database.outdated_reason(request)
    if reason:
        print(f"{request.out}: {reason}", flush=True)
        make_database.make(request)
    manifest = _read_manifest(request.out)
    photographs = {
        split: frozenset(p["sha256"] for p in manifest["photographs"] if p["set"] == split)
        for split in ("train", "val")
    }
    key = digest(*sorted(manifest["sha256"].items()))
    return Database(Path(request.out), key, manifest["patch"], manifest["rows"]["val"], photographs)


def _refuse(message: str) -> NoReturn:
    """Raise ValueError, in place of argparse's usage and exit."""
    raise ValueError(message)


def _read_manifest(folder):
    return json.loads(Path(folder, "manifest.json").read_text())
