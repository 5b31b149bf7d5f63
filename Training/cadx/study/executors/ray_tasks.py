"""Trainings as tasks of Ray, on this machine or on a cluster whose machines share the run's folder and the data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cadx.study.executors import cluster
from cadx.study.executors.attempts import Attempts
from cadx.study.executors.board import Board
from cadx.study.executors.executor import WorkersError
from cadx.study.executors.orders import SEEN_WITHIN_S, Orders
from cadx.study.progress import Reporter
from cadx.study.spec import TrainingSpec
from cadx.study.task import DONE, Task

LOOK_EVERY_S = 0.5
ALONE_FOR_S = 120.0


class RayTasks:
    """An :class:`cadx.study.executors.executor.Executor`; :meth:`opened` makes one.

    A training that is lost with its worker is begun again elsewhere by this process, so Ray itself tries nothing twice.
    """

    def __init__(
        self, ray: Any, share: cluster.Share, orders: Orders, training: TrainingSpec, report: Reporter
    ) -> None:
        self._ray, self._share, self._orders = ray, share, orders
        self._training, self._report = training, report
        self._attempts = Attempts(orders.run)
        self._postbox = self._here()
        self._train = ray.remote(_train).options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        self._numbers: dict[Any, int] = {}

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, address: str | None, orders: Orders, training: TrainingSpec, report: Reporter
    ) -> Iterator[RayTasks]:
        """Ray begun or joined, and left at the end with nothing of this run running on it.

        Raises
        ------
        MissingDependencyError
            If ray is not installed.
        InputError, WorkersError
            If none can be reached, or none of its machines has room for a training.
        """
        plan = orders.plan
        assert plan.threads is not None
        with cluster.joined(address, plan.threads) as ray:
            executor = cls(ray, cluster.share(ray, plan.threads, plan.device == "cuda"), orders, training, report)
            try:
                yield executor
            finally:
                executor.close()

    @property
    def record(self) -> dict[str, Any]:
        """As :attr:`Executor.record`."""
        rooms = [self._share.fits(node) for node in self._ray.nodes()]
        machines = sum(1 for room in rooms if room)
        return {"executor": "ray", "workers": sum(rooms), "machines": machines, "version": self._ray.__version__}

    def run(self, tasks: Sequence[Task]) -> None:
        """As :meth:`Executor.run`."""
        board = Board(tasks, self._training, self._report)
        if not board.over:
            self._orders.leave_mark()
        try:
            self._hand_out(board)
            last = time.monotonic()
            while not board.over:
                ready, _ = self._ray.wait(list(self._numbers), num_returns=1, timeout=LOOK_EVERY_S)
                self._listen(board)
                for reference in ready:
                    self._end(board, reference)
                self._cancel(board.needless())
                self._hand_out(board)
                last = self._required(last)
        finally:
            self._cancel(list(self._numbers.values()))
        board.conclude()

    def close(self) -> None:
        """End what runs; the cluster stays as it was."""
        self._cancel(list(self._numbers.values()))
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._postbox)
        self._attempts.settle()

    def _here(self) -> Any:
        """The postbox, on this machine: it is lost only with this process."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return self._ray.remote(Postbox).options(num_cpus=0, scheduling_strategy=strategy).remote()

    def _hand_out(self, board: Board) -> None:
        """All that wait: Ray gives them to its machines as they have room."""
        while (number := board.take()) is not None:
            task = board.tasks[number]
            self._attempts.withdraw(task.folder)
            self._numbers[self._train.remote(self._orders, task, number, self._postbox)] = number

    def _listen(self, board: Board) -> None:
        """What trainings say is of use, but not needed."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            for number, kind, what in self._ray.get(self._postbox.empty.remote()):
                if number in board.running:
                    board.told(number, kind, what)

    def _end(self, board: Board, reference: Any) -> None:
        """A task has returned what it failed with, or its worker is gone."""
        number = self._numbers.pop(reference)
        if number not in board.running:
            return
        failures = self._ray.exceptions
        try:
            error = self._ray.get(reference)
        except failures.RayTaskError as failure:
            # the task itself raises nothing: it could not even be read
            raise WorkersError(
                f"A worker cannot run a training ({failure.cause}); install the same slicer-cadx on every machine."
            ) from failure
        except failures.RayError as failure:
            board.lost(number, type(failure).__name__)
            return
        if error is None:
            self._require_seen(board.tasks[number].folder)
            self._attempts.clear(board.tasks[number].folder)
        board.ended(number, error)

    def _cancel(self, numbers: Sequence[int]) -> None:
        for reference, number in list(self._numbers.items()):
            if number in numbers:
                del self._numbers[reference]
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(reference, force=True)

    def _required(self, last: float) -> float:
        """When a machine with room was last there.

        Raises
        ------
        WorkersError
            If that is too long ago.
        """
        now = time.monotonic()
        if any(self._share.fits(node) for node in self._ray.nodes()):
            return now
        if now - last > ALONE_FOR_S:
            raise WorkersError("No machine of the Ray cluster is left for the trainings; run again with --resume.")
        return last

    def _require_seen(self, folder: Path) -> None:
        """A network file system shows what another machine wrote a moment later, once the folder above is read anew."""
        until = time.monotonic() + SEEN_WITHIN_S
        while not (folder / DONE).is_file():
            if time.monotonic() > until:
                raise WorkersError(
                    f"A training was done, and this machine does not see it in {self._orders.run.name}; put the run "
                    "where every machine sees the same folder."
                )
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                list(folder.parent.iterdir())


class Postbox:
    """What trainings say, until it is asked for; an actor."""

    def __init__(self) -> None:
        self._letters: list[tuple[int, str, Any]] = []

    def put(self, number: int, kind: str, what: Any) -> None:
        """Leave a letter."""
        self._letters.append((number, kind, what))

    def empty(self) -> list[tuple[int, str, Any]]:
        """All letters since the last call."""
        letters, self._letters = self._letters, []
        return letters


def _train(orders: Orders, task: Task, number: int, postbox: Any) -> Exception | None:
    """The task, on a worker."""
    from cadx.study.executors.attempt import aside

    # no answer is waited for: a training does not stop for what it says
    return aside(orders, task, lambda kind, what: postbox.put.remote(number, kind, what))
