"""A cohort of small pictures whose class anyone can see, and a study of it that runs in seconds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("circle", "bars", "plain")
STUDY = """
schema: cadx.study/1
name: shapes
title: Shapes on small pictures
classes: [{name: circle}, {name: bars, labels: [stripes]}, {name: plain, negative: true}]
label_of: image
input: {kind: picture, picture: {pixels: 32, channels: 1}}
augmentation: {flip_horizontal: 0.5, rotation_degrees: 10}
models:
  - {name: vit, title: ViT, architecture: vit_tiny_patch16_224,
     options: {depth: 1, embed_dim: 48, num_heads: 3, patch_size: 8, drop_rate: 0.1}}
  - {name: cnn, title: CNN, architecture: test_resnet}
tables:
  - {title: "Table I: all", metrics: [accuracy, precision, recall], rows: [{model: vit}, {model: cnn}]}
split: {kind: folds, folds: 3, inner: {kind: folds}}
training:
  epochs: 6
  batch: 4
  optimiser: {name: adamw, learning_rate: 0.003, weight_decay: 0.05}
  schedule: {name: cosine}
  label_smoothing: 0.1
  class_weights: balanced
  precision: fp32
selection: {metric: loss, grid: {learning_rate: [0.003, 0.001]}, final: refit}
"""


def picture(name: str, seed: int) -> np.ndarray:
    """(40, 40) uint8."""
    generator = np.random.default_rng(seed)
    image = generator.normal(15 if name == "plain" else 60, 8, (40, 40))
    rows, columns = np.indices((40, 40))
    if name == "circle":
        middle = generator.integers(14, 26, 2)
        image[np.hypot(rows - middle[0], columns - middle[1]) < generator.integers(7, 11)] += 130
    elif name == "bars":
        image[(columns + seed) % 10 < 4] += 130
    return np.clip(image, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, patients: int = 24, images: int = 2) -> Path:
    """A folder with cases.csv (path,label,patient); one label a patient."""
    rows = []
    for number in range(patients * images):
        patient = number // images
        name = NAMES[patient % 3]
        (folder / name).mkdir(parents=True, exist_ok=True)
        path = f"{name}/{number}.png"
        Image.fromarray(picture(name, number)).save(folder / path)
        rows.append((path, "stripes" if name == "bars" and number % 2 else name, f"Doe^{patient}"))
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "patient"), *rows])
    return folder


def write_study(folder: Path, text: str = STUDY) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "shapes.yaml"
    file.write_text(text)
    return file


def write_tiny(folder: Path) -> Path:
    """A study of one network on twelve pictures, with ``data`` beside: six trainings of a second or less."""
    write_pictures(folder / "data", 12, 1)
    start, end = STUDY.index("  - {name: cnn"), STUDY.index("tables:")
    one = STUDY[:start] + STUDY[end:]
    one = one.replace(", {model: cnn}", "").replace(", grid: {learning_rate: [0.003, 0.001]}", "")
    return write_study(folder, one.replace("epochs: 6", "epochs: 16"))
