"""The steps of tools/release.py: each is done once for the same inputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence

from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep import make_database
from data_prep.pair_patches import PairPatches
from eval import held_out
from tools import average_weights, plot_log, release_card, timing, train
from tools.release_card import Release
from two_stream_fusion.base import provenance
from two_stream_fusion.base.files import atomic_write, exclusive, write_text

ROOT = Path(__file__).resolve().parents[1]
AVERAGED_SHARE = 0.1  # of the iterations: the snapshots of this last part are averaged
# Held-out pairs are scored as they are, and as photographs of other kinds: options of eval/held_out.py.
CONDITIONS = {
    "as they are": (),
    "noise of 2 levels, JPEG": ("--noise", "2"),
    "red": ("--colours", "1,0.15,0.2"),
    "green": ("--colours", "0.15,1,0.2"),
    "blue": ("--colours", "0.15,0.2,1"),
    "dark": ("--colours", "0.1,0.1,0.1"),
}


class TrainingStopped(Exception):
    """The training was stopped, by Ctrl-C, and can be resumed."""


class Step(NamedTuple):
    """A step of a release."""

    name: str
    reason: Callable[[], str]  # why it has to be done; "" where it is finished
    run: Callable[[], None]


def plan(release: Release) -> list[Step]:
    """The steps of a release, in their order."""
    folder = release.folder
    scores = [folder / "scores" / f"{_file_name(title)}.md" for title in CONDITIONS]
    card = [folder / name for name in ("card.md", "log.csv", "plot.png")]

    def step(name, inputs, outputs, action):
        def run():
            used = inputs()
            action()
            _mark_finished(folder, name, used, outputs)

        return Step(name, lambda: _unfinished(folder, name, inputs, outputs), run)

    request = _request(release)
    return [
        Step("database", lambda: make_database.outdated_reason(request), lambda: make_database.make(request)),
        step("start weights", lambda: _start_inputs(release), [release.start], lambda: _start(release)),
        step("training", lambda: _training_inputs(release), [final(release)], lambda: _train(release)),
        step(
            "validation",
            lambda: {"weights": [_digest(p) for p in _candidates(release)], "net": str(release.net)},
            [release.weights, folder / "validation.json"],
            lambda: _validate(release),
        ),
        step("scores", lambda: _score_inputs(release), scores, lambda: _score(release)),
        step(
            "card",
            lambda: {"scores": [_digest(path) for path in (*scores, release.weights, release.log)]},
            card,
            lambda: release_card.write(release, dict(zip(CONDITIONS, scores))),
        ),
    ]


def run(steps: Sequence[Step]) -> None:
    """Do the steps that are not finished.

    Args:
        steps: in their order.

    Raises:
        TrainingStopped: the training was stopped before its end.
        ValueError, OSError: a step failed.
    """
    for number, step in enumerate(steps, 1):
        reason = step.reason()
        print(f"{number}/{len(steps)} {step.name}: {reason or 'finished before'}", flush=True)
        if reason:
            step.run()


@contextlib.contextmanager
def alone(release: Release) -> Iterator[None]:
    """Keep other runs out of the folder of a release while the block runs.

    Raises:
        ValueError: another run is in it.
    """
    with exclusive(release.folder / "release.lock", f"{release.folder}: another run is at work in it"):
        yield


def refuse_other_training(release: Release) -> None:
    """Refuse a folder that has snapshots of a training with other settings or photographs.

    Raises:
        ValueError: it has.
    """
    if not any(map(_whole, snapshots(release).values())):
        return
    inputs = _settings(release)
    before = _read_json(release.folder / "training.json")
    changed = [name for name, value in inputs.items() if before.get(name) != value]
    # Other code may make the same rows; whether it did is seen before the training.
    if set(make_database.changed_inputs(_request(release))) - {"made_with"}:
        changed.append("database")
    if changed:
        raise _other_training(release, changed)


def _other_training(release, names):
    return ValueError(
        f"{release.folder}: has snapshots of a training with another {' and '.join(names)};"
        " move that folder away, or give another --out"
    )


def final(release: Release) -> Path:
    """The last snapshot of the training."""
    return Path(f"{release.solver.snapshot_prefix}_iter_{release.solver.max_iter}.caffemodel")


def snapshots(release: Release) -> dict[int, Path]:
    """{iteration: caffemodel} of the snapshots that are there, in their order."""
    prefix = Path(release.solver.snapshot_prefix)
    found = {}
    for path in prefix.parent.glob(f"{prefix.name}_iter_*.caffemodel"):
        number = path.stem.rpartition("_")[2]
        if number.isdigit():
            found[int(number)] = path
    return dict(sorted(found.items()))


def _unfinished(folder, name, inputs, outputs):
    """Why a step has to be done; "" where its mark has these inputs and the outputs that are there."""
    mark = _read_json(_mark_path(folder, name))
    if not {"inputs", "outputs"} <= set(mark):
        return "to do"
    try:
        current = inputs()
    except OSError:
        return "to do again: its inputs are missing"
    changed = [key for key in current if mark["inputs"].get(key) != current[key]]
    if changed:
        return f"to do again: other {' and '.join(changed)}"
    return "" if _intact(mark, outputs) else "to do again: its files have changed"


def _intact(mark, outputs):
    """Whether the outputs of a finished step are those that it made."""
    made = mark.get("outputs", {})
    return all(path.is_file() and _digest(path) == made.get(path.name) for path in outputs)


def _read_json(path):
    """The object in a JSON file; an empty one where there is none, or it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark_finished(folder, name, inputs, outputs):
    """Note that a step is finished: its inputs and its outputs."""
    mark = {"inputs": inputs, "outputs": {path.name: _digest(path) for path in outputs}}
    write_text(_mark_path(folder, name), json.dumps(mark, indent=1) + "\n")


