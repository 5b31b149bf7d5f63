"""Trainings in several processes of this machine, each with a GPU of its own or a share of the CPU."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cadx.child import Child, ChildError, package_environment
from cadx.study.executors.board import Board
from cadx.study.executors.crew import packed, unpacked
from cadx.study.executors.orders import Orders
from cadx.study.progress import Reporter
from cadx.study.spec import TrainingSpec
from cadx.study.task import Task

LOOK_EVERY_S = 0.02
CARDS = "CUDA_VISIBLE_DEVICES"


class Processes:
    """An :class:`cadx.study.executors.executor.Executor`; its processes start with the first task and stay for more.

    A training works in its own folder: this process hands it on only when it has seen its worker's end.

    Parameters
    ----------
    cards
        For each process the GPU that it sees, as ``CUDA_VISIBLE_DEVICES`` names it; None: whatever is there.
    """

    def __init__(self, orders: Orders, cards: Sequence[str | None], training: TrainingSpec, report: Reporter) -> None:
        self._orders, self._training, self._report = orders, training, report
        self._hands = [_Hand(orders, card) for card in cards]

    @property
    def record(self) -> dict[str, Any]:
        """As :attr:`Executor.record`."""
        return {"executor": "processes", "workers": len(self._hands)}

    def run(self, tasks: Sequence[Task]) -> None:
        """As :meth:`Executor.run`."""
        board = Board(tasks, self._training, self._report)
        try:
            while not board.over:
                self._hand_out(board)
                if not sum(hand.listen(board) for hand in self._hands):
                    time.sleep(LOOK_EVERY_S)
                self._stop(board.needless())
        except BaseException:
            self.close()
            raise
        board.conclude()

    def close(self) -> None:
        """End all processes with whatever they have started; nothing of them is left."""
        for hand in self._hands:
            hand.end()

    def _hand_out(self, board: Board) -> None:
        for hand in self._hands:
            if hand.task is None and (number := board.take()) is not None:
                hand.begin(number, board.tasks[number])

    def _stop(self, numbers: Sequence[int]) -> None:
        for hand in self._hands:
            if hand.task in numbers:
                hand.end()


class _Hand:
    """One process, which is started when it is needed, and again when it was lost."""

    def __init__(self, orders: Orders, card: str | None) -> None:
        self.task: int | None = None
        self._orders, self._card = orders, card
        self._child: Child | None = None

    def begin(self, number: int, task: Task) -> None:
        """Hand over a training."""
        self.task = number
        if self._child is None:
            own = {} if self._card is None else {CARDS: self._card}
            environment = {**package_environment(), **own}
            self._child = Child(["-m", "cadx.study.executors.crew"], environment=environment)
            self._send(self._orders)
        self._send(task)

    def listen(self, board: Board) -> bool:
        """Pass on what it has said since the last call, also that it is gone; whether it said anything."""
        if self.task is None or self._child is None:
            return False
        gone = not self._child.alive
        try:
            lines = self._child.lines()
        except ChildError:
            gone, lines = True, []
        for line in lines:
            kind, what = unpacked(line)
            if kind == "ended":
                board.ended(self.task, what)
                self.task = None
                return True
            board.told(self.task, kind, what)
        if gone:
            number, how = self.task, self._end_of(self._child)
            self.end()
            board.lost(number, how)
        return gone or bool(lines)

    def end(self) -> None:
        """End it; the next training starts another."""
        if self._child is not None:
            self._child.end()
        self._child = self.task = None

    def _send(self, what: object) -> None:
        assert self._child is not None
        try:
            self._child.send(packed(what))
        except OSError:
            # said by listening
            return

    @staticmethod
    def _end_of(child: Child) -> str:
        code = child.process.poll()
        if code is not None and code < 0:
            return f"ended by signal {-code}"
        said = child.log().strip().splitlines()
        return f"ended by itself with code {code}" + (f": {said[-1]}" if said else "")
