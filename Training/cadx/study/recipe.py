"""A training recipe as data."""

from __future__ import annotations

from pydantic import Field

from cadx.prepare.spec import Strict


class Recipe(Strict):
    """The recommended preset: AdamW, warm-up then cosine, label smoothing, D4, random windows, early stop.

    ``affine`` is the strength of small shifts, turns and scalings (0: none, 1: up to 15 degrees and 10 %).
    ``lesion_weight`` adds a loss on the patches: each says whether it shows the lesion of the cohort's masks, and of
    which class; the layer for it is dropped afterwards.
    ``patience`` counts epochs without a lower validation loss. ``precision`` "auto" takes bf16 where the
    processor computes in it.
    """

    epochs: int = Field(default=100, ge=1, le=100_000)
    batch: int = Field(default=32, ge=1, le=4096)
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    gradient_clip: float = Field(default=1.0, gt=0)
    patience: int = Field(default=30, ge=1)
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    d4: bool = True
    random_window: bool = True
    affine: float = Field(default=0.0, ge=0, le=3)
    lesion_weight: float = Field(default=0.0, ge=0, le=10)
    precision: str = Field(default="auto", pattern="^(auto|fp32|bf16)$")
    seed: int = 0
