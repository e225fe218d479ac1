"""Augmentation of sagittal slices: geometry, contrast, coil, resolution and noise.

Masks exist for 3-D SPACE only; ordinary 2-D TSE differs in contrast, sharpness and slice thickness. These changes are
wide enough to cover both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["augment_batch"]


def _uniform(generator: torch.Generator, size: int, low: float, high: float) -> Tensor:
    return torch.rand(size, generator=generator) * (high - low) + low


def _affine(generator: torch.Generator, n: int, window: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """Sampling affines (N, 2, 3) that cut a turned, scaled window out of the source."""
    angle = _uniform(generator, n, -0.25, 0.25)
    scale = torch.exp(_uniform(generator, n, -0.25, 0.25))
    aspect = torch.exp(_uniform(generator, n, -0.12, 0.12))
    height, width = source
    half_y, half_x = window[0] / height * scale * aspect, window[1] / width * scale / aspect
    cosine, sine = torch.cos(angle), torch.sin(angle)
    ratio = height / width
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = half_x * cosine
    matrix[:, 0, 1] = -half_y * sine * ratio
    matrix[:, 1, 0] = half_x * sine / ratio
    matrix[:, 1, 1] = half_y * cosine
    room_x, room_y = (1 - half_x).clamp(min=0.08), (1 - half_y).clamp(min=0.08)
    matrix[:, 0, 2] = _uniform(generator, n, -1, 1) * room_x
    matrix[:, 1, 2] = _uniform(generator, n, -1, 1) * room_y
    return matrix


def _smooth_field(generator: torch.Generator, n: int, size: tuple[int, int], cells: int) -> Tensor:
    coarse = torch.randn(n, 1, cells, cells, generator=generator)
    return functional.interpolate(coarse, size=size, mode="bicubic", align_corners=True)


def augment_batch(
    images: Tensor, labels: Tensor, window: tuple[int, int], generator: torch.Generator, strength: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Augment a batch of slices.

    Args:
        images: float32 (N, 1, H, W), normalised intensity / 255.
        labels: int64 (N, H, W), 0–3, or −1 where unknown.
        window: Height and width of the result, on the same grid; multiples of 4.
        generator: Source of all randomness.
        strength: Share of the full range of every change of intensity and sharpness.

    Returns:
        images float32 (N, 1, h, w) in 0–1; the share of each tissue in each pixel, float32 (N, 4, h, w), so that
        outlines keep sub-pixel truth when turned and scaled; and where it is known, bool (N, h, w).
    """
    n = len(images)
    grid = functional.affine_grid(
        _affine(generator, n, window, (images.shape[2], images.shape[3])), [n, 1, *window], align_corners=False
    )
    planes = torch.cat([images, *((labels == label).unsqueeze(1).float() for label in (1, 2, 3, -1))], dim=1)
    sampled = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    image, tissues = sampled[:, :1], sampled[:, 1:4]
    known = sampled[:, 4] < 0.5
    # Outside the source there is nothing to see; it is background, as the padding of a request is.
    target = torch.cat([1 - tissues.sum(1, keepdim=True), tissues], dim=1)
    outside = (grid.abs() > 1).any(-1)

    image = image * _tissue_gain(target, generator, strength)
    image = image.clamp(min=1e-4) ** torch.exp(strength * _uniform(generator, n, -0.45, 0.45)).view(n, 1, 1, 1)
    image = image * torch.exp(0.3 * strength * _smooth_field(generator, n, window, 4))
    # Resolution: blur of up to 0.9 mm, wider along rows or columns; most images stay sharp.
    for axis in (2, 3):
        if torch.rand(1, generator=generator) < 0.35 * strength:
            image = _blur(image, float(_uniform(generator, 1, 0.3, 1.8)), axis)
    image = image + torch.randn(image.shape, generator=generator) * _uniform(generator, n, 0.0, 0.03 * strength).view(
        n, 1, 1, 1
    )
    # The reference level moves with what else is in the field of view.
    image = image * torch.exp(strength * _uniform(generator, n, -0.45, 0.35)).view(n, 1, 1, 1)
    image = torch.where(outside.unsqueeze(1), 0.0, image)
    return image.clamp(0, 1), target, known


def _tissue_gain(target: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Contrast per tissue: what a fat-suppressed, T1-tinted or heavily T2-weighted protocol would change.

    Faded over more than a disc's height, or the step of the gain itself would show the network where the outline is;
    at a quarter of the resolution, which such a wide fade does not miss.
    """
    n, _, height, width = target.shape
    gains = torch.exp(torch.randn(n, 4, generator=generator) * 0.18 * strength)
    gain = (functional.avg_pool2d(target, 4) * gains.view(n, 4, 1, 1)).sum(1, keepdim=True)
    for _ in range(2):
        gain = functional.avg_pool2d(functional.pad(gain, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
    return functional.interpolate(gain, size=(height, width), mode="bilinear", align_corners=False)


def _blur(image: Tensor, sigma: float, axis: int) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    position = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1) if axis == 2 else (kernel / kernel.sum()).view(1, 1, 1, -1)
    padding = (radius, 0) if axis == 2 else (0, radius)
    return functional.conv2d(image, kernel, padding=padding)
