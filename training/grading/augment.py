"""Augmentation of discs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["augment_discs"]


def augment_discs(
    crops: Tensor, features: Tensor, generator: torch.Generator, slices: Literal["one", "all"] = "one"
) -> tuple[Tensor, Tensor]:
    """Turn, shift and scale a little; change gain, bias and noise of the image channel; jitter the features.

    Args:
        crops: float32 (D, 3, 2, 56, 96).
        features: float32 (D, 16).
        generator: Source of all randomness.
        slices: ``one`` draws one slice of the three, for most training studies of spider2d have only one.

    Returns:
        crops float32 (D, 1 or 3, 2, 56, 96) and features.
    """
    n = len(crops)
    if slices == "one":
        crops = crops[torch.arange(n), torch.randint(0, crops.shape[1], (n,), generator=generator)].unsqueeze(1)
    shown = crops.shape[1]
    flat = crops.flatten(0, 1)

    def uniform(low: float, high: float) -> Tensor:
        """One number a disc, the same for its slices."""
        return (torch.rand(n, generator=generator) * (high - low) + low).repeat_interleave(shown)

    angle, scale = uniform(-0.15, 0.15), torch.exp(uniform(-0.12, 0.12))
    ratio = flat.shape[2] / flat.shape[3]
    matrix = torch.zeros(len(flat), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle) * scale
    matrix[:, 0, 1] = -torch.sin(angle) * scale * ratio
    matrix[:, 1, 0] = torch.sin(angle) * scale / ratio
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform(-0.08, 0.08), uniform(-0.08, 0.08)
    grid = functional.affine_grid(matrix, list(flat.shape), align_corners=False)
    moved = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    image, mask = moved[:, :1], moved[:, 1:]
    image = image.clamp(min=1e-4) ** torch.exp(uniform(-0.12, 0.12)).view(-1, 1, 1, 1)
    image = image * torch.exp(uniform(-0.1, 0.1)).view(-1, 1, 1, 1)
    slope = torch.linspace(-1, 1, image.shape[3]).view(1, 1, 1, -1)
    image = image * torch.exp(slope * uniform(-0.15, 0.15).view(-1, 1, 1, 1))
    image = image + torch.randn(image.shape, generator=generator) * uniform(0, 0.06).view(-1, 1, 1, 1)
    jittered = features + torch.randn(features.shape, generator=generator) * 0.05
    return torch.cat([image, mask], dim=1).unflatten(0, (n, shown)), jittered
