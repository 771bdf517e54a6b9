import os
import re
import subprocess
import sys

import numpy as np
import pytest

from two_stream_fusion.io import images
from two_stream_fusion.io.stderr import captured_stderr, silenced_stderr


def test_messages_are_taken_and_others_are_printed(capfd):
    with captured_stderr(re.compile(rb"Corrupt[^\n]*\n")) as printed:
        os.write(2, b"\r50 %Corrupt JPEG data: premature end\na warning\n")
    assert printed == [b"Corrupt JPEG data: premature end\n"]
    assert capfd.readouterr().err == "\r50 %a warning\n"


def test_what_libraries_print_is_dropped(capfd):
    with silenced_stderr():
        os.write(2, b"libpng error\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_images_are_read_where_standard_error_is_closed(tmp_path):
    names = [str(tmp_path / name) for name in ("x.jpg", "x.png")]
    for name, dtype in zip(names, (np.uint8, np.uint16)):
        images.write(name, np.zeros((9, 9), dtype))
    code = f"from two_stream_fusion.io import images; print([images.read(name).shape for name in {names}])"
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
    process = subprocess.run(
        [*closed, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    assert process.stdout == "[(9, 9), (9, 9)]\n"
