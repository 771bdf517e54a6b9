"""What `pip install .` brings: one package, two commands, the released models and their nets."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from two_stream_fusion import __version__
from two_stream_fusion.io import images

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("setuptools", minversion="70.1", reason="the wheel is built by setuptools")


def run(command: list, folder: Path, **variables: str) -> str:
    """Run a command in a folder that is not the checkout; what it printed."""
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of the checkout, built from a copy: setuptools writes beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if files.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(ROOT / name, target)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", str(folder), str(folder / "source")], folder)
    (path,) = folder.glob("*.whl")
    return path


def test_files_of_the_wheel(wheel):
    assert wheel.name == f"two_stream_fusion-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "two_stream_fusion"
    expected = {str(path.relative_to(ROOT)) for path in package.rglob("*.py")}
    expected |= {f"two_stream_fusion/report/page.{suffix}" for suffix in ("html", "css", "js")}
    expected |= {"two_stream_fusion/tools/fuse.py", "two_stream_fusion/eval/score.py"}
    expected |= {f"two_stream_fusion/{folder}/__init__.py" for folder in ("tools", "eval")}
    for pattern in ("models/*/readme.md", "models/*/*.caffemodel", "prototxt/*/deploy.prototxt"):
        expected |= {f"two_stream_fusion/{path.relative_to(ROOT)}" for path in ROOT.glob(pattern)}
    assert names == expected


@pytest.mark.slow
def test_commands_run_outside_of_the_checkout(wheel, tmp_path, rendered_pair):
    """Installed in an environment of its own, which takes the libraries of this one."""
    run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], tmp_path)
    python, paths = tmp_path / "venv/bin/python", sysconfig.get_paths()
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n{ROOT / 'caffe_torch'}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    run([*pip, "--ignore-installed", "--no-index", str(wheel)], tmp_path)
    a, b, _ = (image[:120, :160] for image in rendered_pair)
    images.write(tmp_path / "a.png", a)
    images.write(tmp_path / "b.png", b)
    home = run([python, "-c", "import two_stream_fusion as f; print(f.__file__)"], tmp_path, PYTHONPATH="")
    assert home.startswith(str(site))
    commands = tmp_path / "venv/bin"
    for options in (["--fast"], ["--method", "cnn"], ["--model", "2-1-2_f64_k5-paper"]):
        fuse = [commands / "two-stream-fuse", "a.png", "b.png", "-o", "fused.png", "--force", *options]
        run(fuse, tmp_path, PYTHONPATH="")
        assert images.read(tmp_path / "fused.png").shape == a.shape
    scores = run([commands / "two-stream-score", "a.png", "b.png", "fused.png"], tmp_path, PYTHONPATH="")
    assert "Qabf" in scores and "fused" in scores
