from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.networks import (
    CROP_SHAPE,
    FEATURES,
    DiscGrader,
    ExportedGrader,
    ExportedSegmenter,
    SpineUNet,
    ordinal_probabilities,
)

TINY = (4, 8, 8, 8, 8)


def test_the_segmenter_answers_on_the_grid_of_its_input() -> None:
    labels, probability = ExportedSegmenter(SpineUNet(TINY)).eval()(torch.zeros(2, 1, 96, 64, dtype=torch.uint8))
    assert labels.shape == probability.shape == (2, 96, 64)
    assert labels.dtype == probability.dtype == torch.uint8


def test_disc_probability_reaches_one_half_exactly_where_the_label_is_disc() -> None:
    torch.manual_seed(3)
    image = torch.randint(0, 256, (2, 1, 128, 128), dtype=torch.uint8)
    network = SpineUNet(TINY)
    torch.nn.init.normal_(network.head.weight, std=2.0)
    labels, probability = ExportedSegmenter(network).eval()(image)
    assert 0 < (labels == 1).float().mean() < 1
    assert torch.equal(labels == 1, probability >= 128)
    logits = network.eval()(image.float() / 255)
    assert torch.equal(labels.long(), logits.argmax(1))


@given(st.lists(st.floats(-9, 9), min_size=4, max_size=4))
def test_ordinal_probabilities_are_a_distribution(logits: list[float]) -> None:
    probability = ordinal_probabilities(torch.tensor([logits]))
    assert (probability >= -1e-6).all()
    assert float(probability.sum()) == pytest.approx(1.0, abs=1e-5)


def test_ordinal_probabilities_follow_the_exceedance() -> None:
    sure_of_four = ordinal_probabilities(torch.tensor([[9.0, 9.0, 9.0, -9.0]]))
    assert int(sure_of_four.argmax()) == 3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_both_gradings_agree(seed: int) -> None:
    torch.manual_seed(seed)
    grader = ExportedGrader([DiscGrader(4), DiscGrader(4)]).eval()
    with torch.no_grad():
        severity, pfirrmann = grader(torch.rand(3, *CROP_SHAPE), torch.randn(3, FEATURES) * 3)
    summed = torch.stack([pfirrmann[:, :2].sum(1), pfirrmann[:, 2], pfirrmann[:, 3:].sum(1)], dim=1)
    torch.testing.assert_close(summed, severity, atol=1e-4, rtol=0)
    torch.testing.assert_close(pfirrmann.sum(1), torch.ones(3))


def test_a_disc_seen_on_three_equal_slices_is_graded_as_on_one() -> None:
    torch.manual_seed(0)
    network = DiscGrader(4).eval()
    crop, features = torch.rand(2, 1, *CROP_SHAPE[1:]), torch.randn(2, FEATURES)
    for one, three in zip(network(crop, features), network(crop.expand(-1, 3, -1, -1, -1), features), strict=True):
        torch.testing.assert_close(one, three)
