"""What a result says of every slice, as a panel shows it: which classes, in which colours, with which shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

MOST = 7
# Okabe and Ito's, told apart with any colour vision
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
NEUTRAL = ("#bfc4c9", "#989ea5", "#d8dbde", "#7b828a")
OTHER = "#e8dcc8"
_MOST_TRIALS = 5000
_ROUNDING = 1e-6

Table = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class SliceShares:
    """Classes with their colours (``#rrggbb``) and, by slice, their probabilities (slices, classes).

    Classes that mean that nothing is found come last and are grey; the others keep the bundle's order. Of more than
    :data:`MOST` classes those with the highest mean have a place of their own, and ``other`` says that the last place
    is the sum of the rest.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    other: bool


def slice_shares(table: Table) -> SliceShares:
    """Of a result's ``slices["table"]``, which has at least one row.

    Examples
    --------
    >>> rows = [{"probabilities": {"none": 0.9, "tumour": 0.1}, "suspicion": 0.1}]
    >>> slice_shares(rows)
    SliceShares(names=('tumour', 'none'), colours=('#0072b2', '#bfc4c9'), shares=((0.1, 0.9),), other=False)
    """
    classes = list(table[0]["probabilities"])
    negative = negative_classes(table)
    ordered = sorted(classes, key=lambda name: name in negative)
    means = {name: sum(row["probabilities"][name] for row in table) for name in classes}
    kept = ordered
    if len(ordered) > MOST:
        best = sorted(ordered, key=lambda name: -means[name])[:MOST]
        kept = [name for name in ordered if name in best]
    rest = [name for name in ordered if name not in kept]
    colours = _colours(kept, negative)
    shares = []
    for row in table:
        values = [float(row["probabilities"][name]) for name in kept]
        shares.append((*values, sum(row["probabilities"][name] for name in rest)) if rest else tuple(values))
    return SliceShares(tuple(kept), (*colours, OTHER) if rest else colours, tuple(shares), bool(rest))


def negative_classes(table: Table) -> tuple[str, ...]:
    """The fewest classes whose removal leaves the suspicion of every slice.

    Returns
    -------
    tuple of str
        Empty where the model has none, or where they cannot be told.

    Examples
    --------
    >>> negative_classes([{"probabilities": {"a": 0.5, "b": 0.5}, "suspicion": 0.5}])
    ()
    >>> negative_classes([{"probabilities": {"a": 0.2, "b": 0.7, "c": 0.1}, "suspicion": 0.3}])
    ('b',)
    """
    if "suspicion" not in table[0]:
        return ()
    classes = list(table[0]["probabilities"])
    trials = 0
    for size in range(1, len(classes)):
        trials += math.comb(len(classes), size)
        if trials > _MOST_TRIALS:
            return ()
        fitting = [names for names in combinations(classes, size) if _fits(table, names)]
        if fitting:
            return fitting[0] if len(fitting) == 1 else ()
    return ()


def _fits(table: Table, negative: tuple[str, ...]) -> bool:
    for row in table:
        shares = row["probabilities"]
        left = sum(share for name, share in shares.items() if name not in negative)
        # every number was rounded by itself
        if abs(left - row["suspicion"]) > _ROUNDING * (len(shares) + 1):
            return False
    return True


def _colours(names: Sequence[str], negative: Sequence[str]) -> tuple[str, ...]:
    greys, colours = iter(NEUTRAL * MOST), iter(COLOURS)
    return tuple(next(greys) if name in negative else next(colours) for name in names)
