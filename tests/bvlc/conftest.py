import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BVLC = Path(os.environ.get("BVLC_CAFFE", ROOT / "build" / "bvlc")) / "bin"
OURS = Path(sys.executable).parent


@pytest.fixture(scope="session")
def both():
    """{"bvlc": folder of its `caffe` and `python`, "torch": the same of caffe_torch}."""
    if not (BVLC / "caffe").exists():
        pytest.skip(f"no BVLC Caffe in {BVLC.parent}: make bvlc-caffe installs it")
    return {"bvlc": BVLC, "torch": OURS}


def run(command, **options):
    """Run a command from a list; what it printed, stdout then stderr. Fails the test where it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr
