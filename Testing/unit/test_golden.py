"""Exact agreement with what the IPMN authors' code computes."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.case import Case
from cadx.geometry import Geometry
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import preset
from cadx.roi import Roi
from cadx.volume import Volume


@pytest.fixture(scope="module")
def golden(shared):
    path = shared / "reference" / "golden" / "authors_code_golden.npz"
    return dict(np.load(path, allow_pickle=False))


def test_the_authors_grid(golden):
    geometry = Geometry(golden["t1"].shape, golden["affine"])
    images = {r: Volume(golden[r.lower()].transpose(2, 1, 0), geometry, r) for r in ("T1", "T2")}
    case = Case(images, Roi(geometry.center_ras, geometry.extent_mm))
    prepared = Preparation(preset("authors-code")).run(case)
    window = prepared.window()
    assert window.first == int(golden["start"])
    assert np.abs(prepared.grid(window) - golden["grid"]).max() < 1e-4


def test_the_authors_weights(golden):
    import torch

    from cadx.models.weights import adapt_patch_kernel, kernel_from_hwio, resize_position_embedding

    kernel = adapt_patch_kernel(kernel_from_hwio(torch.from_numpy(golden["patch_kernel_hwio_rgb"])), 2)
    assert np.abs(kernel.numpy() - golden["patch_kernel_oihw_2ch"]).max() < 1e-6
    embedding = resize_position_embedding(torch.from_numpy(golden["pos_embed_14x14"]), 12, "aligned-bilinear")
    assert np.abs(embedding.numpy() - golden["pos_embed_12x12"]).max() < 1e-6


def test_timm_resizes_as_our_bicubic(golden):
    import torch
    from timm.layers import resample_abs_pos_embed

    from cadx.models.weights import resize_position_embedding

    old = torch.from_numpy(golden["pos_embed_14x14"])
    ours = resize_position_embedding(old, 12)
    assert (ours - resample_abs_pos_embed(old, [12, 12], num_prefix_tokens=1)).abs().max() < 1e-5
