"""The steps of tools/release.py: each is done once for the same inputs."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Sequence

from data_prep import make_database
from tools import average_weights, plot_log, release_card, train
from tools.release_card import Release
from two_stream_fusion.base.files import write_text

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
Inputs = Dict[str, object]


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
            action()
            _mark_finished(folder, name, inputs(), outputs)

        return Step(name, lambda: _unfinished(folder, name, inputs, outputs), run)

    request = _request(release)
    return [
        Step("database", lambda: make_database.outdated_reason(request), lambda: _database(request)),
        step("start weights", lambda: _start_inputs(release), [release.start], lambda: _start(release)),
        step("training", lambda: _training_inputs(release), [final(release)], lambda: _train(release)),
        step(
            "validation",
            lambda: {"weights": [_digest(p) for p in _candidates(release)], "net": str(release.read_net())},
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


def final(release: Release) -> Path:
    """The last snapshot of the training."""
    solver = release.read_solver()
    return Path(f"{solver.snapshot_prefix}_iter_{solver.max_iter}.caffemodel")


def snapshots(release: Release) -> dict[int, Path]:
    """{iteration: caffemodel} of the snapshots that are there, in their order."""
    prefix = Path(release.read_solver().snapshot_prefix)
    found = {}
    for path in prefix.parent.glob(f"{prefix.name}_iter_*.caffemodel"):
        number = path.stem.rpartition("_")[2]
        if number.isdigit():
            found[int(number)] = path
    return dict(sorted(found.items()))


def _unfinished(folder, name, inputs, outputs):
    """Why a step has to be done; "" where its mark has these inputs and the outputs that are there."""
    path = _mark_path(folder, name)
    if not path.is_file():
        return "to do"
    mark = json.loads(path.read_text())
    try:
        current = inputs()
    except OSError:
        return "to do again: its inputs are missing"
    changed = [key for key in current if mark["inputs"].get(key) != current[key]]
    if changed:
        return f"to do again: other {' and '.join(changed)}"
    intact = all(path.is_file() and _digest(path) == mark["outputs"].get(path.name) for path in outputs)
    return "" if intact else "to do again: its files have changed"


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


def _database(request):
    make_database.make(request)


def _database_key(release):
    """The digests of the database's files: the same rows, the same key, whenever they are made."""
    manifest = json.loads(Path(_request(release).out, "manifest.json").read_text())
    return hashlib.sha256(json.dumps(sorted(manifest["sha256"].items())).encode()).hexdigest()


def _start_inputs(release):
    return {"net": str(release.read_net()), "seed": release.read_solver().random_seed}


def _start(release):
    tool = [str(ROOT / "tools/start_weights.py"), str(release.solver), "-o", str(release.start)]
    _run([sys.executable, *tool], release.folder / "start.log")


def _training_inputs(release):
    return {
        "database": _database_key(release),
        "start weights": _digest(release.start),
        "solver": str(release.read_solver()),
        "net": str(release.read_net()),
    }


def _train(release):
    """Train, or resume from the last snapshot of the same training."""
    inputs, record = _training_inputs(release), release.folder / "training.json"
    states = [p.with_suffix(".solverstate") for p in snapshots(release).values()]
    states = [path for path in states if path.is_file()]
    if states:
        before = json.loads(record.read_text()) if record.is_file() else {}
        changed = [key for key in inputs if before.get(key) != inputs[key]]
        if changed:
            raise ValueError(
                f"{release.folder}: has snapshots of a training with another {' and '.join(changed)};"
                " move that folder away, or give another --out"
            )
    write_text(record, json.dumps(inputs, indent=1) + "\n")
    Path(release.read_solver().snapshot_prefix).parent.mkdir(parents=True, exist_ok=True)
    if states:
        print(f"  resumes from {states[-1]}", flush=True)
    begin = ["-snapshot", str(states[-1])] if states else ["-weights", str(release.start)]
    status = train.train(
        ["-solver", str(release.solver), *begin, *release.caffe_flags()], release.caffe, release.log
    )
    if status:
        raise ValueError(f"the training failed (log: {release.log})")
    if not final(release).is_file():
        raise TrainingStopped(f"stopped at iteration {max(snapshots(release), default=0)}")


def _candidates(release):
    """The snapshots to release or to average: the last one first."""
    last = release.read_solver().max_iter
    part = [path for i, path in snapshots(release).items() if (1 - AVERAGED_SHARE) * last < i < last]
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
    release.weights.write_bytes(weights[best].read_bytes())
    result = {"released": best, "snapshots averaged": len(candidates), "PSNR": psnr}
    write_text(release.folder / "validation.json", json.dumps(result, indent=1) + "\n")


def _test(release, weights, name):
    """The mean loss (Eq. 4) of weights on the validation patches, by `caffe test`."""
    solver, log = release.read_solver(), release.folder / f"test-{name}.log"
    flags = ["-model", solver.net, "-weights", str(weights), "-iterations", str(solver.test_iter[0])]
    gpu = ["-gpu", release.gpu] if release.gpu else []  # in float32, as released weights are used
    _run([*shlex.split(release.caffe), "test", *flags, *gpu], log)
    return float(re.findall(r"\] Loss: (\S+)", log.read_text(errors="replace"))[-1])


def _score_inputs(release):
    return {"weights": _digest(release.weights), "pairs": release.score_pairs, "photographs": release.photos}


def _score(release):
    """Score the weights on held-out pairs by eval/held_out.py, a file for each condition."""
    tool = [sys.executable, str(ROOT / "eval/held_out.py")]
    net = ["--net", str(ROOT / "prototxt" / release.read_net().name / "deploy.prototxt")]
    photos = ["--photos", release.photos] if release.photos else []
    common = [*net, "--weights", str(release.weights), "--count", str(release.score_pairs), *photos]
    for title, options in CONDITIONS.items():
        print(f"  held-out pairs, {title}", flush=True)
        _run([*tool, *common, *options], release.folder / "scores" / f"{_file_name(title)}.md")


def _run(command, log):
    """Run a command whose output goes to a log; ValueError with its last line where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    part = log.with_name(f"{log.name}.part")
    with open(part, "wb") as file:
        status = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT)
    if status:
        last = part.read_text(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"{' '.join(command[:2])} ended with status {status}: {last} (log: {part})")
    part.replace(log)
