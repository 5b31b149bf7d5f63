"""The button that starts work and becomes Cancel, its progress, and one line about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from cadx.errors import CadxError, CancelledError
from cadx.slicer.panel.poller import Poller

_PROBLEM_STYLE = "color: #b00020;"
_STEPS = 1000
Stages = Mapping[str, tuple[float, float]]
"""Where in the whole of the work (0..1) a stage begins and ends, by its first word."""


class RunControls:
    """One piece of work at a time.

    Parameters
    ----------
    button, bar, label
        ``QPushButton``, ``QProgressBar`` and ``QLabel`` of the panel.
    poller
        Listens to the work.
    start
        Called when the user starts; hands work to :meth:`run`, or raises a CadxError.
    busy
        Widgets that are disabled while work runs.
    stages
        What the work consists of.
    """

    def __init__(
        self,
        button: Any,
        bar: Any,
        label: Any,
        poller: Poller,
        start: Callable[[], None],
        busy: list[Any],
        stages: Stages,
    ) -> None:
        self._button, self._bar, self._label = button, bar, label
        self._poller = poller
        self._start = start
        self._busy = busy
        self._stages = stages
        self._work: Any = None
        button.connect("clicked()", self.press)
        self._show(False)

    @property
    def running(self) -> bool:
        """Whether work runs."""
        return self._work is not None

    def press(self) -> None:
        """As a user's click: start, or cancel what runs."""
        if self._work is not None:
            self._work.cancel()
            return
        try:
            self._start()
        except CadxError as error:
            self.say(str(error), problem=True)

    def run(self, work: Any, done: Callable[[Any], None], failed: Callable[[CadxError], None]) -> None:
        """Follow work to its end; then ``done`` gets its result, or ``failed`` its error."""
        self._work = work
        self._show(True)
        self.say(_("Starting"))

        def finish(result: Any) -> None:
            self._finish(_("Done."), False)
            done(result)

        def fail(error: CadxError) -> None:
            cancelled = isinstance(error, CancelledError)
            self._finish(_("Cancelled; the scene is as it was.") if cancelled else str(error), not cancelled)
            failed(error)

        self._poller.add(work, finish, fail)

    def progress(self, stage: str, fraction: float) -> None:
        """Show a stage of the work (:mod:`cadx.worker`) and how far it is, 0..1."""
        self.say(stage_text(stage))
        first, last = self._stages.get(stage.partition(" ")[0], (0.0, 0.0))
        self._bar.setValue(round(_STEPS * (first + fraction * (last - first))))

    def allow(self, problem: str, tip: str) -> None:
        """Whether the work can be started: ``problem`` says why not, ``tip`` what the button does."""
        if not self.running:
            self._button.setEnabled(not problem)
            self._button.setToolTip(problem or tip)

    def say(self, text: str, problem: bool = False) -> None:
        """A line below the button."""
        self._label.setText(text)
        self._label.setStyleSheet(_PROBLEM_STYLE if problem else "")
        self._label.setVisible(bool(text))

    def outdated(self) -> None:
        """What was done no longer fits what is chosen."""
        if not self.running and self._label.text == _("Done."):
            self.say("")

    def drop(self) -> None:
        """Let go of work that was ended."""
        self._finish("", False)

    def _finish(self, text: str, problem: bool) -> None:
        self._work = None
        self._show(False)
        self.say(text, problem)

    def _show(self, running: bool) -> None:
        self._button.setText(_("Cancel") if running else _("Classify"))
        if running:
            self._button.setToolTip(_("End the work; the scene stays as it is."))
        self._button.setEnabled(True)
        self._bar.setRange(0, _STEPS)
        self._bar.setValue(0)
        self._bar.setVisible(running)
        for widget in self._busy:
            widget.setEnabled(not running)


def stage_text(stage: str) -> str:
    """A stage of the work in words."""
    action, _space, channel = stage.partition(" ")
    if action == "correct":
        return _("Correcting {channel} (bias field, noise)").format(channel=channel)
    return {
        "register": _("Registering T2 to T1"),
        "crop": _("Cutting out the ROI"),
        "prepare": _("Preparing the slices"),
        "load model": _("Loading the model"),
        "classify": _("Grading"),
    }.get(stage, stage)
