"""Whether an MR series is T1- or T2-weighted, guessed from what its headers say."""

from __future__ import annotations

import re

_T1_WORDS = re.compile(r"(^|[^a-z0-9])(t1w?|vibe|lava|thrive|flash|spgr|mprage|dixon|twist|fspgr)(?![a-z0-9])")
_T2_WORDS = re.compile(r"(^|[^a-z0-9])(t2w?|haste|ssfse|tse|frfse|ssh|propeller|mrcp)(?![a-z0-9])")


def guess_weighting(description: str, repetition_time: float, echo_time: float) -> str:
    """ "T1", "T2" or "": the description's own words first, then TR and TE in ms (0 where unknown).

    >>> guess_weighting("t1_vibe_fs_tra", 0, 0), guess_weighting("AX ABDOMEN", 1400, 95), guess_weighting("scout", 0, 0)
    ('T1', 'T2', '')
    """
    return weighting_of_words(description) or weighting_of_times(repetition_time, echo_time)


def weighting_of_words(text: str) -> str:
    """ "T1" or "T2" where the words of a description name one of them, else ""."""
    words = text.lower()
    t1, t2 = bool(_T1_WORDS.search(words)), bool(_T2_WORDS.search(words))
    if t1 == t2:
        return ""
    return "T1" if t1 else "T2"


def weighting_of_times(repetition_time: float, echo_time: float) -> str:
    """ "T1" or "T2" where TR and TE in ms leave no doubt, else ""."""
    if echo_time >= 60:
        return "T2"
    return "T1" if 0 < echo_time <= 30 and 0 < repetition_time <= 1000 else ""


def without_weighting(text: str) -> str:
    """A description in small letters, without the words that :func:`weighting_of_words` goes by."""
    return _T2_WORDS.sub(r"\1", _T1_WORDS.sub(r"\1", text.lower()))
