#!/usr/bin/env python3
"""BVLC Caffe 1.0 (CPU) without root or conda: Debian 11's own build, unpacked into a folder.

Debian 11 is the last Debian with Caffe in it, and its packages are frozen. `bvlc_caffe.lock` beside this
file pins each one by version and sha256; apt fetches them, in private directories, so that the machine's
own packages are neither read nor changed; dpkg-deb unpacks them; two launchers, `caffe` and `python`, set
the library path for their own process alone. Needs Python >= 3.8, apt-get and dpkg-deb, nothing else.
"""

from __future__ import annotations

import os
import signal

if (
    __name__ == "__main__"
):  # Ctrl-C during the imports: no traceback; alone here, without this project's packages
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import concurrent.futures
import ctypes
import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path(__file__).with_name("bvlc_caffe.lock")
SUITE = "bullseye"
STAMP = ".bvlc-caffe"  # what a prefix was made from, written last; a folder without it is somebody else's

# The packages that the lock is resolved from: Caffe and pycaffe, a fast BLAS, and imports of our commands.
ROOT_PACKAGES = (
    "caffe",
    "python3-caffe",
    "libopenblas0-pthread",
    "python3-numpy",
    "python3-opencv",
    "python3-h5py",
    "python3-matplotlib",
    "python3-skimage",
    "python3-tqdm",
)
# The C and C++ runtimes must be the host's: every program of the host, old or new, is tied to them.
HOST_LIBRARIES = ("libc6", "libgcc1", "libgcc-s1", "libstdc++6")
# Depended on, but neither loaded nor run by Caffe or pycaffe: desktop and map data, package tools. Leaving
# them out, and what only they need, saves a fifth of the packages.
EXCLUDED_PACKAGES = (
    "adwaita-icon-theme",
    "coreutils",
    "cython3",
    "debconf",
    "dpkg",
    "gdal-data",
    "glib-networking",
    "iso-codes",
    "libgtk-3-common",
    "mime-support",
    "perl",
    "perl-base",
    "proj-data",
    "python3-gflags",
    "python3-ipython",
    "python3-networkx",
    "python3-nose",
    "python3-pandas",
    "python3-yaml",
    "shared-mime-info",
    "tar",
    "xkb-data",
)

LAUNCHER = """\
#!/bin/sh
# Made by tools/bvlc_caffe.py. The folder can be moved.
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")
lib=$prefix/usr/lib/x86_64-linux-gnu
# libblas.so.3 and liblapack.so.3 are OpenBLAS's own in the first folder; libgdal is in the last.
export LD_LIBRARY_PATH="$lib/openblas-pthread:$lib:$prefix/lib/x86_64-linux-gnu:$prefix/usr/lib"
"""
# PYTHONHOME is for Python layers, whose interpreter runs inside `caffe`.
CAFFE_LAUNCHER = f"""{LAUNCHER}\
export PYTHONHOME="$prefix/usr" GLOG_logtostderr="${{GLOG_logtostderr:-1}}"
exec "$prefix/usr/bin/caffe" "$@"
"""
# -s: packages in the user's home are for another Python.
PYTHON_LAUNCHER = f"""{LAUNCHER}\
unset PYTHONHOME
exec "$prefix/usr/bin/python3.9" -s "$@"
"""
SITECUSTOMIZE = """\
# What is started from here gets the host's libraries, and this Python again by sys.executable.
import os
import sys

for name in ("LD_LIBRARY_PATH", "PYTHONHOME"):
    os.environ.pop(name, None)
sys.executable = os.path.join(os.path.dirname(sys.prefix), "bin", "python")
# Those of PYTHONPATH come after its own packages: they may be another Python's, or another Caffe.
sys.path.sort(key=lambda folder: not folder.startswith(sys.prefix + os.sep))
sys.path.append({root!r})  # the packages of this repository
"""


class Package(NamedTuple):
    """One line of the lock."""

    name: str
    version: str
    sha256: str
    path: str  # in a Debian mirror

    @property
    def deb(self) -> str:
        """The file name that `apt-get download` gives it."""
        architecture = self.path.rsplit("_", 1)[1]  # amd64.deb or all.deb
        return f"{self.name}_{self.version.replace(':', '%3a')}_{architecture}"


def read_lock(path: Path) -> list[Package]:
    """Read the packages pinned in a lock file.

    Args:
        path: of the lock file.

    Returns:
        The packages, in the order of the file.

    Raises:
        ValueError: a line pins no package, or no line does; the message names the first such line.
    """
    packages = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4 or not re.fullmatch("[0-9a-f]{64}", fields[2]) or not fields[3].endswith(".deb"):
            raise ValueError(f"{path}:{number}: not 'name version sha256 path': {line!r}")
        packages.append(Package(*fields))
    if not packages:
        raise ValueError(f"{path}: pins no package")
    return packages


