"""Files with any damage end in one line that names them: weights, solver states, HDF5 and prototxt.

Across all source files that read files, through the command as users run it.
"""

# ruff: noqa: E501 (tables of damage)

import random
import re
import signal
import warnings
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
import torch
from caffe import device, snapshot, training

from tests.caffe_torch.helpers import STATE, WEIGHTS, memory_limit, train_status


@pytest.fixture(autouse=True)
def folder(trained_folder):
    return trained_folder


# HDF5 that takes more than it holds


def test_data_larger_than_the_memory_is_refused_unread(folder, capfd):
    with h5py.File("data.h5", "r+") as file:
        del file["a"]
        file.create_dataset(
            "a", (6, 2**20, 2**10, 2**10), "f4", chunks=(1, 1, 2**10, 2**10), compression="gzip"
        )
    status, line = train_status(capfd)
    assert status == 1 and "data.h5" in line and "memory" in line, line


# Solver states


@pytest.mark.parametrize(
    ("name", "value"),
    [("iter", np.float32([np.inf])), ("iter", np.int32([-2])), ("iter", np.int64([2**40])), ("iter", np.int32([1, 2])),
     ("learned_net", np.bytes_(b"\xff\xfe")), ("learned_net", np.float32(3)), ("resume", np.float64([1])),
     ("history", np.float32(1))],
)  # fmt: skip
def test_a_state_in_hdf5_with_another_value_is_refused(name, value, folder, capfd):
    with h5py.File(STATE + ".h5", "r+") as file:
        del file[name]
        file[name] = value
    status, line = train_status(capfd, "-snapshot", STATE + ".h5")
    assert status == 1 and line.startswith(f"caffe: error: {STATE}.h5: ")


RECORDS = {
    "deep": b"[" * 100_000,
    "a number too large": b'{"layers": {}, "losses": [], "numpy": 1e999}',
    "no object": b"[]",
    "a loss": None,
    "a row": None,
    "the place": None,
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_damaged_record_is_refused(damage, folder, capfd):
    state = snapshot.load_state(STATE)
    record = state.resume.decode()
    edited = {
        "a loss": re.sub(r'"losses": \[[^]]*\]', f'"losses": [1{"0" * 400}]', record),
        "a row": re.sub(r'"rows": \[\d', '"rows": [99999999999999999999999', record),
        "the place": record.replace('"place": ', '"place": -'),
    }
    state.resume = edited[damage].encode() if damage in edited else RECORDS[damage]
    assert state.resume.decode() != record
    snapshot.save_state(STATE, state)
    if damage == "the place" and '"place": -0' in edited[damage]:
        state.resume = edited[damage].replace('"place": -0', '"place": -3').encode()
        snapshot.save_state(STATE, state)
    status, line = train_status(capfd, "-snapshot", STATE)
    assert status == 1 and line.startswith(f"caffe: error: {STATE}: the stored data position"), line


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\0b"])
def test_a_name_that_is_no_text_is_refused(name, folder, capfd):
    content = Path(STATE).read_bytes()
    Path(STATE).write_bytes(content.replace(WEIGHTS.encode(), name.ljust(len(WEIGHTS), b"x")))
    status, line = train_status(capfd, "-snapshot", STATE)
    assert (
        status == 1 and line == f"caffe: error: {STATE}: damaged: learned_net holds bytes that are not text"
    )


def test_a_history_without_numbers_is_refused(folder, capfd):
    state = snapshot.load_state(STATE)
    state.history[0].data[0] = np.nan
    snapshot.save_state(STATE, state)
    status, line = train_status(capfd, "-snapshot", STATE)
    assert status == 1 and line == f"caffe: error: {STATE}: history 0 has NaN or infinite values"


# Prototxt


@pytest.mark.parametrize(
    ("old", "new"),
    [("base_lr: 0.01", "base_lr: nan"), ("base_lr: 0.01", "base_lr: 1e60"), ("momentum: 0.9", "momentum: inf"),
     ("weight_decay: 0.001", "weight_decay: nan"), ("max_iter: 2", f"max_iter: {'9' * 5000}"),
     ("average_loss: 2", "average_loss: 2147483648"), ("iter_size: 1", "iter_size: {"),
     ("iter_size: 1", "net_param {" * 2000)],
)  # fmt: skip
def test_a_damaged_solver_is_named(old, new, folder, capfd):
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace(old, new, 1))
    status, line = train_status(capfd)
    assert status == 1 and line.startswith("caffe: error: solver.prototxt: "), line


