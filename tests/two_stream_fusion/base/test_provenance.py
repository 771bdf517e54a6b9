import hashlib
import sys

import pytest

from two_stream_fusion.base import provenance


def test_imports_of_the_own_package_are_followed(tmp_path, monkeypatch):
    texts = {
        "__init__": "",
        "a": "import os\nfrom . import b\n",
        "b": "def f():\n    from package_of_test.c import x\n",
        "c": "x = 1\n",
        "unused": "",
    }
    folder = tmp_path / "package_of_test"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "package_of_test", raising=False)
    files = provenance.source_files("package_of_test.a")
    assert [path.stem for path in files.values()] == ["a", "b", "c"]
    data = "".join(texts[name] for name in "abc").encode()
    assert provenance.code_digest("package_of_test.a") == hashlib.sha256(data).hexdigest()
    with pytest.raises(ModuleNotFoundError):
        provenance.source_files("package_of_test.missing")