def check_host() -> None:
    """Check that this machine can fetch, unpack and run Debian 11's programs.

    Raises:
        OSError: it cannot; the message says what to install.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError(f"the packages are for Linux on x86-64, this is {sys.platform} on {platform.machine()}")
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(map(int, version.split("."))) < (2, 31):
        raise OSError(f"needs glibc 2.31 or newer, this machine has {libc or 'another C library'} {version}")
    for library in ("libstdc++.so.6", "libgcc_s.so.1"):
        try:
            ctypes.CDLL(library)
        except OSError:
            raise OSError(f"no {library} on this machine: install the C++ runtime (libstdc++6)") from None
    missing = [command for command in ("apt-get", "dpkg-deb") if not shutil.which(command)]
    if missing:
        raise OSError(f"no {' and no '.join(missing)} here: install the packages apt and dpkg")


class Apt:
    """apt in private directories under `folder`: its own lists, sources and idea of what is installed.

    The machine's apt configuration still says how to reach the network (proxies, certificates); its hooks,
    preferences, lists and package state are neither used nor changed; none is trusted unsigned.
    """

    def __init__(
        self, folder: Path, mirrors: list[str], option: str, installed: tuple[str, ...] = ()
    ) -> None:
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "sources.list").write_text(
            "".join(f"deb [arch=amd64 {option}] {url} {SUITE} main\n" for url in mirrors)
        )
        # A version above all others meets every dependency on what we leave out.
        (folder / "status").write_text(
            "".join(
                f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: foreign\n"
                f"Version: 99:0\nMaintainer: none\nDescription: left out\n\n"
                for name in installed
            )
        )
        self.config = folder / "apt.conf"
        self.config.write_text(
            f"""\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""
        )

    def __call__(self, command: str, *arguments: str, cwd: Path | None = None, show: bool = False) -> str:
        """What an apt command prints (or shows, on stderr). OSError with its first error if it fails."""
        return _run_apt([command, "-c", str(self.config), *arguments], cwd, show)


