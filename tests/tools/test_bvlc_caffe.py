"""BVLC Caffe without root: its lock, its mirror, prefixes whole or absent; with -m bvlc what was made."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools import bvlc_caffe
from tools.bvlc_caffe import LOCK, Package

needs_apt = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="needs apt-get and dpkg-deb"
)


def test_the_lock_pins_what_is_wanted_and_nothing_of_the_hosts():
    packages = bvlc_caffe.read_lock(LOCK)
    names = [package.name for package in packages]
    assert names == sorted(set(names))
    assert set(bvlc_caffe.ROOT_PACKAGES) <= set(names)
    assert not set(names) & {*bvlc_caffe.HOST_LIBRARIES, *bvlc_caffe.EXCLUDED_PACKAGES}
    for package in packages:
        assert package.path.startswith("pool/main/")
        assert Path(package.path).name.startswith(f"{package.name}_")


def test_a_file_is_named_as_apt_names_it():
    package = Package(
        "libx11-6", "2:1.7.2-1+deb11u2", "0" * 64, "pool/main/libx/libx11-6_1.7.2-1+deb11u2_amd64.deb"
    )
    assert package.deb == "libx11-6_2%3a1.7.2-1+deb11u2_amd64.deb"


@pytest.mark.parametrize(
    "line", ["caffe 1.0", f"caffe 1.0 {'0' * 63} a_all.deb", f"caffe 1.0 {'0' * 64} a_all.rpm"]
)
def test_a_bad_line_of_a_lock_is_named(tmp_path, line):
    lock = tmp_path / "lock"
    lock.write_text(f"# heading\n{line}\n")
    with pytest.raises(ValueError, match=r"lock:2: not 'name version sha256 path'"):
        bvlc_caffe.read_lock(lock)


def test_an_empty_lock_is_refused(tmp_path):
    lock = tmp_path / "lock"
    lock.write_text("# nothing\n")
    with pytest.raises(ValueError, match="pins no package"):
        bvlc_caffe.read_lock(lock)


@pytest.fixture
def mirror(tmp_path):
    """(URL of a Debian mirror with the packages one and two, those packages, its folder)."""
    root = tmp_path / "mirror"
    index = root / "dists" / bvlc_caffe.SUITE / "main" / "binary-amd64" / "Packages"
    index.parent.mkdir(parents=True)
    packages = []
    for name, version in (("one", "1:1.0-1"), ("two", "2.0")):
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: none\nDescription: {name}\n"
        )
        source = tmp_path / name
        (source / "DEBIAN").mkdir(parents=True)
        (source / "DEBIAN" / "control").write_text(control)
        (source / "usr").mkdir()
        (source / "usr" / name).write_text(name)
        path = f"pool/main/{name}/{name}_{version.split(':')[-1]}_all.deb"
        (root / path).parent.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "--build", source, root / path], check=True, stdout=subprocess.DEVNULL)
        data = (root / path).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        with index.open("a") as file:
            file.write(f"{control}Filename: {path}\nSize: {len(data)}\nSHA256: {sha256}\n\n")
        packages.append(Package(name, version, sha256, path))
    data = index.read_bytes()
    (index.parents[2] / "Release").write_text(
        f"Codename: {bvlc_caffe.SUITE}\nArchitectures: amd64 all\nComponents: main\n"
        f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages\n"
    )
    handler = functools.partial(QuietHandler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", packages, root
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


@needs_apt
def test_complete_packages_are_kept_and_others_fetched(mirror, cache):
    url, packages, _ = mirror
    bvlc_caffe.download(packages, cache, [url])
    one, two = (cache / package.deb for package in packages)
    content, before = two.read_bytes(), one.stat().st_mtime_ns
    two.write_bytes(content[: len(content) // 2])  # what a broken connection or a full disk leaves
    bvlc_caffe.download(packages, cache, [url])
    assert two.read_bytes() == content
    assert one.stat().st_mtime_ns == before
    bvlc_caffe.download(packages, cache, [])  # nothing is missing, so no mirror is needed


@needs_apt
def test_a_second_mirror_serves_where_the_first_is_gone(mirror, cache, tmp_path):
    url, packages, _ = mirror
    bvlc_caffe.download(packages, cache, [f"file:{tmp_path}/gone", url])
    assert all((cache / package.deb).exists() for package in packages)


@needs_apt
def test_a_package_missing_on_the_mirror_is_named_with_a_remedy(mirror, cache):
    url, (_, two), _ = mirror
    newer = two._replace(version="2.1")
    with pytest.raises(OSError, match=r"pool/main/two/two_2.0_all.deb .* was not found .* --mirror URL"):
        bvlc_caffe.download([newer], cache, [url])


@needs_apt
def test_a_package_that_is_not_the_pinned_one_is_refused(mirror, cache):
    url, (one, two), _ = mirror
    forged = two._replace(sha256="0" * 64)
    with pytest.raises(OSError, match="another sha256 than the pinned one"):
        bvlc_caffe.download([one, forged], cache, [url])


@needs_apt
def test_a_mirror_that_serves_a_tampered_package_is_refused(mirror, cache):
    url, packages, root = mirror
    path = root / packages[1].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(OSError, match=r"1 packages, pool/main/two"):
        bvlc_caffe.download(packages, cache, [url])
    assert not bvlc_caffe.matches_hash(cache / packages[1].deb, packages[1])


def test_without_a_mirror_the_message_says_how_to_name_one(cache):
    package = Package("one", "1.0", "0" * 64, "pool/main/one/one_1.0_all.deb")
    with pytest.raises(OSError, match="--mirror URL or DEBIAN_MIRROR"):
        bvlc_caffe.download([package], cache, [])


def fake_apt(tmp_path, monkeypatch, script):
    """Puts a script in the place of apt-get."""
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_the_mirrors_are_those_of_this_machines_sources(tmp_path, monkeypatch):
    uris = ["main http://one/debian/", "contrib http://one/debian/", "main http://two/ubuntu/"]
    fake_apt(tmp_path, monkeypatch, f"printf '%s\\n' '{uris[0]}' '{uris[1]}' '{uris[2]}' '{uris[0]}'")
    assert bvlc_caffe.machine_mirrors() == ["http://one/debian"]


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("E: Malformed entry 1 in list file x.list\nE: The list of sources could not be read.", "Malformed"),
        ("", "apt-get ended with 100"),
    ],
)
def test_sources_that_apt_cannot_read_are_one_line(tmp_path, quick, monkeypatch, capsys, errors, message):
    fake_apt(tmp_path, monkeypatch, f"printf '%s' '{errors}' >&2; exit 100")
    monkeypatch.setattr(sys, "argv", ["bvlc_caffe.py", "--prefix", str(tmp_path / "bvlc")])
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)
    assert bvlc_caffe.main() == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"bvlc_caffe: error: {message}") and printed.count("\n") == 1


@needs_apt
def test_a_truncated_package_is_named_when_unpacked(tmp_path):
    deb = tmp_path / "broken.deb"
    deb.write_bytes(b"!<arch>\n")
    with pytest.raises(OSError, match=r"cannot unpack .*broken\.deb"):
        bvlc_caffe.extract(deb, tmp_path / "prefix")


@pytest.fixture
def quick(monkeypatch):
    """build() without the packages: unpacking is a file, the count of them is kept."""
    prefixes = []

    def unpack(debs, prefix):
        prefix.mkdir(exist_ok=True)
        (prefix / "file").write_text("x")
        prefixes.append(prefix)

    monkeypatch.setattr(bvlc_caffe, "check_host", lambda: None)
    monkeypatch.setattr(bvlc_caffe, "download", lambda packages, cache, mirrors: None)
    monkeypatch.setattr(bvlc_caffe, "unpack", unpack)
    monkeypatch.setattr(bvlc_caffe, "check_install", lambda prefix: None)
    return prefixes


def test_a_prefix_is_made_once_and_again_when_the_lock_changes(tmp_path, quick):
    prefix, lock = tmp_path / "bvlc", tmp_path / "lock"
    lock.write_text(f"one 1.0 {'0' * 64} pool/one_1.0_all.deb\n")
    assert bvlc_caffe.build(prefix, ["URL"], lock)
    assert not bvlc_caffe.build(prefix, ["URL"], lock)
    (prefix / "stale").write_text("x")
    lock.write_text(f"one 1.1 {'0' * 64} pool/one_1.1_all.deb\n")
    assert bvlc_caffe.build(prefix, ["URL"], lock)
    assert not (prefix / "stale").exists()
    assert len(quick) == 2


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_prefix_is_whole_or_absent(tmp_path, quick, monkeypatch, error):
    def fail(prefix):
        raise error

    monkeypatch.setattr(bvlc_caffe, "check_install", fail)
    with pytest.raises(error):
        bvlc_caffe.build(tmp_path / "bvlc", ["URL"])
    assert [path.name for path in tmp_path.iterdir()] == ["bvlc-debs"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_partial_prefix(number, status, tmp_path, quick, monkeypatch):
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(bvlc_caffe, "check_install", lambda prefix: signal.raise_signal(number))
    monkeypatch.setattr(sys, "argv", ["bvlc_caffe.py", "--prefix", str(tmp_path / "bvlc"), "--mirror", "URL"])
    try:
        with pytest.raises(SystemExit) as ended:
            bvlc_caffe.handle_signals()
            bvlc_caffe.main()
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert ended.value.code == status
    assert [path.name for path in tmp_path.iterdir()] == ["bvlc-debs"]


def test_an_older_prefix_survives_a_failed_rebuild(tmp_path, quick, monkeypatch):
    prefix = tmp_path / "bvlc"
    bvlc_caffe.build(prefix, ["URL"])
    (prefix / bvlc_caffe.STAMP).write_text("an older lock")
    monkeypatch.setattr(bvlc_caffe, "unpack", lambda debs, prefix: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bvlc_caffe.build(prefix, ["URL"])
    assert (prefix / "file").exists()


def test_a_folder_of_another_user_is_not_replaced(tmp_path, quick):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").write_text("x")
    with pytest.raises(ValueError, match="was not made by this command"):
        bvlc_caffe.build(tmp_path / "home", ["URL"])
    assert (tmp_path / "home" / "precious").exists()


@pytest.mark.parametrize("ending", ["old", "part"])
@pytest.mark.parametrize("error", [None, OSError])
def test_folders_of_others_beside_the_prefix_stay(tmp_path, quick, monkeypatch, ending, error):
    def fail(prefix):
        if error:
            raise error

    monkeypatch.setattr(bvlc_caffe, "check_install", fail)
    foreign = tmp_path / f"bvlc-{ending}" / "precious"
    foreign.parent.mkdir()
    foreign.write_text("x")
    with pytest.raises(ValueError, match=f"bvlc-{ending} was not made by this command"):
        bvlc_caffe.build(tmp_path / "bvlc", ["URL"])
    assert foreign.exists() and not (tmp_path / "bvlc").exists()


def test_leftovers_of_a_killed_run_are_removed(tmp_path, quick):
    for ending in ("old", "part"):
        (tmp_path / f"bvlc-{ending}" / "usr").mkdir(parents=True)
        (tmp_path / f"bvlc-{ending}" / bvlc_caffe.STAMP).write_text("x")
    assert bvlc_caffe.build(tmp_path / "bvlc", ["URL"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bvlc", "bvlc-debs"]


@needs_apt
def test_an_unsigned_mirror_pins_nothing(mirror, tmp_path, monkeypatch):
    url, _, _ = mirror
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    lax = tmp_path / "lax.conf"
    lax.write_text('Acquire::AllowInsecureRepositories "true"; APT::Get::AllowUnauthenticated "true";')
    monkeypatch.setenv("APT_CONFIG", str(lax))
    apt = bvlc_caffe.Apt(tmp_path / "apt", [url], f"signed-by={keyring}")
    with pytest.raises(OSError, match="not signed"):
        apt("apt-get", "update")


@pytest.mark.parametrize(
    ("libc", "message"), [(("glibc", "2.28"), "needs glibc 2.31"), (("", ""), "another C library")]
)
def test_a_host_that_cannot_run_it_gets_the_reason(monkeypatch, libc, message):
    monkeypatch.setattr(bvlc_caffe.platform, "libc_ver", lambda: libc)
    with pytest.raises(OSError, match=message):
        bvlc_caffe.check_host()


def test_a_host_without_apt_learns_what_to_install(monkeypatch):
    monkeypatch.setattr(bvlc_caffe.shutil, "which", lambda command: None)
    with pytest.raises(OSError, match="no apt-get and no dpkg-deb here: install the packages apt and dpkg"):
        bvlc_caffe.check_host()


PREFIX = Path(os.environ.get("BVLC_CAFFE", bvlc_caffe.ROOT / "build" / "bvlc"))


@pytest.fixture
def bvlc(tmp_path, monkeypatch):
    """Runs a program of the prefix in an empty folder and returns what it says."""
    if not PREFIX.exists():
        pytest.skip(f"no BVLC Caffe in {PREFIX}: make bvlc-caffe")
    monkeypatch.chdir(tmp_path)

    def run(program, *arguments, **environment):
        done = subprocess.run(
            [str(PREFIX / "bin" / program), *arguments],
            env={"PATH": os.defpath, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.mark.bvlc
def test_what_caffe_trains_pycaffe_loads(bvlc):
    Path("net.prototxt").write_text(
        """
        layer { name: "x" type: "DummyData" top: "x" top: "y" dummy_data_param {
            shape { dim: 2 dim: 1 dim: 4 dim: 4 } data_filler { value: 2 } data_filler { value: 1 } } }
        layer { name: "conv" type: "Convolution" bottom: "x" top: "z" convolution_param {
            num_output: 1 kernel_size: 1 bias_term: false weight_filler { type: "constant" value: 1 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "y" top: "loss" }
        """
    )
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" type: "Adam" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 3 '
        'display: 1 snapshot_prefix: "snap"'
    )
    log = bvlc("caffe", "train", "-solver", "solver.prototxt")
    # By hand: the loss is 16 (2 w - 1)^2 / 2; w starts at 1, and Adam's first step is base_lr long.
    losses = [float(value) for value in re.findall(r"Iteration \d.*, loss = (\S+)", log)]
    assert losses[:2] == pytest.approx([8, 5.12], rel=1e-6)
    output = bvlc(
        "python",
        "-c",
        "import caffe; net = caffe.Net('net.prototxt', 'snap_iter_3.caffemodel', caffe.TEST);"
        "print('weight', net.params['conv'][0].data.item())",
    )
    weight = float(output.rsplit("weight", 1)[1])
    assert 8 * (2 * weight - 1) ** 2 == pytest.approx(losses[-1], rel=1e-4)


@pytest.mark.bvlc
def test_python_layers_run_inside_the_command(bvlc):
    Path("twice.py").write_text(
        "import caffe\n"
        "class Twice(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
        "    def backward(self, top, down, bottom): pass\n"
    )
    Path("net.prototxt").write_text(
        """
        layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }
        layer { name: "y" type: "Python" bottom: "x" top: "y"
                python_param { module: "twice" layer: "Twice" } }
        """
    )
    log = bvlc("caffe", "time", "-model", "net.prototxt", "-iterations", "1", PYTHONPATH=".")
    assert "Average Forward pass" in log


@pytest.mark.bvlc
def test_nothing_leaks_out_of_the_launcher(bvlc):
    output = bvlc(
        "python",
        "-c",
        "import os, subprocess, sys; print(sorted(os.environ));"
        "print(subprocess.check_output([sys.executable, '-c', 'import caffe; print(caffe.__version__)']))",
        LC_ALL="C.UTF-8",
    )
    names, version = output.splitlines()
    assert set(eval(names)) <= {"PATH", "LC_ALL", "LC_CTYPE", "PWD", "_"}
    assert version == r"b'1.0.0\n'"


@pytest.mark.bvlc
def test_packages_of_pythonpath_do_not_displace_its_own(bvlc):
    Path("caffe.py").write_text("__version__ = 'another'")
    Path("mine.py").write_text("word = 'found'")
    os.mkdir("scripts")
    script = "import caffe, mine; print(caffe.__version__, mine.word)"
    Path("scripts/run.py").write_text(script)
    assert bvlc("python", "scripts/run.py", PYTHONPATH=os.getcwd()) == "1.0.0 found\n"


@pytest.mark.bvlc
def test_the_prefix_may_be_reached_by_a_link(bvlc, tmp_path):
    link = tmp_path / "with space"
    link.symlink_to(PREFIX / "bin" / "python")
    done = subprocess.run([str(link), "-c", "import caffe, matplotlib.pyplot"], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
