"""How far exported nets are from BVLC Caffe in several runtimes: the table of caffe_torch/README.md.

    python -m tests.bvlc.export_table [PYTHON ...]

Needs BVLC Caffe (make bvlc-caffe, or BVLC_CAFFE). Each PYTHON is the interpreter of another environment, with
OpenCV 4 or with ncnn and pnnx for example. The runtimes that it can import are tried. Every net runs at three
sizes where they are free. The table has the greatest difference of any output value.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import caffe
import numpy as np
from caffe import onnx_export

from tests.bvlc import run_exported
from tests.caffe_torch import exported_nets


def prepare(folder):
    """{name: its folder} of the released and the small nets, exported, with weights and inputs."""
    folders = {name: Path(folder, name) for name in [*exported_nets.RELEASED, *exported_nets.SMALL]}
    for name, net_folder in folders.items():
        net_folder.mkdir()
        path = net_folder / "net.prototxt"
        if name in exported_nets.SMALL:
            path.write_text(exported_nets.SMALL[name])
            net = caffe.Net(path, caffe.TEST)
            exported_nets.fill(net)
        else:
            path.write_text(Path(exported_nets.deploy(exported_nets.RELEASED[name])).read_text())
            net = caffe.Net(path, caffe.TEST, weights=exported_nets.weights(name))
        net.save(net_folder / "w.caffemodel")
        onnx_export.export(path, [net_folder / "w.caffemodel"], net_folder / "net.onnx")
        batches = exported_nets.feeds(net, "InnerProduct" not in path.read_text())
        arrays = {f"{i}/{name}": x for i, batch in enumerate(batches) for name, x in batch.items()}
        np.savez(net_folder / "inputs.npz", **arrays)
    return folders


def run(python, runtime, folders):
    """Run the nets in turn with a runtime of an interpreter; those that it fails on are left out."""
    environment = {**os.environ, "GLOG_minloglevel": "2"}
    environment.pop("PYTHONPATH", None)  # which has caffe_torch, perhaps
    rest = list(folders)
    while rest:
        command = [python, run_exported.__file__, runtime, *rest]
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
        if not done.returncode:
            return
        failed = next(i for i, net_folder in enumerate(rest) if not (net_folder / f"{runtime}.npz").exists())
        reason = done.stderr.strip()[-300:] or f"exit status {done.returncode}"
        print(f"{runtime}, {rest[failed].name}: {reason}", file=sys.stderr)
        rest = rest[failed + 1 :]


def difference(net_folder, runtime):
    """The greatest difference of any output value from BVLC Caffe, as text."""
    if not (net_folder / f"{runtime}.npz").exists():
        return "not read"
    theirs, ours = (list(np.load(net_folder / f"{name}.npz").values()) for name in ("caffe", runtime))
    if [x.shape for x in theirs] != [x.shape for x in ours]:
        return "other shape"
    return f"{max(float(np.abs(a - b).max()) for a, b in zip(theirs, ours, strict=True)):.0e}"


def main(pythons):
    """Print the table."""
    bvlc = Path(os.environ.get("BVLC_CAFFE", exported_nets.ROOT / "build" / "bvlc")) / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        folders, columns = prepare(folder), {}
        run(bvlc, "caffe", folders.values())
        for python in [sys.executable, *pythons]:
            listed = subprocess.run(
                [python, run_exported.__file__, "--list"], capture_output=True, text=True, check=True
            )
            for line in listed.stdout.splitlines():
                runtime, title = line.split("\t")
                for net_folder in folders.values():
                    (net_folder / f"{runtime}.npz").unlink(missing_ok=True)
                run(python, runtime, folders.values())
                columns[title] = [difference(net_folder, runtime) for net_folder in folders.values()]
    print("| net |", " | ".join(columns), "|")
    print("|---" * (1 + len(columns)) + "|")
    for name, *row in zip(folders, *columns.values(), strict=True):
        print("|", " | ".join([name, *row]), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
