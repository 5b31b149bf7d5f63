"""What a long run says while it works: lines for people with the time left, or JSON lines for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from cadx.study.folds import Fold
from cadx.study.spec import StudySpec

Say = Callable[[str], None]


class Reporter:
    """Prints events; ``as_json`` prints each as a line of JSON."""

    def __init__(self, say: Say, as_json: bool = False) -> None:
        self._say, self._json = say, as_json
        self._shown = 0.0
        self._work = 0.0
        self._left = 0.0
        self._seconds = 0.0
        self._seen: dict[str, float] = {}

    def event(self, kind: str, text: str, **facts: Any) -> None:
        """One event: a sentence, and facts for machines."""
        self._say(json.dumps({"event": kind, "text": text, **facts}) if self._json else text)

    def preparing(self, stage: str, done: int, total: int) -> None:
        """Preparation of cases, at most twenty lines a stage."""
        if done == total or done % max(1, total // 20) == 0:
            self.event("preparing", f"{stage}: {done} of {total}", done=done, total=total)

    def begin(self, samples: float) -> None:
        """A model's work begins: so many samples are still to be trained on."""
        self._left, self._work, self._seconds = samples, 0.0, time.perf_counter()
        self._seen.clear()

    def skip(self, samples: float) -> None:
        """Work that was done before, or is not needed."""
        self._left -= samples

    def round(self, place: str, of: int, samples: int, line: dict[str, Any]) -> None:
        """One check of one task; on a terminal at most every two seconds, the last one always."""
        self._work += samples
        self._seen.pop(place, None)
        self._left -= samples
        last = line["round"] + 1 == of
        now = time.monotonic()
        if self._json or last or now - self._shown > 2:
            self._shown = now
            self.event("round", f"{place}, {_round_text(line, of)}; {self._time_left()}", place=place, **line)

    def tick(self, place: str, samples: int, seen: int, wanted: int) -> None:
        """Between two checks that lie far apart, a line every ten seconds; a check counts for ``samples``."""
        self._seen[place] = samples * seen / wanted
        if not self._json and time.monotonic() - self._shown > 10:
            self._shown = time.monotonic()
            self.event(
                "step", f"{place}, {min(seen, wanted)} of {wanted} samples to the next check; {self._time_left()}"
            )

    def _time_left(self) -> str:
        rate = (time.perf_counter() - self._seconds) / max(1.0, self._work + sum(self._seen.values()))
        return f"at most {duration(max(0.0, self._left) * rate)} left for this model"


def work_of(study: StudySpec, folds: list[Fold], rounds: int, inner: int, refit_all: bool) -> float:
    """Samples that one model is trained on at most, in all its tasks; ``inner`` are those of one round of all inner
    trainings."""
    outer = sum(len(fold.training) for fold in folds) if study.selection.final == "refit" else 0
    everything = len(folds[0].training) + len(folds[0].test) if refit_all else 0
    return float(rounds * (inner + outer + everything))


def duration(seconds: float) -> str:
    """
    >>> duration(40), duration(130), duration(7500)
    ('40 s', '2 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _round_text(line: dict[str, Any], of: int) -> str:
    text = f"check {line['round'] + 1} of {of}: loss {line['loss']:.4f}"
    if line.get("validation_loss") is not None:
        text += f", validation loss {line['validation_loss']:.4f}, accuracy {line['validation_accuracy']:.3f}"
    return text
