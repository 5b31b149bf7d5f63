"""Layouts and buttons that the sections share."""

from __future__ import annotations

from typing import Any

import qt


def form_with_room_below(parent: Any) -> tuple[Any, Any]:
    """A form for labelled controls, and the layout around it for what comes below.

    Text that wraps belongs below: a form does not give it the height that it needs.
    """
    below = qt.QVBoxLayout(parent)
    below.setContentsMargins(0, 0, 0, 0)
    form = qt.QFormLayout()
    below.addLayout(form)
    return form, below


def button(text: str, tip: str) -> Any:
    """A push button with its tooltip."""
    made = qt.QPushButton(text)
    made.setToolTip(tip)
    return made