@pytest.mark.parametrize("name", ["net.prototx", 'net.prototxt""net.prototxt', "net.prototxt/", 300 * "n"])
def test_a_damaged_name_of_a_net_is_named(name, folder, capfd):
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace("net.prototxt", name, 1))
    status, line = train_status(capfd)
    assert status == 1 and line.startswith(f"caffe: error: {name.replace(chr(34), '')}: "), line


@pytest.mark.parametrize(
    ("old", "new"),
    [("num_output: 4", "num_output: 4000000000"), ("num_output: 5", "num_output: 4294967295"),
     ("num_output: 4", "num_output: -4"), ("pad: 1", "pad: 4294967295"), ("kernel_size: 3", "kernel_size: 4294967295"),
     ("dim: -1", "dim: -9223372036854775808"), ("dim: -1", "dim: 9223372036854775807"),
     ("lr_mult: 1", "lr_mult: nan"), ("loss_weight: 1", "loss_weight: inf"), ("scale: 0.5", "scale: nan"),
     ("slice_point: 2", "slice_point: 4294967295"), ("axis: 1", "axis: 2147483647"),
     ("local_size: 3", "local_size: 4294967295"), ("batch_size: 4", "batch_size: 4294967295"),
     ("dilation: 1", "dilation: 4294967295"), ("stride: 2 }", "stride: 4294967295 }"), ("loss_weight: 1 }", "")],
)  # fmt: skip
def test_a_damaged_net_is_named(old, new, folder, capfd):
    Path("net.prototxt").write_text(Path("net.prototxt").read_text().replace(old, new, 1))
    with memory_limit():
        status, line = train_status(capfd)
    if new.startswith("local_size"):  # a sum over all channels, with memory of its own
        assert status == 1 and line.startswith("caffe: error: out of memory"), line
    elif not new.startswith("stride"):  # one window: right
        assert status == 1 and line.startswith("caffe: error: net.prototxt: "), line


# Damage at random


class TooLong(BaseException):
    pass


def too_long(*_):
    raise TooLong


