"""The two networks, as they are exported.

Both take what Triton hands them and give what the ensemble promises (see docs/tensors.md), so nothing has to be
repeated around them: scaling of the input and the final probabilities are part of the graph.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocess.crops import CROP_SHAPE, FEATURE_NAMES

__all__ = ["CROP_SHAPE", "FEATURES", "TISSUES", "DiscGrader", "ExportedGrader", "ExportedSegmenter", "SpineUNet"]

TISSUES = 4
"""Background, disc, vertebra, spinal canal."""

FEATURES = len(FEATURE_NAMES)
"""Length of a disc's vector of shape and signal features."""

_FLOOR = 1e-4


class _ConvBlock(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class SpineUNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) that works at half the resolution it reads and writes.

    A space-to-depth stem folds 2 × 2 pixels into channels and a depth-to-space head unfolds them: outlines keep the
    0.5 mm grid at the price of a 1 mm network.

    Args:
        widths: Channels of each level, from fine to coarse.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        self.widths = widths
        self.stem = nn.PixelUnshuffle(2)
        self.down = nn.ModuleList(
            _ConvBlock(4 if level == 0 else widths[level - 1], width) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            _ConvBlock(widths[level] + widths[level + 1], widths[level]) for level in range(len(widths) - 1)
        )
        self.head = nn.Conv2d(widths[0], TISSUES * 4, 1)
        self.unfold = nn.PixelShuffle(2)

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
        logits = self.network(image.to(torch.float32) / 255.0)
        background, disc, vertebra, canal = logits.unbind(1)
        other = torch.maximum(torch.maximum(background, vertebra), canal)
        is_disc = disc > other
        best_other = torch.where(
            canal >= torch.maximum(background, vertebra), 3.0, torch.where(vertebra > background, 2.0, 0.0)
        )
        labels = torch.where(is_disc, 1.0, best_other)
        probability = torch.round(torch.sigmoid(disc - other) * 255.0)
        probability = torch.where(is_disc, probability.clamp(min=128.0), probability.clamp(max=127.0))
        return labels.to(torch.uint8), probability.to(torch.uint8)


class DiscGrader(nn.Module):
    """One shared trunk over a disc's slices, and a head for each grading (after SpineNet: Jamaludin et al., 2017).

    Slices go through the trunk one by one and their features are averaged, so any number of slices can be graded.
    The Pfirrmann head is ordinal: it gives the probability of each grade being exceeded (Frank & Hall, 2001).
    """

    def __init__(self, width: int = 24, dropout: float = 0.4) -> None:
        super().__init__()
        self.width = width
        self.trunk = nn.Sequential(
            _ConvBlock(CROP_SHAPE[1], width),
            nn.MaxPool2d(2),
            _ConvBlock(width, 2 * width),
            nn.MaxPool2d(2),
            _ConvBlock(2 * width, 3 * width),
            nn.MaxPool2d(2),
            _ConvBlock(3 * width, 4 * width),
        )
        self.features = nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 32), nn.ReLU(inplace=True))
        self.join = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(8 * width + 32, 64), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.severity = nn.Linear(64, 3)
        self.pfirrmann = nn.Linear(64, 4)

    def forward(self, crops: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both gradings.

        Args:
            crops: float32 (D, S, 2, 56, 96).
            features: float32 (D, 16).

        Returns:
            severity logits (D, 3), and Pfirrmann logits (D, 4): grade above I, II, III, IV.
        """
        discs, slices = crops.shape[:2]
        maps = self.trunk(crops.flatten(0, 1))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)
        per_disc = pooled.reshape(discs, slices, -1).mean(1)
        joined = self.join(torch.cat([per_disc, self.features(features)], dim=1))
        return self.severity(joined), self.pfirrmann(joined)


class ExportedGrader(nn.Module):
    """The grader as Triton serves it: probabilities out, the mean of several networks where there are several.

    Summed over the grades of a severity class, the Pfirrmann probabilities are the severity probabilities.
    """

    def __init__(self, networks: list[DiscGrader]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, crops: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Grade discs.

        Args:
            crops: float32 (D, 3, 2, 56, 96).
            features: float32 (D, 16).

        Returns:
            severity probabilities float32 (D, 3) and Pfirrmann probabilities float32 (D, 5).
        """
        outputs = [network(crops, features) for network in self.networks]
        severity = torch.stack([torch.softmax(s, 1) for s, _ in outputs]).mean(0)
        pfirrmann = torch.stack([ordinal_probabilities(p) for _, p in outputs]).mean(0)
        return _agree(severity, pfirrmann)


def _agree(severity: Tensor, pfirrmann: Tensor) -> tuple[Tensor, Tensor]:
    """Make both heads say the same: their mean for the classes, shared within a class as the Pfirrmann head has it."""
    possible = (pfirrmann + _FLOOR) / (1 + 5 * _FLOOR)  # a class of probability 0 could not be shared out
    mild, moderate, severe = possible[:, :2], possible[:, 2:3], possible[:, 3:]
    summed = torch.cat([mild.sum(1, keepdim=True), moderate, severe.sum(1, keepdim=True)], dim=1)
    agreed = (severity + summed) / 2
    share = agreed / summed
    return agreed, torch.cat([mild * share[:, :1], moderate * share[:, 1:2], severe * share[:, 2:]], dim=1)


def ordinal_probabilities(logits: Tensor) -> Tensor:
    """Turn exceedance logits into class probabilities.

    Args:
        logits: (D, K - 1), the k-th is the logit of "class above k".

    Returns:
        (D, K), rows sum to 1; crossings of the exceedance curve are ironed out by its running minimum.
    """
    above = torch.sigmoid(logits)
    running = [above[:, :1]]
    for index in range(1, above.shape[1]):
        running.append(torch.minimum(running[-1], above[:, index : index + 1]))
    above = torch.cat(running, dim=1)
    one, zero = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    return torch.cat([one, above], dim=1) - torch.cat([above, zero], dim=1)
