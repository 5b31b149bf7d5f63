"""Setting widgets from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def set_quietly(setter: Callable[[Any], None], widget: Any, value: Any) -> None:
    """Show a value without announcing it as a user's."""
    blocked = widget.blockSignals(True)
    setter(value)
    widget.blockSignals(blocked)


def show_line(label: Any, text: str) -> None:
    """Text that is there only when it says something."""
    label.setText(text)
    label.setVisible(bool(text))
