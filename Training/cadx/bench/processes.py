"""What only a process of its own can show: start-up time and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cadx.bench.timing import Times, interleaved
from cadx.errors import InputError


def start_up(repeats: int) -> Times:
    """Seconds of the bare interpreter, of ``import cadx`` and of ``cadx --help``, in turns."""
    commands = {
        "bare": ["-c", "pass"],
        "import": ["-c", "import cadx"],
        "help": ["-m", "cadx", "--help"],
    }
    return interleaved({name: _runner(arguments) for name, arguments in commands.items()}, repeats)


def loads_torch(arguments: Sequence[str]) -> bool:
    """Whether ``cadx`` with these arguments, or the bare import without any, has imported torch at its end."""
    code = "import sys, cadx\n"
    if arguments:
        code += f"from cadx.cli import main\nmain({list(arguments)!r})\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().endswith("True")


def peak_bytes(arguments: Sequence[str]) -> int:
    """Peak resident memory of one ``cadx`` command, in bytes, as it finds it itself at its end.

    Raises
    ------
    InputError
        If the command fails.
    """
    code = (
        "import sys\nfrom cadx.cli import main\nfrom cadx.bench.processes import own_peak_bytes\n"
        f"code = main({list(arguments)!r})\nprint(own_peak_bytes())\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"cadx {arguments[0]} failed while it was measured: {complaint}")
    return int(done.stdout.strip().splitlines()[-1])


def own_peak_bytes() -> int:
    """Peak resident memory of this process in bytes, not counting what it was forked from."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        (line,) = (line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_after_each(arguments: Sequence[str], table: Path, note: Callable[[str], None]) -> list[int]:
    """Resident memory (bytes) of a ``cadx batch`` each time that its ``summary.csv`` (``table``) has grown.

    Raises
    ------
    InputError
        If the batch fails.
    """
    process = subprocess.Popen([sys.executable, "-m", "cadx", *arguments], stdout=subprocess.DEVNULL)
    sizes: list[int] = []
    rows = 0
    while process.poll() is None:
        time.sleep(0.05)
        found = len(table.read_text(encoding="utf-8").splitlines()) - 1 if table.is_file() else 0
        if found > rows:
            rows = found
            sizes.append(_resident(process.pid))
            if rows % 20 == 0:
                note(f"{rows} cases: {sizes[-1] / 2**20:.0f} MiB")
    if process.returncode:
        raise InputError(f"cadx {arguments[0]} ended with {process.returncode} while it was measured.")
    return [size for size in sizes if size]


def _runner(arguments: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
