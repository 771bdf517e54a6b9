"""Public functions have types and docstrings; of several parameters Args names each, and Returns follows."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("two_stream_fusion", "data_prep", "eval", "tools", "experiments")
PROGRAMS = ("main", "command")  # their module's docstring is the text of --help


def public_functions(path):
    """(qualified name, node) of the functions and methods of a file that have no leading underscore."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for child in node.body if isinstance(node, ast.ClassDef) and node.name[0] != "_" else [node]:
            if isinstance(child, ast.FunctionDef) and child.name[0] != "_" and child.name not in PROGRAMS:
                yield child.name if child is node else f"{node.name}.{child.name}", child


def list_parameters(function):
    """The parameters of a function, without self and cls."""
    args = function.args
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [p for p in parameters if p is not None and p.arg not in ("self", "cls")]


def list_faults(function):
    """What a function's signature and docstring lack, one text each."""
    parameters, doc = list_parameters(function), ast.get_docstring(function) or ""
    faults = [f"{p.arg} has no type" for p in parameters if p.annotation is None]
    faults += [] if function.returns is not None else ["no return type"]
    faults += [] if doc else ["no docstring"]
    described = re.search(r"^Args:\n((?: .*\n|\n)*)", f"{doc}\n", re.MULTILINE)
    names = re.findall(r"^ +([\w, *]+):", described[1], re.MULTILINE) if described else []
    documented = {name.strip(" *") for line in names for name in line.split(",")}
    if len(parameters) > 1:
        faults += [f"Args lacks {p.arg}" for p in parameters if p.arg not in documented]
    is_void = isinstance(
        getattr(function.returns, "slice", function.returns), ast.Constant
    )  # Iterator[None] too
    if described and not is_void and not re.search("^(Returns|Yields):$", doc, re.MULTILINE):
        faults.append("no Returns")
    return faults


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_functions_have_types_and_docstrings(folder):
    faults = [
        f"{path.relative_to(ROOT)}:{function.lineno} {name}: {', '.join(found)}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, function in public_functions(path)
        for found in [list_faults(function)]
        if found
    ]
    assert faults == []
