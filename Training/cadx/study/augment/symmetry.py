"""The eight symmetries of the square (D4): quarter turns and flips, exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cadx.study.beside import beside

if TYPE_CHECKING:
    from torch import Generator, Tensor


def random_symmetry(
    images: Tensor, generator: Generator, *, quarter_turns: bool = False, horizontal: float = 0.0, vertical: float = 0.0
) -> Tensor:
    """Images (B, ..., m, m) turned by a random number of quarter turns, then flipped with these probabilities.

    Everything of an image moves alike. Where nothing is asked the same tensor comes back and nothing is drawn.

    >>> import torch
    >>> picture = torch.tensor([[[1, 2], [3, 4]]])
    >>> random_symmetry(picture, torch.Generator(), horizontal=1.0).tolist()
    [[[2, 1], [4, 3]]]
    """
    if not (quarter_turns or horizontal or vertical):
        return images
    return apply_symmetry(images, *draw_symmetries(len(images), generator, quarter_turns, horizontal, vertical))


def draw_symmetries(
    count: int, generator: Generator, quarter_turns: bool, horizontal: float, vertical: float
) -> tuple[Tensor, Tensor]:
    """``turns`` and ``flipped`` (count,) of :func:`apply_symmetry`; three numbers are drawn an image."""
    import torch

    draws = torch.rand(count, 3, generator=generator)
    turns = (draws[:, 0] * 4).long() * quarter_turns
    left_right, up_down = draws[:, 1] < horizontal, draws[:, 2] < vertical
    # a flip up and down is one from left to right after half a turn
    return (turns + 2 * up_down) % 4, left_right ^ up_down


def random_d4(images: Tensor, generator: Generator) -> Tensor:
    """Images (B, ..., m, m), each moved by one of the eight symmetries of the square, drawn evenly.

    >>> import torch
    >>> cells = torch.rand(2, 1, 9, 4, 4)
    >>> random_d4(cells, torch.Generator()).sum().isclose(cells.sum()).item()
    True
    """
    import torch

    draws = torch.randint(8, (len(images),), generator=generator)
    return apply_symmetry(images, draws % 4, draws >= 4)


def apply_symmetry(images: Tensor, turns: Tensor, flipped: Tensor) -> Tensor:
    """Each image (B, ..., m, m) turned by ``turns`` (B,) quarter turns anticlockwise, then flipped left to right.

    ``turns`` (0 to 3) and ``flipped`` (boolean) lie on the CPU.

    >>> import torch
    >>> apply_symmetry(torch.tensor([[[1, 2], [3, 4]]]), torch.tensor([1]), torch.tensor([False])).tolist()
    [[[2, 4], [1, 3]]]
    """
    import torch

    out = torch.empty_like(images)
    symmetries = turns + 4 * flipped
    for symmetry in symmetries.unique().tolist():
        chosen = beside((symmetries == symmetry).nonzero()[:, 0], images)
        moved = torch.rot90(images[chosen], symmetry % 4, dims=(-2, -1))
        out[chosen] = moved.flip(-1) if symmetry >= 4 else moved
    return out


def symmetry_matrices(turns: Tensor, flipped: Tensor) -> Tensor:
    """(B, 3, 3) float64 homographies that do what :func:`apply_symmetry` does, for :mod:`cadx.study.augment.geometry`.

    >>> import torch
    >>> symmetry_matrices(torch.tensor([1]), torch.tensor([True])).int().tolist()
    [[[0, -1, 0], [-1, 0, 0], [0, 0, 1]]]
    """
    import torch

    cosine, sine = (torch.tensor(n, dtype=torch.float64)[turns] for n in ((1, 0, -1, 0), (0, 1, 0, -1)))
    mirror = 1 - 2 * flipped.double()
    out = torch.eye(3, dtype=torch.float64).repeat(len(turns), 1, 1)
    out[:, 0, 0], out[:, 0, 1] = cosine * mirror, -sine
    out[:, 1, 0], out[:, 1, 1] = sine * mirror, cosine
    return out