def _mark_path(folder, name):
    return folder / "finished" / f"{_file_name(name)}.json"


def _file_name(title):
    return re.sub(r"\W+", "-", title)


def _digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _request(release):
    photos = ["--photos", release.photos] if release.photos else []
    return make_database.parse_arguments([*shlex.split(release.options), *photos], _refuse)


def _refuse(message):
    raise ValueError(f"database.txt: {message}")


def _database_key(release):
    """The digests of the database's files: the same rows, the same key, whenever they are made."""
    manifest = json.loads(Path(_request(release).out, "manifest.json").read_text())
    return hashlib.sha256(json.dumps(sorted(manifest["sha256"].items())).encode()).hexdigest()


def _start_inputs(release):
    return {"net": str(release.net), "seed": release.solver.random_seed}


def _start(release):
    tool = [str(ROOT / "tools/start_weights.py"), str(release.solver_path), "-o", str(release.start)]
    _run([sys.executable, *tool], release.folder / "start.log")


def _training_inputs(release):
    return {
        "database": _database_key(release),
        "start weights": _digest(release.start),
        **_settings(release),
    }


def _settings(release):
    """Digests of the solver and the net; comments do not count."""
    texts = {"solver": str(release.solver), "net": str(release.net)}
    return {name: provenance.sha256(text.encode()) for name, text in texts.items()}


def _train(release):
    """Train, or resume from the last whole snapshot of the same training."""
    inputs, record, last = _training_inputs(release), release.folder / "training.json", final(release)
    mark = _read_json(_mark_path(release.folder, "training"))
    foreign = last if mark and not _intact(mark, [last]) else None  # not what the state beside it belongs to
    states = _states(release, foreign)
    if states:
        before = _read_json(record)
        changed = [key for key in inputs if before.get(key) != inputs[key]]
        if changed:
            raise _other_training(release, changed)
    else:
        _check_pairs(release)
    damaged = make_database.damaged_file(_request(release))
    if damaged:
        raise ValueError(f"{damaged}: was damaged; remove its database, and run this again")
    if foreign:
        foreign.unlink(missing_ok=True)
        foreign.with_suffix(".solverstate").unlink(missing_ok=True)
    write_text(record, json.dumps(inputs, indent=1) + "\n")
    last.parent.mkdir(parents=True, exist_ok=True)
    if states:
        print(f"  resumes from {states[-1]}", flush=True)
    begin = ["-snapshot", str(states[-1])] if states else ["-weights", str(release.start)]
    device = timing.caffe_flags(release.precision, release.gpu)
    flags = ["-solver", str(release.solver_path), *begin, *device]
    status = train.train(flags, release.caffe, release.log)
    if status:
        raise ValueError(f"the training failed (log: {release.log})")
    if not last.is_file():
        raise TrainingStopped(f"stopped at iteration {max(snapshots(release), default=0)}")


