"""The solver: the loop that trains a net, tests it, reports, and saves what is needed to go on."""

import base64
import json
import math
import os
import signal
import time

import torch

from . import device, log, snapshot, solvers
from .net import Net, read_prototxt
from .proto import caffe_pb2

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


class Solver:
    """Trains the net that a solver file names, by Caffe's rules.

    solver: path of a solver prototxt, or a SolverParameter with the path it came from, after which
    snapshots are named. ValueError and OSError say what is wrong with the solver, the net or the data.
    """

    rule: str | None = None  # a fixed update rule, whatever the solver file says

    def __init__(self, solver, path=None):
        self.param = caffe_pb2.SolverParameter()
        if isinstance(solver, caffe_pb2.SolverParameter):
            self.param.CopyFrom(solver)
        else:
            path = os.fspath(solver)
            read_prototxt(path, self.param)
        try:
            self._check(path)
        except ValueError as error:
            raise ValueError(f"{path or 'solver'}: {error}") from None
        if self.param.random_seed >= 0:
            device.set_random_seed(self.param.random_seed)
        self.iter = 0
        self.net = self._train_net()
        self.test_nets = self._test_nets()
        for weights in self.param.weights:
            self.net.copy_from(weights)
        self._rule = self._rule_class(self.param, [blob.tensor for blob in self.net.learnable_params])
        self._losses: list = []  # the last average_loss of them, as tensors
        self._stop_early = False
        self.action = lambda: None  # asked after every iteration: None, "stop" or "snapshot"
        self._progress = lambda done: None  # told the iterations done

    # What is in the solver file

    def _check(self, path):
        param = self.param
        self._rule_class = solvers.RULES[self.rule] if self.rule else solvers.rule_of(param)
        solvers.check_policy(param)
        if param.regularization_type not in ("L1", "L2"):
            raise ValueError(f"regularization_type {param.regularization_type!r}: use L1 or L2")
        if param.average_loss < 1 or param.iter_size < 1:
            raise ValueError("average_loss and iter_size are 1 or more")
        # As Caffe: without a prefix, or with a folder, snapshots are named after the solver file.
        stem = os.path.splitext(os.path.basename(path or "solver"))[0]
        if not param.snapshot_prefix:
            param.snapshot_prefix = os.path.join(os.path.dirname(path or ""), stem)
        elif os.path.isdir(param.snapshot_prefix):
            param.snapshot_prefix = os.path.join(param.snapshot_prefix, stem)

    def _build(self, source, phase, state):
        net = caffe_pb2.NetParameter()
        if isinstance(source, caffe_pb2.NetParameter):
            net.CopyFrom(source)
            source = "net_param"
        else:
            read_prototxt(source, net)
        merged = caffe_pb2.NetState(phase=phase)
        merged.MergeFrom(net.state)
        merged.MergeFrom(state)
        net.ClearField("state")
        try:
            return Net(net, merged.phase, merged.level, merged.stage)
        except ValueError as error:
            raise ValueError(f"{source}: {str(error).removeprefix('net: ')}") from None

    def _train_net(self):
        param = self.param
        given = [n for n in ("train_net_param", "train_net", "net_param", "net") if param.HasField(n)]
        if len(given) != 1:
            raise ValueError(
                f"a solver names one training net (net, train_net, ...); this one has {given or 'none'}"
            )
        return self._build(getattr(param, given[0]), TRAIN, param.train_state)

    def _test_nets(self):
        param = self.param
        sources = [*param.test_net_param, *param.test_net]
        instances = len(param.test_iter)
        generic = [getattr(param, n) for n in ("net_param", "net") if param.HasField(n)]
        if instances < len(sources) or (instances > len(sources) and not generic):
            raise ValueError(f"{len(sources)} test nets and {instances} values of test_iter")
        sources += generic * (instances - len(sources))
        if instances and param.test_interval < 1:
            raise ValueError("test_iter is given, so test_interval must be 1 or more")
        if param.test_state and len(param.test_state) != instances:
            raise ValueError(f"{len(param.test_state)} values of test_state for {instances} test nets")
        states = list(param.test_state) or [caffe_pb2.NetState()] * instances
        nets = [self._build(source, TEST, state) for source, state in zip(sources, states, strict=True)]
        for net in nets:
            net.share_with(self.net)
        return nets

    # Training

    def step(self, iterations: int) -> None:
        """Train for a number of iterations."""
        param, stop = self.param, self.iter + iterations
        self._losses, first = [], self.iter
        shown, since = self.iter, time.perf_counter()
        for self.iter in range(self.iter, stop):  # noqa: B020 (the solver's own counter)
            if self._is_test_time():
                self._test_all()
            display = param.display and self.iter % param.display == 0
            self.net.clear_param_diffs()
            loss = self._gradients()
            self._remember(loss, first)
            if not loss.is_cuda or display or self.iter % 100 == 0:  # reading a GPU's loss waits for it
                self._check_finite(loss)
            if display:
                now = time.perf_counter()
                speed, seconds = (self.iter - shown) / max(now - since, 1e-9), now - since
                log.info(
                    f"Iteration {self.iter} ({speed:g} iter/s, {seconds:g}s/{param.display} iters), "
                    f"loss = {self._smoothed():g}"
                )
                _log_outputs(self.net, "Train", _outputs(self.net))
                shown, since = self.iter, now
            self._apply_update(display)
            self.iter += 1
            action = self.action()
            if (param.snapshot and self.iter % param.snapshot == 0) or action == "snapshot":
                self.snapshot()
            self._progress(self.iter)
            if action == "stop":
                self._stop_early = True
                return

    def solve(self, resume=None) -> None:
        """Train to max_iter, from a .solverstate if one is given."""
        param = self.param
        log.info(f"Solving {self.net.name}")
        log.info(f"Learning Rate Policy: {param.lr_policy}")
        self._stop_early = False
        if resume:
            self.restore(resume)
        with log.progress(param.max_iter, self.iter) as self._progress:
            self.step(max(0, param.max_iter - self.iter))
            if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
                self.snapshot()
            if self._stop_early:
                log.info("Optimization stopped early.")
                return
            if param.display and self.iter % param.display == 0:
                with torch.no_grad():
                    self._remember(self.net.forward_loss(), self.iter - len(self._losses))
                log.info(f"Iteration {self.iter}, loss = {self._smoothed():g}")
            if self._is_test_time():
                self._test_all()
        log.info("Optimization Done.")

    def _gradients(self):
        """Forward and backward, iter_size times; the mean loss as a tensor."""
        losses = []
        for _ in range(self.param.iter_size):
            losses.append(self.net.forward_loss())
            self.net.backward_once()
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _remember(self, loss, first):
        if len(self._losses) < self.param.average_loss:
            self._losses.append(loss)
        else:
            self._losses[(self.iter - first) % self.param.average_loss] = loss

    def _smoothed(self):
        return torch.stack(self._losses).double().mean().item() if self._losses else math.nan

    def _check_finite(self, loss):
        if math.isfinite(loss.item()):
            return
        for kind, blobs in (
            ("parameter", [(f"{n}[{i}]", b) for n, bs in self.net.params.items() for i, b in enumerate(bs)]),
            ("blob", list(self.net.blobs.items())),
        ):
            for name, blob in blobs:
                if not torch.isfinite(blob.tensor).all():
                    raise FloatingPointError(
                        f"iteration {self.iter}: the loss is {loss.item():g}; the first {kind} with NaN or "
                        f"infinite values is {name}. Nothing was saved; lower base_lr or use clip_gradients"
                    )
        raise FloatingPointError(f"iteration {self.iter}: the loss is {loss.item():g}")

    def _apply_update(self, display):
        param, net = self.param, self.net
        rate = solvers.learning_rate(param, self.iter)
        if display:
            log.info(f"Iteration {self.iter}, lr = {rate:g}")
        blobs = net.learnable_params
        grads, weights = [blob.grad for blob in blobs], [blob.tensor for blob in blobs]
        if param.clip_gradients >= 0:
            norm = torch.stack(torch._foreach_norm(grads)).norm().item()
            if norm > param.clip_gradients:
                log.info(
                    f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > {param.clip_gradients:g}) "
                    f"by scale factor {param.clip_gradients / norm:g}"
                )
                torch._foreach_mul_(grads, param.clip_gradients / norm)
        if param.iter_size > 1:
            torch._foreach_mul_(grads, 1 / param.iter_size)
        decays = [param.weight_decay * mult for mult in net.params_weight_decay]
        if any(decays):
            pull = weights if param.regularization_type == "L2" else torch._foreach_sign(weights)
            torch._foreach_add_(grads, torch._foreach_mul(pull, decays))
        rates = [rate * mult for mult in net.params_lr]
        torch._foreach_sub_(weights, self._rule.step(grads, rates, self.iter + 1))

    # Testing

    def _is_test_time(self):
        interval = self.param.test_interval
        return interval and self.iter % interval == 0 and (self.iter > 0 or self.param.test_initialization)

    def _test_all(self):
        for i in range(len(self.test_nets)):
            self._test(i)

    def _test(self, i):
        log.info(f"Iteration {self.iter}, Testing net (#{i})")
        net, iterations = self.test_nets[i], self.param.test_iter[i]
        totals, loss = None, 0.0
        with torch.no_grad():
            for _ in range(iterations):
                loss += net.forward_loss()
                values = torch.stack([value for _, value in _outputs(net)])
                totals = values if totals is None else totals + values
        if self.param.test_compute_loss:
            log.info(f"Test loss: {float(loss) / iterations:g}")
        means = (totals / iterations).tolist()
        _log_outputs(
            net, "Test", [(name, mean) for (name, _), mean in zip(_outputs(net), means, strict=True)]
        )

    # Saving and going on

    def snapshot(self) -> None:
        """Write the weights and the state of the solver."""
        for blob in self.net.learnable_params:
            if not torch.isfinite(blob.tensor).all():
                raise FloatingPointError(
                    f"iteration {self.iter}: a parameter is NaN or infinite; nothing was saved"
                )
        param, hdf5 = self.param, self.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
        stem = f"{param.snapshot_prefix}_iter_{self.iter}"
        form, end = ("HDF5", ".h5") if hdf5 else ("binary proto", "")
        weights = f"{stem}.caffemodel{end}"
        log.info(f"Snapshotting to {form} file {weights}")
        save = snapshot.save_hdf5 if hdf5 else snapshot.save_caffemodel
        save(self.net, weights, param.snapshot_diff)
        state = caffe_pb2.SolverState(
            iter=self.iter,
            learned_net=weights,
            current_step=solvers.current_step(param, self.iter),
            resume=json.dumps(self._resume_state()).encode(),
        )
        for tensor in self._rule.history:
            proto = state.history.add()
            proto.shape.dim.extend(tensor.shape)
            proto.data.extend(tensor.flatten().cpu().numpy())
        log.info(f"Snapshotting solver state to {form} file {stem}.solverstate{end}")
        snapshot.save_state(f"{stem}.solverstate{end}", state)

    def restore(self, path) -> None:
        """Go on from a .solverstate (or .solverstate.h5) and the weights it names.

        One written here also brings back the position in the data and the random numbers; one
        written by BVLC Caffe does not have them, so the data starts at its first row.
        """
        log.info(f"Restoring previous solver status from {path}")
        state = snapshot.load_state(path)
        weights = state.learned_net
        if weights and not os.path.exists(weights):  # moved together with the state
            beside = os.path.join(os.path.dirname(os.fspath(path)), os.path.basename(weights))
            weights = beside if os.path.exists(beside) else weights
        history = self._rule.history
        if len(state.history) != len(history):
            raise ValueError(
                f"{path}: {len(state.history)} history blobs, this solver keeps {len(history)}: "
                "the state of another net or solver type"
            )
        restored = []
        for i, (tensor, proto) in enumerate(zip(history, state.history, strict=True)):
            values = torch.tensor(proto.data)
            if values.numel() != tensor.numel():
                raise ValueError(f"{path}: history {i} has {values.numel()} values, wanted {tensor.numel()}")
            restored.append(values.reshape(tensor.shape))
        if weights:
            self.net.copy_from(weights)
        for tensor, values in zip(history, restored, strict=True):
            tensor.copy_(values)
        self.iter = state.iter
        if state.resume:
            try:
                self._restore_resume_state(json.loads(state.resume))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                log.warning(f"{path}: {error}: the data starts at its first row")

    def _nets(self):
        return {"train": self.net, **{f"test {i}": net for i, net in enumerate(self.test_nets)}}

    def _resume_state(self):
        def encoded(tensor):
            return base64.b64encode(tensor.numpy().tobytes()).decode()

        return {
            "layers": {
                f"{which}/{layer.spec.name}": layer.state()
                for which, net in self._nets().items()
                for layer in net.layers
                if hasattr(layer, "state")
            },
            "random": {
                "numpy": device.rng().bit_generator.state,
                "cpu": encoded(torch.get_rng_state()),
                "cuda": encoded(torch.cuda.get_rng_state()) if device.device().type == "cuda" else None,
            },
        }

    def _restore_resume_state(self, state):
        def decoded(text):
            return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)

        for which, net in self._nets().items():
            for layer in net.layers:
                key = f"{which}/{layer.spec.name}"
                if hasattr(layer, "restore") and key in state["layers"]:
                    layer.restore(state["layers"][key])
        device.rng().bit_generator.state = state["random"]["numpy"]
        torch.set_rng_state(decoded(state["random"]["cpu"]))
        if state["random"]["cuda"] and device.device().type == "cuda":
            torch.cuda.set_rng_state(decoded(state["random"]["cuda"]))


