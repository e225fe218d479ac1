from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.crops import FEATURE_NAMES
from training.config import Architecture
from training.networks import (
    CROP_SHAPE,
    FEATURES,
    DiscGrader,
    ExportedGrader,
    ExportedSegmenter,
    SpineUNet,
    ordinal_probabilities,
    tempered,
)
from training.networks.grader import by_reference

TINY = (4, 8, 8, 8, 8)


@pytest.mark.parametrize(("widths", "folded"), [((4, 4, 8, 8, 8, 8), 1), (TINY, 2), ((4, 8, 8, 8), 4)])
def test_the_segmenter_answers_on_the_grid_of_its_input(widths: tuple[int, ...], folded: int) -> None:
    network = ExportedSegmenter(SpineUNet(widths, folded)).eval()
    labels, probability = network(torch.zeros(2, 1, 96, 64, dtype=torch.uint8))
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
    grader = ExportedGrader([DiscGrader(Architecture(width=4)), DiscGrader(Architecture(width=4))]).eval()
    with torch.no_grad():
        severity, pfirrmann = grader(torch.rand(3, *CROP_SHAPE), torch.randn(3, FEATURES) * 3)
    summed = torch.stack([pfirrmann[:, :2].sum(1), pfirrmann[:, 2], pfirrmann[:, 3:].sum(1)], dim=1)
    torch.testing.assert_close(summed, severity, atol=1e-4, rtol=0)
    torch.testing.assert_close(pfirrmann.sum(1), torch.ones(3))


FORMS = [
    Architecture(width=4),
    Architecture(width=4, ordinal="coral", attention=True, reference_channels=True, findings=("modic", "bulging")),
]


@pytest.mark.parametrize("form", FORMS, ids=["served", "extended"])
def test_a_disc_seen_on_three_equal_slices_is_graded_as_on_one(form: Architecture) -> None:
    torch.manual_seed(0)
    network = DiscGrader(form).eval()
    crop, features = torch.rand(2, 1, *CROP_SHAPE[1:]), torch.randn(2, FEATURES)
    one, three = network(crop, features), network(crop.expand(-1, 3, -1, -1, -1), features)
    assert one.keys() == three.keys() == {"severity", "pfirrmann", *form.findings}
    for name in one:
        torch.testing.assert_close(one[name], three[name])


def test_the_order_of_slices_does_not_matter() -> None:
    torch.manual_seed(0)
    network = DiscGrader(FORMS[1]).eval()
    crops, features = torch.rand(2, *CROP_SHAPE), torch.randn(2, FEATURES)
    for name, value in network(crops, features).items():
        torch.testing.assert_close(value, network(crops.flip(1), features)[name])


def test_coral_shares_weights_between_thresholds() -> None:
    network = DiscGrader(FORMS[1]).eval()
    logits = network(torch.rand(5, *CROP_SHAPE), torch.randn(5, FEATURES))["pfirrmann"]
    gaps = logits - logits[:, :1]
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps))
    assert (gaps[0].diff() < 0).all()


def test_reference_channels_give_the_signal_over_fluid_and_over_bone() -> None:
    """A disc of known signal between a known canal and known vertebrae."""
    disc, fluid, bone = 60.0, 160.0, 40.0
    crops, features = torch.zeros(1, *CROP_SHAPE), torch.zeros(1, FEATURES)
    crops[:, :, 0] = disc / (fluid * bone) ** 0.5
    features[:, FEATURE_NAMES.index("log_csf_to_vertebra")] = float(np.log(fluid / bone))
    shown = by_reference(crops, features)
    torch.testing.assert_close(shown[:, :, 0], torch.full_like(shown[:, :, 0], disc / fluid))
    torch.testing.assert_close(shown[:, :, 1], torch.full_like(shown[:, :, 1], disc / bone))


@given(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), st.floats(0.3, 3))
def test_temperature_keeps_the_order_and_softens(weights: list[float], temperature: float) -> None:
    probability = torch.tensor([weights]) / sum(weights)
    changed = tempered(probability, temperature)
    assert float(changed.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(probability.gather(1, changed.argmax(1, keepdim=True))) == pytest.approx(float(probability.max()))
    if temperature > 1:
        assert float(changed.max()) <= float(probability.max()) + 1e-3


def test_the_served_grader_takes_the_temperatures_of_its_checkpoint() -> None:
    torch.manual_seed(1)
    network = DiscGrader(FORMS[1])
    crops, features = torch.rand(3, *CROP_SHAPE), torch.randn(3, FEATURES)
    plain = ExportedGrader([network]).eval()
    soft = ExportedGrader([network], {"severity": 5.0, "pfirrmann": 5.0}).eval()
    with torch.no_grad():
        for sharp, blunt in zip(plain(crops, features), soft(crops, features), strict=True):
            assert (blunt.max(1).values < sharp.max(1).values).all()
        assert set(plain.heads(crops, features)) == {"severity", "pfirrmann", "modic", "bulging"}
