"""The segmenter, as it is trained and as it is exported."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import ConvBlock

__all__ = ["TISSUES", "ExportedSegmenter", "SpineUNet", "answers"]

TISSUES = 4
"""Background, disc, vertebra, spinal canal."""


class SpineUNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) that works at a part of the resolution it reads and writes.

    A space-to-depth stem folds 2 × 2 pixels into channels and a depth-to-space head unfolds them: outlines keep the
    0.5 mm grid at the price of a 1 mm network.

    Args:
        widths: Channels of each level, from fine to coarse.
        folded: Side in pixels of what is folded into one; 1 folds nothing.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96, 128), folded: int = 2) -> None:
        super().__init__()
        self.widths, self.folded = widths, folded
        self.stem = nn.PixelUnshuffle(folded)
        self.down = nn.ModuleList(
            ConvBlock(folded**2 if level == 0 else widths[level - 1], width) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            ConvBlock(widths[level] + widths[level + 1], widths[level]) for level in range(len(widths) - 1)
        )
        self.head = nn.Conv2d(widths[0], TISSUES * folded**2, 1)
        self.unfold = nn.PixelShuffle(folded)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the four tissues.

        Args:
            image: float32 (N, 1, H, W), intensity / 255, H and W multiples of 32, 0.5 mm in plane.

        Returns:
            float32 (N, 4, H, W).
        """
        skips: list[Tensor] = []
        features = self.stem(image * 3.0 - 1.0)
        for level, block in enumerate(self.down):
            features = block(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        for level in reversed(range(len(self.up))):
            raised = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.up[level](torch.cat([skips[level], raised], dim=1))
        return cast(Tensor, self.unfold(self.head(features)))


class ExportedSegmenter(nn.Module):
    """The segmenter as Triton serves it: bytes in, labels and disc probability as bytes out."""

    def __init__(self, network: SpineUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Segment slices.

        Args:
            image: uint8 (N, 1, H, W).

        Returns:
            labels uint8 (N, H, W) and disc probability uint8 (N, H, W), 255 × the probability of disc against the
            strongest other tissue, at least 128 exactly where the label is disc.
        """
        background, disc, vertebra, canal = self.network(image.to(torch.float32) / 255.0).unbind(1)
        return answers(background, disc, vertebra, canal)


def answers(background: Tensor, disc: Tensor, vertebra: Tensor, canal: Tensor) -> tuple[Tensor, Tensor]:
    """What is served for the logits of the four tissues.

    Args:
        background: float32 (N, H, W), as the others.
        disc: See above.
        vertebra: See above.
        canal: See above.

    Returns:
        As :meth:`ExportedSegmenter.forward`.
    """
    other = torch.maximum(torch.maximum(background, vertebra), canal)
    is_disc = disc > other
    best_other = torch.where(
        canal >= torch.maximum(background, vertebra), 3.0, torch.where(vertebra > background, 2.0, 0.0)
    )
    labels = torch.where(is_disc, 1.0, best_other)
    probability = torch.round(torch.sigmoid(disc - other) * 255.0)
    probability = torch.where(is_disc, probability.clamp(min=128.0), probability.clamp(max=127.0))
    return labels.to(torch.uint8), probability.to(torch.uint8)
