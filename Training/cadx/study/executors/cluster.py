"""A Ray of this process's own, or one that runs already: begun, joined, left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cadx.errors import InputError, MissingDependencyError
from cadx.study.executors.executor import WorkersError

# Ray keeps 30 % of the memory for objects otherwise; tasks and answers are small
OBJECTS_BYTES = 100_000_000
ANSWERS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Share:
    """What one training takes of a machine, as Ray counts it."""

    cpus: int
    gpus: int

    def fits(self, node: dict[str, Any]) -> int:
        """How many find room at once on a machine, by Ray's description of it."""
        if not node["Alive"]:
            return 0
        room = node["Resources"]
        counts = [room.get("CPU", 0) // self.cpus] + ([room.get("GPU", 0) // self.gpus] if self.gpus else [])
        return int(min(counts))


def require_ray() -> Any:
    """The package ``ray``, told to send nothing anywhere.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            'ray is needed for --workers ray; install it with: pip install "slicer-cadx[ray]"'
        ) from error
    # what it says of its machines it prints to standard output, among the lines of --json
    ray._private.worker._worker_logs_enabled = False
    return ray


@contextlib.contextmanager
def joined(address: str | None, cpus: int) -> Iterator[Any]:
    """Ray, begun on this machine or joined at ``address`` (HOST:PORT, or auto for one that runs here).

    One that this process has joined before is used, and left as it is. ``cpus`` a training takes: what is begun here
    has at least as many.

    Raises
    ------
    MissingDependencyError
        If ray is not installed.
    InputError
        If none can be reached at the address, or it is another version.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    with _own_signals():
        _begin(ray, address, cpus)
    try:
        yield ray
    finally:
        ray.shutdown()


def share(ray: Any, cpus: int, on_gpu: bool) -> Share:
    """What one training takes: its threads, and on CUDA one GPU with no more threads than fall to it on a machine.

    Raises
    ------
    WorkersError
        If no machine has that.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if on_gpu:
        with_gpus = [node["Resources"] for node in nodes if node["Resources"].get("GPU", 0) >= 1]
        cpus = min([cpus, *(max(1, int(room.get("CPU", 1) // room["GPU"])) for room in with_gpus)])
    found = Share(cpus, int(on_gpu))
    if not any(found.fits(node) for node in nodes):
        wanted = "a GPU for a training" if on_gpu else f"room for a training of {cpus} threads"
        raise WorkersError(f"No machine of the Ray cluster has {wanted}; add one, or change --device or --threads.")
    return found


def _begin(ray: Any, address: str | None, cpus: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=max(cpus, os.cpu_count() or 1),
                object_store_memory=OBJECTS_BYTES,
                include_dashboard=False,
                # it would listen on all interfaces
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            _require_answer(address)
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {address} " if address else ""
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(f"Ray {where}cannot be used ({reason}); check --ray-address and that it runs.") from error


def _require_answer(address: str) -> None:
    """Ray waits for long, and in its own way, for a cluster that is not there."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        raise InputError(f"{address} is no address of a Ray cluster; give HOST:PORT, such as 10.0.0.1:6379.")
    try:
        socket.create_connection((host, int(port)), ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise InputError(
            f"No Ray answers at {address} ({error.strerror or 'no answer'}); begin one there with: ray start --head"
        ) from error


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray sets a handler of its own for the signal by which this program ends cleanly."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
