"""Run nets in one runtime; export_table.py starts this with several interpreters.

run_exported.py --list                    the runtimes that can be imported
run_exported.py RUNTIME FOLDER [...]      net.prototxt and w.caffemodel, or net.onnx, on inputs.npz of each
                                          folder; the first output goes to RUNTIME.npz
"""

import subprocess
import sys
from pathlib import Path

import numpy as np


def batches(folder):
    """The inputs of a net, as {name: array} for each size."""
    result = {}
    for key, array in np.load(str(folder / "inputs.npz")).items():
        size, _, name = key.partition("/")
        result.setdefault(size, {})[name] = array
    return list(result.values())


def run_caffe(folder):
    import caffe

    net, results = (
        caffe.Net(str(folder / "net.prototxt"), caffe.TEST, weights=str(folder / "w.caffemodel")),
        [],
    )
    for batch in batches(folder):
        for name, array in batch.items():
            net.blobs[name].reshape(*array.shape)
        net.reshape()
        for name, array in batch.items():
            net.blobs[name].data[...] = array
        net.forward()
        results.append(net.blobs[net.outputs[0]].data.copy())
    return results


def run_onnxruntime(folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    return [session.run(None, batch)[0] for batch in batches(folder)]


def run_cv2(folder):
    import cv2

    net, results = cv2.dnn.readNetFromONNX(str(folder / "net.onnx")), []
    for batch in batches(folder):
        for name, array in batch.items():
            net.setInput(array, name)
        results.append(net.forward().copy())
    return results


def run_ncnn(folder):
    import ncnn

    inputs = batches(folder)
    # pnnx takes the sizes that differ between two examples as free.
    examples = [",".join(str(list(x.shape)) for x in batch.values()).replace(" ", "") for batch in inputs[:2]]
    shapes = [f"inputshape{i or ''}={example}" for i, example in zip((0, 2), examples)]
    command = [Path(sys.executable).parent / "pnnx", "net.onnx", *shapes, "fp16=0"]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    results = []
    for batch in inputs:
        net = ncnn.Net()
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        if net.load_param(str(folder / "net.ncnn.param")) or net.load_model(str(folder / "net.ncnn.bin")):
            raise ValueError("ncnn does not read what pnnx wrote")
        extractor = net.create_extractor()
        arrays = [np.ascontiguousarray(x[0]) for x in batch.values()]
        for name, array in zip(net.input_names(), arrays):
            extractor.input(name, ncnn.Mat(array).clone())
        results.append(np.array(extractor.extract(net.output_names()[0])[1])[None])
    return results


RUNTIMES = {"onnxruntime": "ONNX Runtime", "cv2": "OpenCV", "ncnn": "ncnn"}


def main(arguments):
    if arguments == ["--list"]:
        for module, title in RUNTIMES.items():
            try:
                print(f"{module}\t{title} {__import__(module).__version__}")
            except ImportError:
                continue
        return
    runtime, *folders = arguments
    for folder in map(Path, folders):
        np.savez(str(folder / f"{runtime}.npz"), *globals()[f"run_{runtime}"](folder))


if __name__ == "__main__":
    main(sys.argv[1:])
