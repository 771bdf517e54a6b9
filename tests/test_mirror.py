"""tests/ mirrors the tree: FOLDER/NAME.py has tests/FOLDER/test_NAME.py, but for what TESTED_IN lists."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("two_stream_fusion", "data_prep", "eval", "tools", "experiments", "caffe_torch/caffe")
# A module or a folder, and the file or folder of tests/ that tests it.
TESTED_IN = {
    "two_stream_fusion/io/decode.py": "two_stream_fusion/io/test_images.py",  # by reading and writing files
    "two_stream_fusion/io/encode.py": "two_stream_fusion/io/test_images.py",
    "two_stream_fusion/io/png.py": "two_stream_fusion/io/test_images.py",
    "two_stream_fusion/io/raw.py": "two_stream_fusion/io/test_images.py",
    "two_stream_fusion/methods/lp.py": "two_stream_fusion/methods/test_pyramids.py",  # all three
    "two_stream_fusion/methods/rp.py": "two_stream_fusion/methods/test_pyramids.py",
    "two_stream_fusion/methods/cp.py": "two_stream_fusion/methods/test_pyramids.py",
    "two_stream_fusion/metrics": "two_stream_fusion/metrics",  # one test, all metrics
    "two_stream_fusion/stack/details.py": "two_stream_fusion/stack/test_pair_selection.py",
    "two_stream_fusion/stack/sequences.py": "two_stream_fusion/stack/test_matte.py",  # types alone
    "eval/figures.py": "eval/test_tables.py",  # a command's parts
    "eval/results.py": "eval/test_tables.py",
    "eval/pairs.py": "eval/test_compare.py",
    "tools/net_options.py": "tools/test_show_maps.py",
    "experiments/stacks": "experiments",
    "caffe_torch/caffe/_caffe.py": "caffe_torch/test_pycaffe.py",
    "caffe_torch/caffe/layers/python.py": "caffe_torch/test_python_layer.py",
    "caffe_torch/caffe/net_builder.py": "caffe_torch/test_net.py",
    "caffe_torch/caffe/onnx_layers": "caffe_torch/test_onnx_export.py",  # one test, all layers
    "caffe_torch/caffe/python_node.py": "caffe_torch/test_python_layer.py",
    "caffe_torch/caffe/run_state.py": "caffe_torch/test_snapshot.py",
}


def test_every_module_has_its_tests():
    missing = []
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT)
        mirrored = str(name.with_name(f"test_{name.name}")).replace("caffe_torch/caffe/", "caffe_torch/")
        is_listed = any(str(ancestor) in TESTED_IN for ancestor in (name, *name.parents))
        if not (path.stem.startswith("__") or is_listed or (ROOT / "tests" / mirrored).is_file()):
            missing.append(str(name))
    assert missing == []


def test_what_is_listed_exists():
    for name, tests in TESTED_IN.items():
        assert (ROOT / name).exists() and (ROOT / "tests" / tests).exists(), name
