"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Iterable, Iterator

from two_stream_fusion.base.interrupts import delay_interrupt

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MARK = ".two_stream_fusion.lock"  # in a folder that `atomic_folder` makes or replaces: its lock and its mark
# What os.link raises where a file system has no hard links.
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}

TEXT_LIMIT = 2**26  # bytes: no list or net is longer

_partial_files: set[Path] = set()  # what `atomic_write` has in work


@contextlib.contextmanager
def atomic_write(path: str | Path, replace: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path`, which becomes `path` where the block ends well.

    Args:
        path: the file to write.
        replace: replace an older file there, in one step. Otherwise no file is ever replaced, one that
            another program writes meanwhile neither.

    Yields:
        The name to write to. It has the suffix of `path`.

    Raises:
        ValueError: `path` is a FIFO or a device, or, without `replace`, exists.
        OSError: as the block or the file system raises it, with `path` as the file's name.
    """
    path = Path(path)
    _check_no_device(path)
    partial = path.with_name(f".{path.stem[:50]}.{os.getpid()}.part{path.suffix}")  # names end at 255 bytes
    _partial_files.add(partial)
    try:
        yield partial
        if replace:
            os.replace(partial, path)
        else:
            _rename_new(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial)):
            error.filename, error.filename2 = str(path), None  # the one that the user knows
        raise
    finally:
        if partial.exists():
            partial.unlink()
        _partial_files.discard(partial)


def _rename_new(partial, path):
    """Give the file `partial` the name `path`, unless that exists. `partial` may stay, as a second name."""
    try:
        os.link(partial, path)  # a rename would replace
    except FileExistsError:
        raise ValueError(f"{path}: exists; --force replaces it") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with delay_interrupt():  # between the two there is an empty file
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # the name is ours
            except FileExistsError:
                raise ValueError(f"{path}: exists; --force replaces it") from None
            try:
                os.replace(partial, path)
            except OSError:
                os.unlink(path)
                raise


def _check_no_device(path):
    """ValueError where there is something at `path` that no file may replace."""
    folder = os.path.realpath(os.path.dirname(path) or ".")
    if folder == "/dev" or folder.startswith(
        "/proc/"
    ):  # /dev/stdout may lead to a file; /dev/shm holds files
        raise ValueError(f"{path}: is a device; output goes to files")
    if os.path.exists(path):
        mode = os.stat(path).st_mode
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{path}: is {kind}; output goes to files")


def read_text(path: str | Path, kind: str) -> str:
    """Read a text file of the user, UTF-8 with or without a byte order mark.

    Args:
        path: the file.
        kind: what it has to be, such as "a list of names", for errors.

    Returns:
        Its text.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a FIFO, a socket or a device, whose reading might never end, too large, or no UTF-8.
    """
    check_regular(path, TEXT_LIMIT)
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not {kind}") from None


def check_regular(path: str | Path, limit: int | None = None) -> None:
    """Refuse a path that is not a file on a disk.

    Args:
        path: of something to be read.
        limit: the largest size in bytes.

    Raises:
        OSError: there is nothing at `path`.
        ValueError: it is a FIFO, a socket or a device, whose reading might never end, or larger than `limit`.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path}: is a FIFO, a socket or a device; only files are read")
    if limit is not None and status.st_size > limit:
        raise ValueError(f"{path}: larger than {(limit + 1) >> 20} MiB, too large for such a file")


def write_text(path: str | Path, text: str, replace: bool = True) -> None:
    """Write a text file in UTF-8, whole or not at all; its folder is created if it is missing.

    What is no Unicode, as in names of files, is written as escapes: \\udcff.

    Args:
        path: the file.
        text: what it will hold.
        replace: as of `atomic_write`, which says what is raised.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, replace) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def remove_partial_files(*_: object) -> None:
    """Remove what `atomic_write` has not finished, and end this process: a handler of signals."""
    for partial in list(_partial_files):  # other threads may go on meanwhile
        with contextlib.suppress(OSError):
            partial.unlink()
    os._exit(1)


def check_output(path: str | Path, inputs: Iterable[str | Path] = (), force: bool = False) -> None:
    """Refuse an output that would destroy something.

    Args:
        path: the file to be written.
        inputs: files that are read and must stay.
        force: whether an older file at `path` may be replaced.

    Raises:
        ValueError: `path` is one of `inputs`, a FIFO or a device, or it exists and `force` is not set.
    """
    _check_no_device(path)
    existing = filter(os.path.exists, inputs) if os.path.exists(path) else ()
    if any(os.path.samefile(path, source) for source in existing):
        raise ValueError(f"{path}: is one of the images to fuse or score")
    if os.path.lexists(path) and not force:  # a link to nothing too
        raise ValueError(f"{path}: exists; --force replaces it")


@contextlib.contextmanager
def atomic_folder(out: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `out`, which takes the place of `out` where the block ends well.

    The names OUT.part and OUT.old are used meanwhile. Nothing there is touched without the MARK of this
    function.

    Args:
        out: the folder to write. Where the block fails it stays as it was.

    Yields:
        The folder to write into.

    Raises:
        ValueError: another process is in such a block for `out`, or OUT.part or OUT.old is somebody else's.
    """
    out_path = Path(os.path.realpath(out) if os.path.islink(out) else out)
    if out_path.name in ("", ".."):
        raise ValueError(f"{out}: give another folder; this one cannot be replaced by a new one")
    part, old = (out_path.with_name(out_path.name + ending) for ending in (".part", ".old"))
    for folder in (part, old):
        _refuse_unmarked(folder)
    part.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if fcntl and not _locked(stack, part / MARK):
            raise ValueError(f"{out_path}: another run is making it: wait for it, or give another --out")
        (part / MARK).touch()  # without fcntl too
        if old.exists() and not out_path.exists():  # a run was killed between the two
            os.rename(old, out_path)
            (out_path / MARK).unlink(missing_ok=True)
        try:
            for left in part.iterdir():  # by a run that was killed
                if left.is_dir():
                    shutil.rmtree(left)
                elif left.name != MARK:
                    left.unlink()
            yield part
            _remove_marked(old)
            with delay_interrupt():
                _exchange(part, out_path, old)
        except BaseException:
            _remove_marked(part)
            raise
        (out_path / MARK).unlink(missing_ok=True)
        _remove_marked(old)


def _refuse_unmarked(folder):
    """ValueError where there is something that `atomic_folder` did not make."""
    if not os.path.lexists(folder):
        return
    is_ours = folder.is_dir() and not folder.is_symlink()
    if not is_ours or not ((folder / MARK).is_file() or not any(folder.iterdir())):
        raise ValueError(f"{folder}: was not made by this program, which needs the name: move it elsewhere")


def _remove_marked(folder):
    """Remove a folder with the mark; the mark goes last, so that half a folder still has it."""
    if not (folder / MARK).is_file() or folder.is_symlink():
        return
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != MARK:
            with contextlib.suppress(OSError):
                left.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _exchange(part, out, old):
    """Give the folder `out` the name `old`, and `part` that of `out`; neither where the second fails."""
    _refuse_unmarked(old)  # made while the block ran
    if old.exists():
        old.rmdir()  # empty
    try:
        if out.exists():
            (out / MARK).touch()
            os.rename(out, old)
        os.rename(part, out)  # with its lock, so that nobody takes the folder meanwhile
    except OSError:
        if old.exists():
            os.rename(old, out)
        (out / MARK).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def exclusive(path: str | Path, refusal: str) -> Iterator[None]:
    """Hold a lock file while the block runs. The file stays. Without fcntl (Windows) nothing is locked.

    Args:
        path: of the file; its folder is created if it is missing.
        refusal: the error where another process holds it.

    Raises:
        ValueError: another process holds it.
        OSError: it cannot be created.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if fcntl and not _locked(stack, path):
            raise ValueError(refusal)
        yield


def _locked(stack, path):
    """Whether this process alone holds the file at `path` now, until `stack` is closed."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        stack.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), os.stat(path))
    except (BlockingIOError, FileNotFoundError):  # or its folder was moved just now
        return False