BYTES = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff" * 4,
    b"\0" * 8,
    b"\xff" * 8,
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
]
WORDS = ["nan", "-inf", "inf", "-1", "0", "1", "4294967295", "2147483647", "-2147483648", "9223372036854775807",
         "18446744073709551615", "1e308", "1e-320", "9" * 5000, "0x7fffffff", "{", "}", "[", "]", ":", ",", "<", ">",
         '"', "'", "\\", "#", "\n", "\0", "layer {", "true", "3.5", "100000", "65536"]  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` with one to three changes of bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        span = rng.choice((1, 1, 2, 4, 8, 100))
        damage = rng.randrange(6)
        if damage == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif damage == 1:
            put = rng.choice(BYTES)
            data[at : at + len(put)] = put
        elif damage == 2:
            data[at : at + span] = rng.randbytes(span)
        elif damage == 3:
            del data[at : at + span]
        elif damage == 4:
            data[at:at] = data[at : at + span] * rng.choice((1, 2, 50))
        elif rng.random() < 0.3:
            del data[at:]
        data = data or bytearray(b"\0")
    return bytes(data)


def damaged_text(content: bytes, rng: random.Random) -> bytes:
    """A prototxt with a word or a number another, words left out, repeated or exchanged, or `damaged`."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    tokens = re.findall(r'"[^"]*"|[\w.+-]+|\S|\s+', content.decode())
    numbers = [i for i, token in enumerate(tokens) if re.fullmatch(r"-?[\d.e-]+", token)]
    for _ in range(rng.choice((1, 1, 2))):
        at, damage = rng.randrange(len(tokens)), rng.randrange(8)
        if damage < 4:
            tokens[rng.choice(numbers)] = rng.choice(WORDS)
        elif damage == 4:
            tokens[at] = rng.choice(WORDS)
        elif damage == 5:
            tokens[at] = ""
        elif damage == 6:
            tokens[at] *= rng.choice((2, 2, 200))
        else:
            second = rng.randrange(len(tokens))
            tokens[at], tokens[second] = tokens[second], tokens[at]
    return "".join(tokens).encode()


def read_net(path):
    net = caffe.Net(path, caffe.TRAIN)
    yield
    net.forward_loss()
    net.backward_once()


def read_solver(path):
    solver = training.Solver(path)
    yield
    actions = iter([None] * 3)
    solver.action = lambda: next(actions, "stop")
    solver.param.snapshot = 0
    solver.step(1)


def readers():
    """For each file: its damage and a generator function that reads it, then, where it got so far, uses it."""
    net, solver = caffe.Net("net.prototxt", caffe.TEST), training.Solver("solver.prototxt")

    def weights(path):
        net.copy_from(path)
        yield

    def state(path):
        solver.restore(path)
        yield
        if solver.iter < 2**31 - 1:
            solver.param.snapshot = solver.param.display = solver.param.test_interval = 0
            solver.step(1)

    def data(path):
        reader = caffe.Net("net.prototxt", caffe.TRAIN)
        yield
        reader.forward_loss()

    return {
        WEIGHTS: (damaged, weights),
        WEIGHTS + ".h5": (damaged, weights),
        STATE: (damaged, state),
        STATE + ".h5": (damaged, state),
        "data.h5": (damaged, data),
        "net.prototxt": (damaged_text, read_net),
        "solver.prototxt": (damaged_text, read_solver),
    }


def fault(path, read, seconds=20):
    """What is wrong with how a damaged file is taken; nothing where it is read, or refused in one line."""
    stage = "reading"
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            steps = read(path)
            next(steps)
            stage = "using"
            next(steps, None)
    except (ValueError, OSError) as error:
        line = str(error)
        if "\n" in line or len(line) > 20_000:
            return f"not one line: {line[:500]!r}"
        # What is wrong with labels, for instance, is found in use, and names the layer.
        # Or the error names what a damaged name of a net leads to.
        named = path in line or WEIGHTS in line or getattr(error, "filename", None)
        if not named and stage == "reading":
            return f"the file is not named: {type(error).__name__} {line[:500]!r}"
    except FloatingPointError:
        pass
    except TooLong:
        return "" if stage == "using" else "takes too long"
    except Exception as error:
        if not (device.out_of_memory(error) and (stage == "using" or path.endswith(".prototxt"))):
            import traceback

            return "".join(traceback.format_exception(error)[-4:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def faults(count, seed):
    """{fault: how to make it again} of so many damaged files."""
    rng, examples = random.Random(seed), {}
    previous_handler = signal.signal(signal.SIGALRM, too_long)
    readers_by_file = readers()
    originals = {name: Path(name).read_bytes() for name in readers_by_file}
    try:
        with memory_limit():
            for number in range(count):
                name = rng.choice(list(readers_by_file))
                damage, read = readers_by_file[name]
                content = damage(originals[name], rng)
                path = name if name == "data.h5" else f"damaged.{name}"
                Path(path).write_bytes(content)
                description = fault(path, read)
                if description:
                    examples.setdefault(description, f"{name}, number {number} of seed {seed}")
                    Path(f"fault{len(examples)}.{name}").write_bytes(content)
                Path("data.h5").write_bytes(originals["data.h5"])
    finally:
        signal.signal(signal.SIGALRM, previous_handler)
    return examples


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    torch.manual_seed(0)


def test_damage_at_random_ends_in_one_line(folder, quiet):
    assert faults(210, 1) == {}


@pytest.mark.slow
def test_much_damage_at_random_ends_in_one_line(folder, quiet):
    assert faults(10_000, 2) == {}
