"""Batches of Data, ImageData, MemoryData and WindowData layers, by whichever Caffe runs this, to a .npz.

Made with BVLC Caffe 1.0, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python tests/golden/images.py tests/golden/images.npz
The tests run the same with caffe_torch and compare. Everything random is left out.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import caffe
import cv2
import numpy as np

SIZE = 12, 10  # of all images but wide.png
COUNT = 5


def write_images():
    """0.png ... 4.png and wide.png, by whole-number arithmetic, list.txt and labels."""
    i, j, c = np.indices((*SIZE, 3))
    for k in range(COUNT):
        cv2.imwrite(f"{k}.png", ((i * 17 + j * 29 * (k + 1) + c * 71 + i * j * k) % 256).astype(np.uint8))
    i, j, c = np.indices((30, 40, 3))
    cv2.imwrite("wide.png", ((i * j // 3 + i * 5 + c * 40) % 256).astype(np.uint8))
    lines = [f"{k}.png {(k * 3 + 1) % COUNT}\n" for k in range(COUNT)]
    Path("list.txt").write_text("".join(lines))
    Path("mixed.txt").write_text(lines[0] + "wide.png 7\n" + lines[3])
    mean = np.arange(3 * SIZE[0] * SIZE[1], dtype=np.float32) / 7
    proto = caffe.proto.caffe_pb2.BlobProto(num=1, channels=3, height=SIZE[0], width=SIZE[1], data=mean)
    Path("mean.binaryproto").write_bytes(proto.SerializeToString())
    Path("windows.txt").write_text("# 0\nwide.png\n3\n30\n40\n2\n4 0.9 3 2 30 25\n0 0.1 10 8 38 29\n")


def command(name, *arguments):
    """Run convert_imageset or compute_image_mean: BVLC Caffe's beside its Python, or ours."""
    prefix = [*Path(caffe.__file__).parents][:6][-1]  # of BVLC Caffe's packages; ours may lie less deep
    tool = prefix / "usr/bin" / name
    if tool.exists():
        lib = prefix / "usr/lib/x86_64-linux-gnu"
        path = f"{lib}/openblas-pthread:{lib}:{prefix}/lib/x86_64-linux-gnu:{prefix}/usr/lib"
        environment = {**os.environ, "LD_LIBRARY_PATH": path}
        subprocess.run([str(tool), *arguments], check=True, stderr=subprocess.DEVNULL, env=environment)
        return
    from caffe import image_tools

    main = {"convert_imageset": image_tools.convert_main, "compute_image_mean": image_tools.mean_main}
    assert main[name](list(arguments)) == 0


def batches(layer_type, settings, count=3, phase=caffe.TEST, tops=2):
    """{name: array} of the first batches of a layer of this type."""
    names = ["data", "label"][:tops]
    tops = " ".join(f'top: "{name}"' for name in names)
    Path("net.prototxt").write_text(f'layer {{ name: "in" type: "{layer_type}" {tops} {settings} }}\n')
    net = caffe.Net("net.prototxt", phase)
    if layer_type == "MemoryData":
        rows = np.random.RandomState(3).standard_normal((6, 2, 3, 4)).astype(np.float32)
        net.set_input_arrays(rows, np.arange(6, dtype=np.float32))
    arrays = {}
    for i in range(count):
        net.forward()
        arrays.update({f"{i} {name}": net.blobs[name].data.copy() for name in names})
    return arrays


def data(name, batch, transform="", **more):
    settings = f'data_param {{ source: "{name}" batch_size: {batch} backend: LMDB }}'
    return batches("Data", f"{settings} transform_param {{ {transform} }}", **more)


def files(settings="", transform="", source="list.txt", batch=2, **more):
    settings = f'image_data_param {{ source: "{source}" batch_size: {batch} {settings} }}'
    return batches("ImageData", f"{settings} transform_param {{ {transform} }}", **more)


def cases():
    """(case, {name: array}) of everything."""
    for name, flags in (
        ("color", []),
        ("gray", ["-gray", "-check_size"]),
        ("resized", ["--resize_width=7", "-resize_height", "6"]),
        ("encoded", ["-encoded"]),
        ("typed", ["-encode_type=png"]),
    ):
        command("convert_imageset", *flags, "./", "list.txt", name)
        yield f"data {name}", data(name, 3)
    for name in ("color", "encoded"):
        command("compute_image_mean", name, name + ".binaryproto")
        proto = caffe.proto.caffe_pb2.BlobProto.FromString(Path(name + ".binaryproto").read_bytes())
        yield f"mean {name}", {"mean": np.array(proto.data, np.float32), "height": np.array(proto.height)}
    yield "data train", data("color", 4, "scale: 0.00390625", phase=caffe.TRAIN)
    yield "data one top", data("color", 2, tops=1)
    yield "data crop", data("color", 2, "crop_size: 7 mean_value: 100")
    yield "data mean file", data("color", 2, 'crop_size: 5 scale: 0.5 mean_file: "mean.binaryproto"')
    yield "data mean values", data("color", 2, "mean_value: 100 mean_value: 110.5 mean_value: 90")
    yield "data force gray", data("encoded", 2, "force_gray: true crop_size: 9")
    yield "data force color", data("encoded", 2, "force_color: true")
    yield "files", files()
    yield "files gray", files("is_color: false", "scale: 0.1")
    yield "files resized", files("new_height: 9 new_width: 14", "crop_size: 8", source="mixed.txt")
    yield "files one by one", files(source="mixed.txt", batch=1, count=4)
    yield "files root", files('root_folder: "./"', 'mean_file: "mean.binaryproto"', phase=caffe.TRAIN)
    shape = "memory_data_param { batch_size: 2 channels: 2 height: 3 width: 4 }"
    yield "memory", batches("MemoryData", shape, count=5)
    for i, (settings, transform) in enumerate(
        [
            ("", "mean_value: 50"),
            ("context_pad: 2 fg_fraction: 0.5 scale: 0.5", 'mean_file: "mean.binaryproto"'),
            ('crop_mode: "square" context_pad: 1', ""),
            ("cache_images: true", ""),
        ]
    ):
        settings = f'window_data_param {{ source: "windows.txt" batch_size: 4 {settings} }}'
        transform = f"transform_param {{ crop_size: 9 {transform} }}"
        yield f"windows {i}", batches("WindowData", f"{settings} {transform}", count=2)


def run():
    """{"case/name": array}, found in a temporary folder."""
    all_arrays, before = {}, os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            write_images()
            for case, arrays in cases():
                all_arrays.update({f"{case}/{name}": array for name, array in arrays.items()})
        finally:
            os.chdir(before)
    return all_arrays


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **run())
