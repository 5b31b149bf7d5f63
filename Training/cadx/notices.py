"""What a user must be told beside a result: a code for machines, a sentence for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Notice:
    """One warning of a result.

    >>> Notice("padded", "Two slices were repeated.").to_json()
    {'code': 'padded', 'text': 'Two slices were repeated.'}
    """

    code: str
    text: str

    def to_json(self) -> dict[str, str]:
        """As it stands in ``result.json``."""
        return asdict(self)


DEMO_MODEL = Notice("demo-model", "Trained on synthetic phantoms, its grade means nothing on a patient.")