def _outputs(net):
    """(name, value) for every element of the net's outputs, on the device."""
    return [(name, value) for name in net.outputs for value in net.blobs[name].tensor.float().flatten()]


def _log_outputs(net, kind, outputs):
    for i, (name, value) in enumerate(outputs):
        value, weight = float(value), net.loss_weights.get(name)
        note = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
        log.info(f"    {kind} net output #{i}: {name} = {value:g}{note}")


def get_solver(path) -> Solver:
    """The solver that a solver prototxt describes (pycaffe's name)."""
    return Solver(path)


# pycaffe's classes, each with its rule.
SGDSolver = type("SGDSolver", (Solver,), {"rule": "SGD"})
NesterovSolver = type("NesterovSolver", (Solver,), {"rule": "Nesterov"})
AdaGradSolver = type("AdaGradSolver", (Solver,), {"rule": "AdaGrad"})
RMSPropSolver = type("RMSPropSolver", (Solver,), {"rule": "RMSProp"})
AdaDeltaSolver = type("AdaDeltaSolver", (Solver,), {"rule": "AdaDelta"})
AdamSolver = type("AdamSolver", (Solver,), {"rule": "Adam"})


class Signals:
    """While entered, SIGINT and SIGHUP are noted; called, it tells what the last one asks for.

    effects: "stop", "snapshot" or "none" for each. A second SIGINT during one iteration interrupts
    at once.
    """

    def __init__(self, sigint: str, sighup: str):
        self.effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup}
        self._wanted = None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._note) for number in self.effects}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if number == signal.SIGINT and self._wanted == "stop":
            raise KeyboardInterrupt
        self._wanted = self.effects[number]

    def __call__(self):
        wanted, self._wanted = self._wanted, None
        return wanted
