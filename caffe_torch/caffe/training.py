"""The solver: the loop that trains a net, tests it, logs, and writes snapshots."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable

import torch

from . import cuda_graph, device, glog, parallel, run_state, snapshot, solver_nets, solvers
from .net import Net
from .proto import caffe_pb2
from .prototxt import check_numbers
from .solver_nets import read_solver


class Solver:
    """Trains the net that a solver names, by Caffe's rules.

    Args:
        solver: the path of a solver prototxt, or a SolverParameter.
        path: the name of a SolverParameter, for errors.
        batch: rows in a batch of the training net's HDF5Data layers; 0 keeps the number in the net.

    Raises:
        ValueError: the solver, the net or the data is wrong.
        OSError: a file cannot be read.

    Attributes:
        net, test_nets: the nets.
        iter: the number of updates so far.
        lr: the current learning rate.
        param: the SolverParameter.
    """

    rule: str | None = None  # an update rule that overrides the solver file's

    def __init__(
        self,
        solver: str | os.PathLike | caffe_pb2.SolverParameter,
        path: str | None = None,
        batch: int = 0,
    ):
        if not isinstance(solver, caffe_pb2.SolverParameter):
            path, solver = os.fspath(solver), read_solver(solver)
        self.param = caffe_pb2.SolverParameter()
        self.param.CopyFrom(solver)
        self._name = path or "solver"
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{self._name}: {error}") from None
        if self.param.snapshot:
            self._check_folder()
        glog.info(f"Initializing solver from parameters: \n{self.param}")
        if not self.param.HasField("base_lr") and not parallel.rank:
            glog.warning(f"{self._name}: no base_lr: it is 0, so nothing will be learned")
        if self.param.random_seed >= 0 or parallel.count > 1:
            parallel.set_random_seed(self.param.random_seed)
        self.iter = 0
        self.net = solver_nets.train_net(self.param, batch)
        self.test_nets = solver_nets.test_nets(self.param)
        self._rule = self._rule_class(self.param, [blob.tensor for blob in self.net.learnable_params])
        self._losses: deque = deque(maxlen=self.param.average_loss)
        self._resumed = False  # whether _losses are those of the run that is resumed
        self._stop_early = False
        self._callbacks: list = []
        self._captured: cuda_graph.Iteration | None = None
        self._warm_up = 0  # iterations on a GPU before the capture
        self._norms: list = []  # of the gradients, where they are clipped: those that are not logged yet
        self._progress: Callable[[int], None] = lambda done: None  # called with the number of iterations done
        # Called between iterations; it returns None, "stop" or "snapshot".
        self.action: Callable[[], str | None] = lambda: None
        glog.info("Solver scaffolding done.")

    # Checks of the solver file

    def _check(self):
        param = self.param
        settings = caffe_pb2.SolverParameter()
        settings.CopyFrom(param)
        # Nets are checked when they are built: the errors then name the layers.
        for name in ("net_param", "train_net_param", "test_net_param"):
            settings.ClearField(name)
        check_numbers(settings, finite=None)
        self._rule_class = solvers.RULES[self.rule] if self.rule else solvers.rule_of(param)
        self._rule_class(param, [])
        solvers.check_policy(param)
        solver_nets.train_source(param)
        solver_nets.test_sources(param)
        if param.regularization_type not in ("L1", "L2"):
            raise ValueError(f"regularization_type {param.regularization_type!r}: use L1 or L2")
        if param.average_loss < 1 or param.iter_size < 1:
            raise ValueError("average_loss and iter_size are 1 or more")
        if any(n < 0 for n in param.test_iter):
            raise ValueError("test_iter is 0 or more")
        for name in ("display", "snapshot", "test_interval", "max_iter"):
            if getattr(param, name) < 0:
                raise ValueError(f"{name} {getattr(param, name)} is negative")

    def _check_folder(self):
        """ValueError where no snapshot could be written."""
        prefix = self.param.snapshot_prefix
        folder = os.path.dirname(prefix) or "."
        while not os.path.exists(folder):  # it is created for the first snapshot
            folder = os.path.dirname(folder) or "."
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
            raise ValueError(f"{self._name}: snapshot_prefix {prefix!r}: {folder} cannot be written to")

    # Training

    def step(self, iterations: int) -> None:
        """Train for a number of iterations.

        Raises:
            ValueError: a layer cannot run, or the data is wrong.
            FloatingPointError: the loss, the learning rate or a parameter to save is NaN or infinite.
            OSError: a snapshot cannot be written.
            Exception: what the program of a Python layer raises.
        """
        self._train(self.iter + iterations)

    def solve(self, resume: str | os.PathLike | None = None) -> None:
        """Train to max_iter, then write a snapshot, log the loss and test, as the solver file says.

        Args:
            resume: a .solverstate to resume from.

        Raises:
            ValueError: a layer cannot run, or the data or `resume` is wrong.
            FloatingPointError: the loss or the learning rate is NaN or infinite.
            OSError: a snapshot cannot be written, or `resume` read.
        """
        param = self.param
        if param.snapshot_after_train:  # better refused now than after the last iteration
            self._check_folder()
        glog.info(f"Solving {self.net.name}")
        glog.info(f"Learning Rate Policy: {param.lr_policy}")
        self._stop_early = False
        if resume:
            glog.info(f"Restoring previous solver status from {resume}")
            self.restore(resume)
        with glog.progress(param.max_iter, self.iter) as self._progress:
            self._train(param.max_iter)
            if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
                self.snapshot()
            if self._stop_early:
                glog.info("Optimization stopped early.")
                return
            if param.display and self.iter % param.display == 0:
                with torch.no_grad():
                    self._losses.append(self.net.forward_loss())
                glog.info(f"Iteration {self.iter}, loss = {self._smoothed():g}")
            if param.test_interval and self.iter % param.test_interval == 0:
                self._test_all()
        glog.info("Optimization Done.")

    def _train(self, stop):
        param = self.param
        parallel.broadcast([blob.tensor for blob in self.net.learnable_params])
        current_device = device.device()  # a program may have chosen another since
        self._rule.history = [values.to(current_device) for values in self._rule.history]
        if not self._resumed:
            self._losses.clear()
        self._resumed = False
        last_display, display_time = self.iter, time.perf_counter()
        while self.iter < stop:
            at_start = self.iter > 0 or param.test_initialization
            if param.test_interval and self.iter % param.test_interval == 0 and at_start:
                self._test_all()
                if self._stop_early:
                    return
            for on_start, _ in self._callbacks:
                on_start()
            display = param.display and self.iter % param.display == 0
            self.net.debug_info = bool(display and param.debug_info)
            captured = None if self.net.debug_info else self._captured_iteration()
            if captured:
                loss, norms = captured.replay(self._rates())
                self._norms += norms
            else:
                self.net.clear_param_diffs()
                loss = self._gradients()
            self._losses.append(loss)
            done = self.iter + 1
            saving = param.snapshot and done % param.snapshot == 0
            # Reading a GPU's loss waits for it.
            read = not loss.is_cuda or display or saving or done == stop or self.iter % 100 == 0
            if read:
                self._check_finite(loss)
            if display:
                now = time.perf_counter()
                seconds = now - display_time
                speed = (self.iter - last_display) / max(seconds, 1e-9)
                glog.info(
                    f"Iteration {self.iter} ({speed:g} iter/s, {seconds:g}s/{param.display} iters), "
                    f"loss = {self._smoothed():g}"
                )
                _log_outputs(self.net, "Train", _outputs(self.net))
                last_display, display_time = self.iter, now
            for _, on_gradients in self._callbacks:
                on_gradients()
            if captured:
                self._log_rate()
                self.iter = done
            else:
                self.apply_update()
            if read:
                self._log_clipping()
            self._progress(self.iter)
            action = parallel.agree(self.action())
            if saving or action == "snapshot":
                self.snapshot()
            if action == "stop":
                self._stop_early = True
                return

    def _captured_iteration(self):
        """The captured iteration with the next batch loaded; None where it must run uncaptured."""
        param, net = self.param, self.net
        observed = self._callbacks or net.has_hooks or param.iter_size > 1
        if not cuda_graph.can_capture() or observed or not net.learnable_params:
            return None
        if self._captured and not self._captured.still_valid():
            self._captured, self._warm_up = None, 0
        if self._warm_up < cuda_graph.WARM_UP:
            self._warm_up += 1
            return None
        net.load()
        self._captured = self._captured or cuda_graph.Iteration(net, self._change_parameters)
        return self._captured

    def _gradients(self):
        """Run forward and backward iter_size times; the mean loss as a 0-d tensor."""
        losses = []
        for _ in range(self.param.iter_size):
            losses.append(self.net.forward_loss())
            self.net.backward_once()
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _smoothed(self):
        return torch.stack(list(self._losses)).double().mean().item() if self._losses else math.nan

    def _check_finite(self, loss):
        """FloatingPointError where the loss is NaN or infinite."""
        value = loss.item()
        if math.isfinite(value):
            return
        first = next(
            (
                f"{role} {name!r}"
                for role, blobs in (("parameter", self._named_params()), ("blob", self.net.blobs.items()))
                for name, blob in blobs
                if not torch.isfinite(blob.tensor).all()
            ),
            "the loss itself",
        )
        raise FloatingPointError(
            f"iteration {self.iter}: the loss is {value:g}; "
            f"the first with NaN or infinite values is {first}. "
            "Stopped without a snapshot; lower base_lr or set clip_gradients"
        )

    def _named_params(self):
        return [
            (f"{name}[{i}]", blob) for name, blobs in self.net.params.items() for i, blob in enumerate(blobs)
        ]

    @property
    def lr(self) -> float:
        """The learning rate at this iteration."""
        return solvers.learning_rate(self.param, self.iter)

    def apply_update(self) -> None:
        """Update the parameters from their gradients and count one iteration.

        Gradients are averaged over the processes, clipped and decayed first. Afterwards the diffs of the
        parameters hold the subtracted steps, as in Caffe.

        Raises:
            FloatingPointError: the learning rate is NaN or infinite.
        """
        self._log_rate()
        if self.net.learnable_params:
            self._update()
        self.iter += 1

    def _log_rate(self):
        step, previous_step = (solvers.current_step(self.param, i) for i in (self.iter, self.iter - 1))
        if self.param.lr_policy == "multistep" and step > previous_step:
            glog.info(f"MultiStep Status: Iteration {self.iter}, step = {step}")
        if self.param.display and self.iter % self.param.display == 0:
            glog.info(f"Iteration {self.iter}, lr = {self.lr:g}")

    def _update(self):
        blobs = self.net.learnable_params
        parallel.average([blob.grad for blob in blobs])
        self._norms += self._change_parameters(self._rates())
        if device.device().type == "cpu":
            self._log_clipping()
        for blob in blobs:
            blob.sync_host()
            blob.sync_host(diff=True)

    def _log_clipping(self):
        """Log the norms of the gradients that were clipped since the last call."""
        norms, limit = self._norms, self.param.clip_gradients
        self._norms = []
        for norm in torch.stack(norms).tolist() if norms else []:
            if norm > limit:
                glog.info(
                    f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > {limit:g}) "
                    f"by scale factor {limit / norm:g}"
                )

    def _rates(self):
        """The rates of the parameters at this iteration, for `_change_parameters`."""
        rate, correction = self.lr, self._rule.correction(self.iter + 1)
        if not math.isfinite(rate):
            raise FloatingPointError(
                f"iteration {self.iter}: the learning rate by lr_policy {self.param.lr_policy!r} is {rate:g}"
            )
        return [rate * mult * correction for mult in self.net.params_lr]

    def _change_parameters(self, rates):
        """Clip and decay the gradients, and subtract the update rule's step from each parameter.

        Where gradients are clipped it returns a list of their norm, a 0-d tensor; else an empty list.
        """
        param, net = self.param, self.net
        grads, weights = zip(*[(blob.grad, blob.tensor) for blob in net.learnable_params], strict=True)
        norms = [solvers.clip(grads, param.clip_gradients)] if param.clip_gradients >= 0 else []
        if param.iter_size > 1:
            torch._foreach_mul_(grads, 1 / param.iter_size)
        decays = [param.weight_decay * mult for mult in net.params_weight_decay]
        if any(decays):
            pull = weights if param.regularization_type == "L2" else torch._foreach_sign(weights)
            torch._foreach_add_(grads, torch._foreach_mul(pull, decays))
        steps = self._rule.step(grads, rates)
        torch._foreach_sub_(weights, steps)
        torch._foreach_copy_(grads, steps)
        return norms

    # Testing

    def _test_all(self):
        for i in range(len(self.test_nets)):
            if not self._stop_early and parallel.rank == 0:
                self._test(i)

    def _test(self, i):
        glog.info(f"Iteration {self.iter}, Testing net (#{i})")
        net, iterations = self.test_nets[i], self.param.test_iter[i]
        for name in self.net.layer_names:
            if name not in net.bottom_names:
                glog.info(f"Ignoring source layer {name}")
        net.share_with(self.net)  # not before the first test, as in Caffe
        total, loss = 0, 0
        with torch.no_grad():
            for _ in range(iterations):
                self._act_while_testing()
                if self._stop_early:
                    glog.info("Test interrupted.")
                    return
                loss += net.forward_loss()
                total += _outputs(net)
        if self.param.test_compute_loss:
            glog.info(f"Test loss: {loss.item() / iterations if iterations else math.nan:g}")
        if iterations:
            _log_outputs(net, "Test", total / iterations)

    def _act_while_testing(self):
        if parallel.count > 1:  # processes act together, between iterations
            return
        while (action := self.action()) is not None:
            if action == "snapshot":
                self.snapshot()
            self._stop_early = self._stop_early or action == "stop"

    # Snapshots

    def snapshot(self) -> None:
        """Write the weights and the solver state.

        Raises:
            FloatingPointError: a parameter has NaN or infinite values; nothing is written.
            OSError: a file cannot be written.
        """
        if parallel.rank:
            return
        for name, blob in self._named_params():
            if not torch.isfinite(blob.tensor).all():
                raise FloatingPointError(
                    f"iteration {self.iter}: parameter {name!r} has NaN or infinite values; nothing was saved"
                )
        hdf5 = self.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
        stem = f"{self.param.snapshot_prefix}_iter_{self.iter}"
        form, end = ("HDF5", ".h5") if hdf5 else ("binary proto", "")
        weights = f"{stem}.caffemodel{end}"
        glog.info(f"Snapshotting to {form} file {weights}")
        save = snapshot.save_hdf5 if hdf5 else snapshot.save_caffemodel
        save(self.net, weights, self.param.snapshot_diff)
        # Caffe stores the step of the last update.
        step = solvers.current_step(self.param, self.iter - 1)
        state = caffe_pb2.SolverState(iter=self.iter, learned_net=weights, current_step=step)
        state.history.extend(map(snapshot.proto_of, self._rule.history))
        state.resume = run_state.dump(self._nets(), [loss.item() for loss in self._losses])
        glog.info(f"Snapshotting solver state to {form} file {stem}.solverstate{end}")
        snapshot.save_state(f"{stem}.solverstate{end}", state)

    def restore(self, path: str | os.PathLike) -> None:
        """Resume from a .solverstate (or .solverstate.h5) and the weights that it names.

        Weights of the same name in the state's folder are preferred where they differ, with a warning.
        A state of this package also has the position in the data and the random state. One of BVLC Caffe has
        neither: the data then starts at its first row.

        Raises:
            ValueError: a file is damaged or does not fit the solver.
            OSError: a file cannot be read.
        """
        path = os.fspath(path)
        state = snapshot.load_state(path, self._rule.history)
        history = snapshot.history_of(state, self._rule.history, path)
        if state.learned_net:
            self.net.copy_from(snapshot.find_weights(path, state.learned_net))
        for tensor, values in zip(self._rule.history, history, strict=True):
            tensor.copy_(values)
        if not snapshot.holds_hdf5(path):
            glog.info("SGDSolver: restoring history")  # Caffe's line, whatever the rule
        self.iter = state.iter
        if state.resume:
            losses = run_state.restore(self._nets(), state.resume, path)
            self._losses.clear()
            self._losses.extend(torch.tensor(loss, device=device.device()) for loss in losses)
            self._resumed = True

    def _nets(self):
        return {"train": self.net, **{f"test {i}": net for i, net in enumerate(self.test_nets)}}

    # Further names of pycaffe

    def add_callback(self, on_start: Callable[[], object], on_gradients: Callable[[], object]) -> None:
        """Add functions to call before every iteration and before every update."""
        self._callbacks.append((on_start, on_gradients))

    def share_weights(self, net: Net) -> None:
        """Make `net` use the parameters of the training net."""
        net.share_with(self.net)


def _outputs(net):
    """The elements of all outputs of the net, concatenated."""
    values = [net.blobs[name].tensor.float().flatten() for name in net.outputs]
    return torch.cat(values) if values else torch.zeros(0)


def _log_outputs(net, phase, values):
    names = [name for name in net.outputs for _ in range(net.blobs[name].count)]
    for i, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        glog.info(f"    {phase} net output #{i}: {name} = {value:g}{loss_note(net, name, value)}")


def loss_note(net: Net, name: str, value: float) -> str:
    """Format what Caffe logs after an output with a loss weight; "" for other outputs."""
    weight = net.loss_weights.get(name)
    return f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
