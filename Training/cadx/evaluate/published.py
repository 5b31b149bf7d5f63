"""What the papers printed: read from ``published.csv``, never typed into code."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from cadx.evaluate.metrics import TITLES

# names of published.csv that are not ours; its averages over classes are macro averages
SYNONYMS = {
    "auroc": "auc",
    "f1_macro": "f1",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "top2_accuracy": "top2",
    "top-2 accuracy": "top2",
    "support": "support",
}


@dataclass(frozen=True)
class Reference:
    """One printed figure. ``text`` and ``sd_text`` are as printed, with their digits."""

    study: str
    table: str
    protocol: str
    model: str
    metric: str
    text: str
    sd_text: str
    note: str

    @property
    def value(self) -> float:
        """The figure as a number."""
        return float(self.text)

    @property
    def sd(self) -> float | None:
        """Its standard deviation over folds, where printed."""
        return float(self.sd_text) if self.sd_text else None

    @property
    def digits(self) -> int:
        """Decimals printed."""
        return len(self.text.partition(".")[2])

    def __str__(self) -> str:
        return f"{self.text} ± {self.sd_text}" if self.sd_text else self.text


class Published:
    """A study's printed figures."""

    def __init__(self, references: Iterable[Reference]) -> None:
        self.references = tuple(references)

    def __len__(self) -> int:
        return len(self.references)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables, in the file's order."""
        return tuple(dict.fromkeys(one.table for one in self.references))

    def models(self, table: str) -> tuple[str, ...]:
        """Names of a table's rows as printed, in the file's order."""
        return tuple(dict.fromkeys(one.model for one in self.references if one.table == table))

    def protocols(self, table: str) -> tuple[str, ...]:
        """How the table's figures came about, as the file says."""
        return tuple(dict.fromkeys(one.protocol for one in self.references if one.table == table))

    def find(self, table: str, model: str, metric: str) -> Reference | None:
        """The figure of a table's row; ``metric`` by its printed name or by ours."""
        wanted = our_metric(metric)
        for one in self.references:
            if (one.table, one.model, our_metric(one.metric)) == (table, model, wanted):
                return one
        return None


def published(study: str | None) -> Published:
    """The figures printed for a study (a name of the column ``study``); none for a name that is not there.

    >>> published("ipmn").find("Table I", "ViT", "accuracy").sd
    0.11
    """
    return Published(one for one in _all() if one.study == study)


def our_metric(name: str) -> str | None:
    """Our key of a metric's printed name; None where there is none such.

    >>> our_metric("precision_macro"), our_metric("AUROC"), our_metric("dice")
    ('precision', 'auc', None)
    """
    key = name.casefold()
    key = SYNONYMS.get(key, key)
    return key if key in TITLES or key == "support" else None


@functools.cache
def _all() -> tuple[Reference, ...]:
    text = resources.files("cadx.evaluate").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Reference(
            row["study"],
            row["table"],
            row["protocol"],
            row["model"],
            row["metric"],
            row["value"],
            row["sd"],
            row["note"],
        )
        for row in csv.DictReader(text.splitlines())
    )
