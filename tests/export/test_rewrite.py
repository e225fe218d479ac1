"""The form of the segmenter that engines get computes what was trained."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from export.rewrite import FastSegmenter, for_engines
from training.config import Architecture
from training.networks import DiscGrader, ExportedGrader, ExportedSegmenter, SpineUNet


def _trained(seed: int, folded: int = 2) -> ExportedSegmenter:
    """A segmenter whose normalisation has seen something, and whose answers are of every tissue."""
    torch.manual_seed(seed)
    network = SpineUNet((4, 6, 8, 8, 10)[: 5 if folded < 4 else 4], folded)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            nn.init.normal_(cast(Tensor, layer.running_mean), std=0.3)
            nn.init.uniform_(cast(Tensor, layer.running_var), 0.5, 1.5)
    nn.init.normal_(network.head.weight, std=2.0)
    with torch.no_grad():
        logits = network.eval()(torch.rand(1, 1, 64, 64)).mean((0, 2, 3))
        cast(Tensor, network.head.bias).view(4, -1).sub_(logits.unsqueeze(1))
    return ExportedSegmenter(network).eval()


@pytest.mark.parametrize("folded", [1, 2, 4])
@pytest.mark.parametrize("size", [(32, 32), (64, 160)], ids=str)
def test_every_pixel_to_the_border_is_what_was_trained(size: tuple[int, int], folded: int) -> None:
    trained = _trained(1, folded)
    image = torch.randint(0, 256, (2, 1, *size), dtype=torch.uint8)
    labels, probability = trained(image)
    assert labels.unique().tolist() == [0, 1, 2, 3]
    found, of_disc = FastSegmenter(trained).eval()(image)
    assert (found != labels).float().mean() < 1e-3
    assert (of_disc.int() - probability.int()).abs().max() <= 1


def test_what_was_trained_stays_as_it_is() -> None:
    trained = _trained(2)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    fast = for_engines(trained)
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_no_normalisation_is_left_and_graders_are_left_alone() -> None:
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in for_engines(_trained(3)).modules())
    grader = ExportedGrader([DiscGrader(Architecture(width=4))]).eval()
    assert for_engines(grader) is grader
