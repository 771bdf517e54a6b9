"""Which code made a result: the source files that a module runs, and one digest of them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from pathlib import Path


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def source_files(*modules: str) -> dict[str, Path]:
    """The files of modules and of all that they import from their own top-level packages.

    Imports are read from the source, those inside functions too; nothing is run but the packages' own
    ``__init__``.

    Args:
        modules: dotted names, such as "two_stream_fusion.methods.gf".

    Returns:
        {dotted name: file}, sorted by name.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    packages = {module.split(".")[0] for module in modules}
    files: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in files:
            continue
        path = _file(name)
        if path is None:
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)
        files[name] = path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                candidates = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(node, name, path)
                candidates = [f"{base}.{alias.name}" for alias in node.names]
                candidates = [c if _file(c) else base for c in candidates]
            else:
                continue
            pending += [c for c in candidates if c.split(".")[0] in packages and _file(c)]
    return dict(sorted(files.items()))


def code_digest(*modules: str) -> str:
    """The SHA-256 of all files of `source_files`, in the order of their names."""
    return sha256(b"".join(path.read_bytes() for path in source_files(*modules).values()))


def _absolute(node, name, path):
    """The dotted name that an ImportFrom in module `name` imports from."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    parts = parts[: len(parts) - node.level + (path.name == "__init__.py")]
    return ".".join([*parts, node.module] if node.module else parts)


def _file(name):
    """The source file of a module; None where it has none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
