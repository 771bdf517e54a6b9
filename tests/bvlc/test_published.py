"""LeNet and CIFAR-10 quick of BVLC/caffe on small databases of drawn digits: the same losses by both Caffes.

BVLC_SOURCE=DIR, a git clone of BVLC/caffe, takes the published files themselves. Without it they are those of
tests/golden/digits.py, whose layers are the same. Only the number of test batches is changed, from 100 to 2.
"""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.bvlc.conftest import run
from tests.caffe_torch.helpers import assert_same_log
from tests.golden import digits

pytestmark = pytest.mark.bvlc

pytest.importorskip("lmdb", reason="pip install lmdb")

SCRIPT = """
import sys, caffe, numpy as np
prefix, out = sys.argv[1:]
solver = caffe.get_solver(prefix + "_solver.prototxt")
solver.net.copy_from("first.caffemodel")
losses = []
for _ in range(6):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
test = solver.test_nets[0]
test.forward()
found = {name: blobs[0].data for name, blobs in solver.net.params.items()}
np.savez(out, losses=losses, scores=test.blobs["ip2"].data, **found)
"""


def published(path):
    """A file of BVLC/caffe; None where there is no clone of it."""
    if "BVLC_SOURCE" not in os.environ:
        return None
    command = ["git", "-C", os.environ["BVLC_SOURCE"], "show", f"HEAD:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", digits.EXAMPLES)
def test_the_files_train_alike(both, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOG_minloglevel", "0")
    digits.write_images(name)
    for path, text in digits.files(name).items():
        Path(path).write_text((published(path) or text).replace("test_iter: 100", "test_iter: 2"))
    prefix = digits.EXAMPLES[name][0]
    script = "import caffe; caffe.set_random_seed(1); "
    script += f"caffe.Net('{prefix}_train_test.prototxt', caffe.TRAIN).save('first.caffemodel')"
    run([both["bvlc"] / "python", "-c", script])
    tested = {}
    for program, folder in both.items():
        log = run([folder / "python", "-c", SCRIPT, prefix, f"{program}.npz"])
        tested[program] = re.findall(r"\] +(Test net output #\d: .*)", log)
    assert len(tested["bvlc"]) == 2
    assert_same_log(tested["torch"], tested["bvlc"], rtol=1e-3)
    theirs, ours = (np.load(f"{program}.npz") for program in both)
    assert np.ptp(theirs["losses"]) > 0.001
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-5)
    for what in theirs:
        size = np.abs(theirs[what]).max()
        # Rounding decides which of two nearly equal values MAX pooling takes, and so where a gradient goes.
        np.testing.assert_allclose(ours[what], theirs[what], rtol=0, atol=2e-2 * size, err_msg=what)


@pytest.mark.parametrize("name", digits.EXAMPLES)
def test_our_files_are_the_published_ones(name):
    for path, text in digits.files(name).items():
        message_type = caffe_pb2.SolverParameter if "solver" in path else caffe_pb2.NetParameter
        if not (theirs := published(path)):
            pytest.skip("BVLC_SOURCE is not set")
        assert text_format.Parse(text, message_type()) == text_format.Parse(theirs, message_type())
