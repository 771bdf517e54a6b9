"""Public functions have types and docstrings: Args names each of several parameters, Returns follows.

Raises names each exception that a public function raises itself, and nothing that is no exception.
"""

import ast
import builtins
import importlib
import operator
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


def own_nodes(node):
    """The nodes below a node that run with it: not those of functions and classes within."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from own_nodes(child)


def raised_names(function):
    """The exceptions that `raise NAME(...)` and `raise NAME` of a function raise, unless it catches them."""
    caught = {}  # {id of a raise: names that its function catches around it}
    for node in own_nodes(function):
        if isinstance(node, ast.Try):
            names = {
                ast.unparse(n) for h in node.handlers if h.type for n in getattr(h.type, "elts", [h.type])
            }
            for statement in node.body:
                for inner in (statement, *own_nodes(statement)):
                    caught.setdefault(id(inner), set()).update(names)
    for node in own_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = ast.unparse(getattr(node.exc, "func", node.exc))
            if name.rpartition(".")[2][:1].isupper() and name not in caught.get(id(node), ()):
                yield name


def documented_exceptions(function):
    """The names in the section Raises of a docstring."""
    section = re.search(r"^Raises:\n((?: .*\n|\n)*)", f"{ast.get_docstring(function) or ''}\n", re.MULTILINE)
    lines = re.findall(r"^    (?! )([^:]+):", section[1], re.MULTILINE) if section else []
    return [name for line in lines for name in re.split(", | or ", line)]


def exception_type(name, path):
    """The type of exception that a name is in the file `path`, or None."""
    found = getattr(builtins, name, None)
    if found is None:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        try:
            found = operator.attrgetter(name)(module)
        except AttributeError:
            return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


@pytest.mark.parametrize("folder", FOLDERS)
def test_raises_is_honest(folder):
    faults = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name, function in public_functions(path):
            where = f"{path.relative_to(ROOT)}:{function.lineno} {name}"
            documented = {n: exception_type(n, path) for n in documented_exceptions(function)}
            faults += [
                f"{where}: {n} is no exception there" for n, known in documented.items() if known is None
            ]
            bases = tuple(filter(None, documented.values()))
            raised = {n for n in raised_names(function) if n not in documented}
            faults += [
                f"{where}: Raises lacks {n}" for n in raised if not issubclass(exception_type(n, path), bases)
            ]
    assert faults == []
