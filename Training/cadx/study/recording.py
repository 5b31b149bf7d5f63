"""What a training writes while it runs: a line a step, a line a round, TensorBoard events, and its checkpoint.

After a kill the files are cut back to the last checkpoint, so that they read as if nothing had happened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cadx.errors import InputError

STEPS, ROUNDS, CHECKPOINT = "steps.jsonl", "rounds.jsonl", "checkpoint.pt"


class DiskFullError(InputError):
    """There is no room to go on; no other model would fare better."""

    @classmethod
    def of(cls, name: str, error: Exception) -> DiskFullError:
        """The sentence for a file that could not be written."""
        reason = getattr(error, "strerror", None) or "no space left on the device?"
        return cls(f"{name} cannot be written ({reason}); make room and run again with --resume.")


class Recording:
    """The files of one task's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._steps: list[str] = []
        self._writer: Any = None

    def open(self, lengths: dict[str, int], step: int) -> None:
        """Go on after ``lengths`` bytes of each file, at optimiser step ``step``."""
        from torch.utils.tensorboard import SummaryWriter

        for name in (STEPS, ROUNDS):
            with (self.folder / name).open("ab") as stream:
                stream.truncate(lengths.get(name, 0))
        for events in self.folder.glob("events.out.tfevents.*") if not step else ():
            events.unlink()
        self._writer = SummaryWriter(str(self.folder), purge_step=step if step else None, flush_secs=60)

    def step(self, step: int, round_: int, loss: float, learning_rate: float) -> None:
        """One optimiser step; on disk at the end of its round."""
        line = {"step": step, "round": round_, "loss": loss, "learning_rate": learning_rate}
        self._steps.append(json.dumps(line))
        self._writer.add_scalar("training/loss", loss, step)
        self._writer.add_scalar("training/learning rate", learning_rate, step)

    def round(self, line: dict[str, Any]) -> None:
        """One look at the validation part."""
        self._append(STEPS, self._steps)
        self._steps = []
        self._append(ROUNDS, [json.dumps(line)])
        for name in ("validation_loss", "validation_accuracy", "validation_balanced_accuracy"):
            if line.get(name) is not None:
                self._writer.add_scalar(name.replace("_", "/", 1), line[name], line["step"])

    def lengths(self) -> dict[str, int]:
        """Bytes of each file, for the checkpoint."""
        return {name: (self.folder / name).stat().st_size for name in (STEPS, ROUNDS)}

    def close(self) -> None:
        """End the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()

    def _append(self, name: str, lines: list[str]) -> None:
        try:
            with (self.folder / name).open("a", encoding="utf-8") as stream:
                stream.writelines(line + "\n" for line in lines)
        except OSError as error:
            raise DiskFullError.of(name, error) from error


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write beside and rename: a kill leaves the checkpoint before or the one after.

    Raises
    ------
    InputError
        If there is no room.
    """
    import torch

    beside = folder / f".{CHECKPOINT}.partial"
    try:
        torch.save(state, beside)
        os.replace(beside, folder / CHECKPOINT)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise DiskFullError.of(CHECKPOINT, error) from error


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint; None where there is none.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    import pickle

    import torch

    try:
        return torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"The checkpoint in {folder.name} cannot be read; remove that folder and run again with --resume."
        ) from error
