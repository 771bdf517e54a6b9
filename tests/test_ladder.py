"""Who may import whom: every file imports only from its own floor and from those below it."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LADDER = ("experiments", "tools", "eval", "data_prep", "two_stream_fusion", "caffe")
ROOMS = tuple(
    f"two_stream_fusion.{room}" for room in ("report", "pipeline", "stack", "methods", "io", "base")
)


def imports(path):
    """The dotted names that a file of absolute imports asks for, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level or "caffe_torch" in path.parts, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not node.level)


def floor(name, ladder):
    return next((i for i, step in enumerate(ladder) if f"{name}.".startswith(f"{step}.")), None)


@pytest.mark.parametrize("ladder", [LADDER, ROOMS], ids=["folders", "rooms"])
def test_nothing_imports_what_is_above_it(ladder):
    upward = set()
    for path in (path for folder in LADDER[:-1] for path in (ROOT / folder).rglob("*.py")):
        own = floor(".".join(path.relative_to(ROOT).with_suffix("").parts), ladder)
        for name in imports(path):
            other = floor(name, ladder)
            if own is not None and other is not None and other < own:
                upward.add((path.relative_to(ROOT).as_posix(), ladder[other]))
    assert upward == set()


@pytest.mark.parametrize(
    ("folder", "own"),
    [("two_stream_fusion/metrics", "two_stream_fusion.metrics"), ("caffe_torch/caffe", "caffe")],
)
def test_metrics_and_caffe_torch_stand_alone(folder, own):
    names = [name for path in (ROOT / folder).rglob("*.py") for name in imports(path)]
    assert [name for name in names if floor(name, LADDER) is not None and floor(name, (own,)) is None] == []


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names")
def test_base_imports_little():
    allowed = {"numpy", "cv2", "tqdm", "two_stream_fusion", *sys.stdlib_module_names}
    names = [name for path in (ROOT / "two_stream_fusion/base").rglob("*.py") for name in imports(path)]
    assert {name.split(".")[0] for name in names} <= allowed
