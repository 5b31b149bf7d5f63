"""The process that a panel talks to: one JSON request a line in, one JSON event a line out.

``python -m cadx.worker --bundle FOLDER [--device NAME]`` keeps one bundle, of either kind, loaded. Requests
(:mod:`cadx.requests`) are answered in order (:mod:`cadx.desks`); every event carries the request's ``id``:

``progress`` (stage, fraction), then one of ``done``, ``result`` (document of ``result.json``) or ``error`` (text,
exit_code). Images and maps pass through the request's folder (:mod:`cadx.io.exchange`).
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from cadx.child import keep_standard_output
from cadx.desks import Report, desk_for
from cadx.errors import CadxError, InputError
from cadx.models.bundle import Bundle
from cadx.prepare.spec import first_complaint
from cadx.requests import REQUEST

Emit = Callable[[dict[str, Any]], None]
UNEXPECTED = 1


class Worker:
    """Answers requests about one bundle; whatever goes wrong with one, the next is answered."""

    def __init__(self, bundle: Bundle, device: str, emit: Emit) -> None:
        self.bundle = bundle
        self._desk = desk_for(bundle, device)
        self._emit = emit

    def answer(self, line: str) -> None:
        """Answer one request; every failure becomes an ``error`` event, and the worker goes on."""
        number = None
        try:
            document = json.loads(line)
            number = document.get("id") if isinstance(document, dict) else None
            request = REQUEST.validate_python(document)
            answer = self._desk.answer(request, self._progress(request.id))
            self._emit({"id": request.id, **answer})
        except ValidationError as error:
            self._fail(number, f"The request cannot be understood: {first_complaint(error)}", InputError.exit_code)
        except (ValueError, RecursionError):
            self._fail(number, "The request is not JSON; restart the module.", InputError.exit_code)
        except CadxError as error:
            self._fail(number, str(error), error.exit_code)
        except MemoryError:
            self._fail(number, "Memory ran out; use a smaller volume or close other programs.", InputError.exit_code)
        except Exception as error:
            traceback.print_exc()
            text = f"An unexpected {type(error).__name__} stopped the work; the log holds the details."
            self._fail(number, text, UNEXPECTED)

    def _progress(self, number: int) -> Report:
        return lambda stage, fraction: self._emit(
            {"id": number, "event": "progress", "stage": stage, "fraction": round(fraction, 4)}
        )

    def _fail(self, number: object, text: str, code: int) -> None:
        self._emit({"id": number, "event": "error", "text": text, "exit_code": code})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m cadx.worker")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    events = keep_standard_output()
    emit = _writer(events)
    try:
        worker = Worker(Bundle.load(given.bundle), given.device, emit)
    except CadxError as error:
        emit({"id": None, "event": "error", "text": str(error), "exit_code": error.exit_code})
        return error.exit_code
    emit({"id": None, "event": "ready", "bundle": worker.bundle.identity()})
    for line in sys.stdin:
        if line.strip():
            worker.answer(line)
    return 0


def _writer(stream: TextIO) -> Emit:
    def emit(event: dict[str, Any]) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return emit


if __name__ == "__main__":
    sys.exit(main())