def _states(release, foreign):
    """The states to resume from, in their order; that of the weights `foreign` is none of them."""
    found = {i: weights for i, weights in snapshots(release).items() if weights != foreign}
    whole = {i: weights for i, weights in found.items() if _whole(weights)}
    if found and not whole:
        folder = final(release).parent
        raise ValueError(f"{folder}: has no whole snapshot; remove what is there to train anew")
    if found and max(found) not in whole:
        print(f"  the snapshot of iteration {max(found)} is not whole", file=sys.stderr)
    return [weights.with_suffix(".solverstate") for weights in whole.values()]


def _whole(weights):
    """Whether weights and the state beside them can be read."""
    files = {weights: caffe_pb2.NetParameter(), weights.with_suffix(".solverstate"): caffe_pb2.SolverState()}
    try:
        return all(message.ParseFromString(path.read_bytes()) for path, message in files.items())
    except (FileNotFoundError, DecodeError):
        return False


def _check_pairs(release):
    """ValueError where the held-out photographs give no pair to score after the training."""
    spec = PairPatches(recipe=held_out.RECIPE)
    with ThreadPoolExecutor() as pool:
        photographs = held_out.held_out_photographs(release.photos, spec, pool)
    if not any((a != b).any() for _, (a, b, _) in held_out.photograph_pairs(photographs, spec)):
        raise ValueError(
            f"{release.photos or 'the photographs'}: no pair to score can be made of"
            f" {len(photographs)} held-out photographs; give more of them"
        )


def _candidates(release):
    """The snapshots to release or to average: the last one first. Those of interrupted runs do not count."""
    last, step = release.solver.max_iter, release.solver.snapshot
    part = [
        path
        for i, path in snapshots(release).items()
        if (1 - AVERAGED_SHARE) * last < i < last and step and i % step == 0
    ]
    return [final(release), *part]


def _validate(release):
    """Validate the last snapshot and the average of the last part; the better one is to be released."""
    candidates = [str(path) for path in _candidates(release)]
    averaged = release.folder / "average.caffemodel"
    average_weights.average(candidates, str(averaged))
    patch = _request(release).spec.patch
    weights = {"last": Path(candidates[0]), "average": averaged}
    psnr = {name: plot_log.psnr(_test(release, path, name), patch) for name, path in weights.items()}
    best = max(psnr, key=lambda name: psnr[name])
    with atomic_write(release.weights) as partial:
        partial.write_bytes(weights[best].read_bytes())
    result = {"released": best, "snapshots averaged": len(candidates), "PSNR": psnr}
    write_text(release.folder / "validation.json", json.dumps(result, indent=1) + "\n")


def _test(release, weights, name):
    """The mean loss (Eq. 4) of weights on the validation patches, by `caffe test`."""
    solver, log = release.solver, release.folder / f"test-{name}.log"
    flags = ["-model", solver.net, "-weights", str(weights), "-iterations", str(solver.test_iter[0])]
    device = timing.caffe_flags(None, release.gpu)  # in float32, as released weights are used
    _run([*shlex.split(release.caffe), "test", *flags, *device], log)
    losses = re.findall(r"\] Loss: (\S+)", log.read_text(errors="replace"))
    if not losses:
        raise ValueError(f"{log}: has no line 'Loss: ...'")
    return float(losses[-1])


def _score_inputs(release):
    return {"weights": _digest(release.weights), "pairs": release.score_pairs, "photographs": release.photos}


def _score(release):
    """Score the weights on held-out pairs by eval/held_out.py, a file for each condition."""
    tool = [sys.executable, str(ROOT / "eval/held_out.py")]
    net = ["--net", str(ROOT / "prototxt" / release.net.name / "deploy.prototxt")]
    photos = ["--photos", release.photos] if release.photos else []
    common = [*net, "--weights", str(release.weights), "--count", str(release.score_pairs), *photos]
    for title, options in CONDITIONS.items():
        print(f"  held-out pairs, {title}", flush=True)
        table = release.folder / "scores" / f"{_file_name(title)}.md"
        _run([*tool, *common, *options], table, table.with_suffix(".log"))


def _run(command, output, log=None):
    """Run a command; ValueError with the last line of what it printed where it fails.

    Its output goes to a file, which appears if it ends well; its errors to a log, or to the same file.
    """
    part = output.with_name(f"{output.name}.part")
    timing.run_logged(command, " ".join(command[:2]), part, log, train.without_glog())
    part.replace(output)
