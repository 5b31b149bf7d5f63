"""What a cross-validation costs, drawn: by folds and by patients, beside the bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STYLES = {"straightforward": ("0.55", "-"), "cadx": ("C0", "-"), "bound": ("C1", "--")}


def draw(cost: dict[str, Any], path: Path, machine: str) -> None:
    """Write a PNG of :func:`cadx.bench.training_bound.costs`.

    Raises
    ------
    InputError
        If ``path`` cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from cadx.errors import InputError

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, cost["folds"], cost["by folds"], "outer folds, 139 patients")
    _panel(right, cost["patients"], cost["by patients"], "patients, 10 outer folds")
    left.set_ylabel("hours, computed")
    left.legend(frameon=False)
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in cost["seconds a step"].items())
    figure.suptitle(
        f"Nested cross-validation of ViT-B/16, {cost['epochs']} epochs, batch {cost['batch']}, on {machine}\n"
        f"computed from seconds a step: {told}",
        fontsize=10,
    )
    try:
        with matplotlib.rc_context({"svg.hashsalt": "cadx"}):
            figure.savefig(path, dpi=130)
    except OSError as error:
        raise InputError(f"{path.name} cannot be written ({error.strerror}); give another --figure.") from error


def _panel(axes: Any, places: list[int], curves: dict[str, list[float]], label: str) -> None:
    for name, hours in curves.items():
        colour, style = STYLES[name]
        axes.plot(places, hours, style, color=colour, marker="o", markersize=3, label=name)
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
