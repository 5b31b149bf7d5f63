"""``python -m cadx``, and the installed command ``cadx``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn


def _stop(number: int, frame: Any) -> NoReturn:
    """End as Ctrl-C does: what is half-made is removed on the way out."""
    raise KeyboardInterrupt


def run() -> NoReturn:
    """Run the command line as a process of its own."""
    try:
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