def _run_apt(command, cwd=None, show=False):
    """What an apt command prints (or shows, on stderr). OSError with its first error if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=sys.stderr if show else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        text=True,
    )
    if done.returncode:
        words = [line[3:] for line in done.stderr.splitlines() if line.startswith(("E: ", "W: "))]
        raise OSError(words[0] if words else f"{command[0]} ended with {done.returncode}")
    return done.stdout or ""


def machine_mirrors() -> list[str]:
    """The Debian mirrors that this machine's own apt sources name; none on another distribution.

    Raises:
        OSError: apt cannot read its sources.
    """
    command = ["apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    lines = _run_apt(command).splitlines()
    urls = [line.split()[1].rstrip("/") for line in lines if line.startswith("main ")]
    return list(dict.fromkeys(url for url in urls if url.endswith("/debian")))


def matches_hash(path: Path, package: Package) -> bool:
    """Whether the file is there with the pinned contents.

    Args:
        path: of the package's file.
        package: as the lock pins it.

    Returns:
        False where the file is missing or differs.
    """
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256


def download(packages: list[Package], cache: Path, mirrors: list[str]) -> None:
    """Fetch packages that the cache lacks or has damaged.

    Args:
        packages: as the lock pins them.
        cache: the folder of package files.
        mirrors: URLs of Debian mirrors, tried in turn.

    Raises:
        OSError: no mirror has them.
    """
    missing = [package for package in packages if not matches_hash(cache / package.deb, package)]
    if not missing:
        return
    if not mirrors:
        raise OSError(
            "this machine's apt sources name no Debian mirror: give one with --mirror URL or DEBIAN_MIRROR "
            "(https://www.debian.org/mirror/list)"
        )
    print(f"fetching {len(missing)} packages from {' '.join(mirrors)} into {cache}", file=sys.stderr)
    for package in missing:
        (cache / package.deb).unlink(missing_ok=True)
    # The lock's sha256 is what counts, so the index needs no signature: any mirror, any host's apt.
    apt = Apt(cache / "apt", mirrors, "trusted=yes")
    pins = [f"{package.name}={package.version}" for package in missing]
    quiet = [] if sys.stderr.isatty() else ["-qq"]  # on a terminal apt shows its progress and the time left
    trouble = []
    for command in (["update"], ["download", *pins]):  # one dead mirror is no matter if another has them all
        try:
            apt("apt-get", *quiet, *command, cwd=cache, show=True)
        except OSError as error:
            trouble.append(str(error))
    missing = [package for package in missing if not matches_hash(cache / package.deb, package)]
    if missing:
        reason = trouble[0] if trouble else "another sha256 than the pinned one"
        raise OSError(
            f"{len(missing)} packages, {missing[0].path} the first, not to be had from {' '.join(mirrors)}: "
            f"{reason} (what was fetched is kept). If Debian 11 has left this mirror, name one that has it, "
            f"or an archive of old releases, with --mirror URL or DEBIAN_MIRROR"
        )


def extract(deb: Path, prefix: Path) -> None:
    """Unpack the files of one package.

    Args:
        deb: the package's file.
        prefix: the folder to unpack into.

    Raises:
        OSError: dpkg-deb failed.
    """
    done = subprocess.run(["dpkg-deb", "-x", deb, prefix], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise OSError(f"cannot unpack {deb}: {done.stderr.strip()}")


def unpack(debs: list[Path], prefix: Path) -> None:
    """Lay the packages out under prefix, add the launchers, mend what expects its files in /usr or /etc.

    Args:
        debs: the files of the packages.
        prefix: the new folder.

    Raises:
        OSError: a package cannot be unpacked.
    """
    prefix.mkdir(parents=True, exist_ok=True)
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    jobs = [pool.submit(extract, deb, prefix) for deb in debs]
    try:
        for done, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            job.result()
            if sys.stderr.isatty():
                end = "" if done < len(debs) else "\n"
                print(f"\runpacking {done}/{len(debs)}", end=end, file=sys.stderr)
    finally:
        for job in jobs:
            job.cancel()
        pool.shutdown()

    (prefix / "bin").mkdir()
    for name, text in (("caffe", CAFFE_LAUNCHER), ("python", PYTHON_LAUNCHER)):
        (prefix / "bin" / name).write_text(text)
        (prefix / "bin" / name).chmod(0o755)

    sitecustomize = prefix / "usr/lib/python3.9/sitecustomize.py"
    sitecustomize.unlink()  # a link to the host's /etc
    sitecustomize.write_text(SITECUSTOMIZE.format(root=str(ROOT)))

    # Debian's matplotlib has its data in /usr/share and its settings in /etc; it also looks beside itself.
    matplotlib = prefix / "usr/lib/python3/dist-packages/matplotlib"
    (matplotlib / "mpl-data").symlink_to("../../../../share/matplotlib/mpl-data")
    source = matplotlib / "__init__.py"
    settings = "os.path.join(_get_data_path(), 'matplotlibrc')"
    source.write_text(source.read_text().replace("'/etc/matplotlibrc'", settings))


def check_install(prefix: Path) -> None:
    """Check that `caffe` and pycaffe start from a folder, with OpenBLAS doing their algebra.

    Args:
        prefix: the folder.

    Raises:
        OSError: they do not.
    """
    # The reference BLAS gives the same numbers ten times more slowly: nothing else would show it.
    probe = "import caffe, cv2, h5py, matplotlib.pyplot, tqdm; print(open('/proc/self/maps').read())"
    for command in (["caffe", "--version"], ["python", "-c", probe]):
        done = subprocess.run([prefix / "bin" / command[0], *command[1:]], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise OSError(f"{command[0]} was unpacked but does not start here: {reason}")
    if "/openblas-pthread/libblas.so.3" not in done.stdout:
        raise OSError("pycaffe runs on another BLAS than the OpenBLAS unpacked for it")


def build(prefix: Path, mirrors: list[str], lock: Path = LOCK) -> bool:
    """Make a folder with BVLC Caffe from the lock, whole or not at all.

    Args:
        prefix: the folder.
        mirrors: URLs of Debian mirrors; none for those of this machine's apt.
        lock: the lock file.

    Returns:
        False if the folder was already there.

    Raises:
        OSError: the machine cannot run it, or no mirror has a package.
        ValueError: the folder was not made by this command, or the lock is damaged.
    """
    packages = read_lock(lock)
    stamp = hashlib.sha256(lock.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    cache = prefix.with_name(prefix.name + "-debs")
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two at once: the second waits, then finds the work done
        stamp_file = prefix / STAMP
        if stamp_file.exists() and stamp_file.read_text() == stamp:
            return False
        if prefix.exists() and not stamp_file.exists():
            raise ValueError(f"{prefix} was not made by this command: remove it or give another --prefix")
        check_host()
        download(packages, cache, mirrors or machine_mirrors())
        part, old = (prefix.with_name(prefix.name + suffix) for suffix in ("-part", "-old"))
        for leftover in (part, old):
            remove_own(leftover)
        try:
            part.mkdir(parents=True)
            (part / STAMP).write_text("not whole")
            unpack([cache / package.deb for package in packages], part)
            check_install(part)
            (part / STAMP).write_text(stamp)
            if prefix.exists():
                prefix.rename(old)
            part.rename(prefix)
        finally:
            for leftover in (part, old):
                remove_own(leftover)
    return True


def remove_own(folder: Path) -> None:
    """Remove a folder with the stamp, or an empty one.

    Args:
        folder: may be missing.

    Raises:
        ValueError: this command did not make the folder.
    """
    if not os.path.lexists(folder):
        return
    is_ours = folder.is_dir() and not folder.is_symlink()
    if not is_ours or not ((folder / STAMP).is_file() or not any(folder.iterdir())):
        raise ValueError(f"{folder} was not made by this command, which needs the name: move it elsewhere")
    for left in folder.iterdir():  # the stamp last, so that half a folder still has it
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != STAMP:
            left.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def write_lock(lock: Path, mirrors: list[str]) -> int:
    """Pin what ROOT_PACKAGES needs, as the mirrors' signed Debian 11 index has it.

    Args:
        lock: the lock file to write.
        mirrors: URLs of Debian mirrors.

    Returns:
        The number of packages.

    Raises:
        OSError: the signature cannot be checked, or apt failed.
        ValueError: apt does not describe every package.
    """
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.exists():
        raise OSError(f"no {keyring} to check the mirror's signature with: install debian-archive-keyring")
    with tempfile.TemporaryDirectory() as folder:
        apt = Apt(Path(folder), mirrors, f"signed-by={keyring}", HOST_LIBRARIES + EXCLUDED_PACKAGES)
        apt("apt-get", "update")
        plan = apt("apt-get", "--simulate", "install", *ROOT_PACKAGES)
        pins = re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE)
        records = apt("apt-cache", "show", *(f"{name}={version}" for name, version in pins)).split("\n\n")
    lines = []
    for record in records:
        fields = dict(line.split(": ", 1) for line in record.splitlines() if re.match(r"\S+: ", line))
        if fields:
            lines.append(" ".join(fields[key] for key in ("Package", "Version", "SHA256", "Filename")))
    if len(lines) != len(pins):
        raise ValueError(f"apt describes {len(lines)} of the {len(pins)} packages that it would install")
    head = "# Debian 11, amd64: name, version, sha256, path in a mirror. Made by bvlc_caffe.py --lock.\n"
    part = lock.with_name(lock.name + ".part")
    try:
        part.write_text(head + "\n".join(sorted(lines)) + "\n")
        os.replace(part, lock)
    finally:
        part.unlink(missing_ok=True)
    return len(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Get BVLC Caffe 1.0 (CPU) into a folder, from Debian 11's packages, without root.",
        epilog="""examples:
  python tools/bvlc_caffe.py                          into build/bvlc
  build/bvlc/bin/caffe train -solver solver/adam.prototxt
  build/bvlc/bin/python -c 'import caffe'
  python tools/bvlc_caffe.py --mirror URL             where the machine's apt knows no Debian mirror
  python tools/bvlc_caffe.py --lock                   pin the packages anew (for maintainers)""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--prefix",
        type=Path,
        default=ROOT / "build" / "bvlc",
        help="the folder to write (default: build/bvlc)",
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        action="append",
        help="a Debian mirror; repeat for more (default: DEBIAN_MIRROR, else this machine's apt sources)",
    )
    parser.add_argument("--lock", action="store_true", help=f"rewrite {LOCK.name} from a mirror")
    arguments = parser.parse_args()
    prefix = arguments.prefix.absolute()
    mirrors = [url.rstrip("/") for url in arguments.mirror or os.environ.get("DEBIAN_MIRROR", "").split()]
    try:
        if arguments.lock:
            check_host()
            count = write_lock(LOCK, mirrors or machine_mirrors())
            print(f"{count} packages pinned in {LOCK}")
        else:
            built = build(prefix, mirrors)
            print(
                f"{prefix} {'is made' if built else 'is there already'}: bin/caffe, bin/python with pycaffe"
            )
    except (OSError, ValueError) as error:
        print(f"bvlc_caffe: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "bvlc_caffe: interrupted; a later run resumes with the packages already fetched", file=sys.stderr
        )
        return 130
    return 0


def handle_signals() -> None:
    """Raise SystemExit at SIGTERM and SIGHUP, so that no partial files stay.

    The exit status is 128 + the number, as in base/cli.py, which is not here without this project's packages.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


if __name__ == "__main__":
    handle_signals()
    sys.exit(main())
