"""A script written for pycaffe runs unchanged and finds what it found with BVLC Caffe 1.0."""

from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import io

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import solver_with_first_weights
from tests.golden import pycaffe as script
from tests.golden import pycaffe_checks

GOLDEN = dict(np.load(Path(script.__file__).with_suffix(".npz")))


@pytest.fixture(scope="module")
def arrays():
    return script.run()


def test_the_script_finds_the_same_things(arrays):
    assert set(arrays) == set(GOLDEN)


@pytest.mark.parametrize("array_name", GOLDEN)
def test_the_script_finds_the_same(arrays, array_name):
    ours, theirs = np.asarray(arrays[array_name]), GOLDEN[array_name]
    assert ours.shape == theirs.shape
    if theirs.dtype.kind == "U":
        assert ours.tolist() == theirs.tolist()
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_names_that_scripts_take_from_pycaffe():
    from caffe.pycaffe import Net, get_solver

    assert (Net, get_solver) == (caffe.Net, caffe.get_solver)
    pytest.importorskip("skimage")
    assert io.resize(np.zeros((2, 2)), (3, 4)).shape == io.zoom(np.zeros((3, 2)), (1, 2)).shape == (3, 4)
    assert callable(io.skimage.io.imread)


def test_the_compiled_module_has_one_list_with_caffe():
    assert set(caffe._caffe.__all__) < set(caffe.__all__)
    for module in (caffe, caffe._caffe):
        assert set(module.__all__) <= set(dir(module)) and len(set(module.__all__)) == len(module.__all__)
    for name in caffe._caffe.__all__:
        assert getattr(caffe, name) is getattr(caffe._caffe, name)
    in_the_module_alone = {"Blob", "BlobVec", "Solver"}
    public = {name for name in dir(caffe._caffe) if not name.startswith("_")}
    assert public == in_the_module_alone | set(caffe._caffe.__all__)
    assert not in_the_module_alone & set(dir(caffe))


def test_the_solver_classes_of_pycaffe(training_folder):
    text = cases.SOLVER + 'base_lr: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 2 type: "Adam" momentum: 0.9'
    assert type(solver_with_first_weights(text)) is caffe.AdamSolver
    solver = solver_with_first_weights(text, caffe.SGDSolver)
    assert type(solver._rule).__name__ == "SGD"
    solver.step(3)
    assert solver.iter == 3
    assert solver.lr == pytest.approx(0.0005)
    assert (solver.param.max_iter, solver.param.base_lr) == (10, pytest.approx(0.001))
    solver.step(0)
    assert solver.iter == 3


@pytest.mark.parametrize("check", pycaffe_checks.CHECKS, ids=lambda check: check.__name__)
def test_checks_that_pycaffe_passes(check, tmp_folder):
    check()
