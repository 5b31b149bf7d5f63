"""``python -m cadx``, and the installed command ``cadx``."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from typing import Any, NoReturn


def _stop(number: int, frame: Any) -> NoReturn:
    """End as Ctrl-C does: what is half-made is removed on the way out."""
    raise KeyboardInterrupt


def _not_lost(unraisable: Any) -> None:
    """A Ctrl-C that falls into a finaliser or an import's clean-up would be printed and forgotten: say it again."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # a moment later: said here, it would fall into this hook and be lost again
        again = threading.Timer(0.05, _thread.interrupt_main)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def run() -> NoReturn:
    """Run the command line as a process of its own."""
    try:
        sys.unraisablehook = _not_lost
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # what nohup or a shell's background job ignores stays ignored
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _stop)
        for stream in (sys.stdout, sys.stderr):
            # a terminal that knows no such letter shows another, rather than losing the result
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        from cadx.cli import main

        code = main()
    except KeyboardInterrupt:
        print("cadx: Cancelled.", file=sys.stderr)
        code = 130
    if code == 130:
        # a Ctrl-C inside code that a library ran would else end the process by the signal, whatever is returned
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
