"""The grader, as it is trained and as it is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from preprocess.crops import CROP_SHAPE, FEATURE_NAMES
from training.config import Architecture
from training.networks.blocks import ConvBlock

__all__ = ["FEATURES", "DiscGrader", "ExportedGrader", "agree", "by_reference", "ordinal_probabilities", "tempered"]

FEATURES = len(FEATURE_NAMES)
"""Length of a disc's vector of shape and signal features."""

_FLOOR = 1e-4
_CSF_TO_VERTEBRA = FEATURE_NAMES.index("log_csf_to_vertebra")


class DiscGrader(nn.Module):
    """One shared trunk over a disc's slices, and a head for each grading (after SpineNet: Jamaludin et al., 2017).

    Slices go through the trunk one by one and their features are joined by a mean, plain or weighted, so any number of
    slices can be graded and a slice that is shown three times counts as one. The Pfirrmann head is ordinal: it gives
    the probability of each grade being exceeded.

    Args:
        form: Its settings; see there.
    """

    def __init__(self, form: Architecture | None = None) -> None:
        super().__init__()
        self.form = form or Architecture()
        width, dropout = self.form.width, self.form.dropout
        self.trunk = nn.Sequential(
            ConvBlock(CROP_SHAPE[1] + int(self.form.reference_channels), width),
            nn.MaxPool2d(2),
            ConvBlock(width, 2 * width),
            nn.MaxPool2d(2),
            ConvBlock(2 * width, 3 * width),
            nn.MaxPool2d(2),
            ConvBlock(3 * width, 4 * width),
        )
        self.features = nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 32), nn.ReLU(inplace=True))
        self.join = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(8 * width + 32, 64), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.severity = nn.Linear(64, 3)
        if self.form.ordinal == "coral":
            self.pfirrmann: nn.Module = _Coral(64, 5)
        else:
            self.pfirrmann = nn.Linear(64, 4)
        if self.form.findings:
            self.findings = nn.Linear(64, len(self.form.findings))
        if self.form.attention:
            self.score = nn.Linear(8 * width, 1)

    def forward(self, crops: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Logits of every grading.

        Args:
            crops: float32 (D, S, 2, 56, 96).
            features: float32 (D, 16).

        Returns:
            ``severity`` (D, 3); ``pfirrmann`` (D, 4): grade above I, II, III, IV; and (D,) for each finding.
        """
        discs, slices = crops.shape[:2]
        if self.form.reference_channels:
            crops = by_reference(crops, features)
        maps = self.trunk(crops.flatten(0, 1))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1).reshape(discs, slices, -1)
        weighted = self.form.attention
        per_disc = (pooled * torch.softmax(self.score(pooled), dim=1)).sum(1) if weighted else pooled.mean(1)
        joined = self.join(torch.cat([per_disc, self.features(features)], dim=1))
        logits = {"severity": self.severity(joined), "pfirrmann": self.pfirrmann(joined)}
        if self.form.findings:
            logits |= dict(zip(self.form.findings, self.findings(joined).unbind(1), strict=True))
        return logits


class _Coral(nn.Module):
    """Ordinal head whose thresholds share their weights (Cao et al., Pattern Recognition Letters, 2020)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, 1, bias=False)
        self.thresholds = nn.Parameter(torch.linspace(1.5, -1.5, classes - 1))

    def forward(self, joined: Tensor) -> Tensor:
        return cast(Tensor, self.weight(joined)) + self.thresholds


def by_reference(crops: Tensor, features: Tensor) -> Tensor:
    """Take apart the two references that the crops join (`preprocess.crops`): their geometric mean, and a feature.

    Args:
        crops: (D, S, 2, 56, 96): image over the geometric mean of cerebrospinal fluid and vertebrae, mask.
        features: (D, 16).

    Returns:
        (D, S, 3, 56, 96): image over fluid, image over vertebrae, mask.
    """
    half = (0.5 * features[:, _CSF_TO_VERTEBRA]).view(-1, 1, 1, 1)
    image, mask = crops[:, :, 0], crops[:, :, 1]
    return torch.stack([image * torch.exp(-half), image * torch.exp(half), mask], dim=2)


class ExportedGrader(nn.Module):
    """The grader as Triton serves it: probabilities out, the mean of several networks where there are several.

    Summed over the grades of a severity class, the Pfirrmann probabilities are the severity probabilities.

    Args:
        networks: Of one form.
        temperatures: By head; those below 1 sharpen, those above 1 soften (Guo et al., ICML 2017). A head without is
            left as it is.
    """

    def __init__(self, networks: Sequence[DiscGrader], temperatures: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.form = networks[0].form
        self.temperatures = dict(temperatures or {})

    def forward(self, crops: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Grade discs.

        Args:
            crops: float32 (D, 3, 2, 56, 96).
            features: float32 (D, 16).

        Returns:
            severity probabilities float32 (D, 3) and Pfirrmann probabilities float32 (D, 5).
        """
        heads = self.heads(crops, features)
        return agree(*(tempered(heads[name], self.temperatures.get(name, 1.0)) for name in ("severity", "pfirrmann")))

    def heads(self, crops: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Probabilities of every head alone, before temperature and before severity and Pfirrmann are made to agree.

        Returns:
            ``severity`` (D, 3), ``pfirrmann`` (D, 5), and (D, 2) for each finding: absent, present.
        """
        outputs = [network(crops, features) for network in self.networks]
        probabilities = {
            "severity": torch.stack([torch.softmax(one["severity"], 1) for one in outputs]).mean(0),
            "pfirrmann": torch.stack([ordinal_probabilities(one["pfirrmann"]) for one in outputs]).mean(0),
        }
        for name in self.form.findings:
            present = torch.stack([torch.sigmoid(one[name]) for one in outputs]).mean(0)
            probabilities[name] = torch.stack([1 - present, present], dim=1)
        return probabilities


def tempered(probability: Tensor, temperature: float) -> Tensor:
    """Probabilities (D, K) with their logarithms divided by a temperature."""
    if temperature == 1.0:
        return probability
    return torch.softmax(torch.log(probability + _FLOOR) / temperature, dim=1)


def agree(severity: Tensor, pfirrmann: Tensor) -> tuple[Tensor, Tensor]:
    """Make both heads say the same: their mean for the classes, shared within a class as the Pfirrmann head has it.

    Args:
        severity: Probabilities (D, 3).
        pfirrmann: Probabilities (D, 5).

    Returns:
        Both, of the same shapes; rows sum to 1.
    """
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
