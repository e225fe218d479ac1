from __future__ import annotations

import numpy as np
import torch

from tests.support.training import stripes
from training.augment import augment_batch


def test_augmentation_moves_image_and_labels_together() -> None:
    item = stripes(0)
    images = torch.from_numpy(np.stack([item.image] * 16)[:, None] / 255.0).float()
    labels = torch.from_numpy(np.stack([item.labels] * 16)).long()
    image, tissues, known = augment_batch(images, labels, (64, 64), torch.Generator().manual_seed(1))
    assert image.shape == (16, 1, 64, 64)
    assert tissues.shape == (16, 4, 64, 64)
    assert known.all()
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert torch.allclose(tissues.sum(1), torch.ones(16, 64, 64), atol=1e-5)
    for one, own in zip(image[:, 0], tissues.argmax(1), strict=True):
        if 50 < int((own == 1).sum()) < 3500:
            assert one[own == 1].mean() > 1.2 * one[own == 0].mean()


def test_outlines_keep_their_place_between_pixels_when_turned() -> None:
    item = stripes(0)
    images = torch.from_numpy(np.stack([item.image] * 8)[:, None] / 255.0).float()
    labels = torch.from_numpy(np.stack([item.labels] * 8)).long()
    _, tissues, _ = augment_batch(images, labels, (64, 64), torch.Generator().manual_seed(2), strength=0.0)
    shares = tissues[:, 1]
    assert ((shares > 0.1) & (shares < 0.9)).any()


def test_unknown_labels_stay_unknown() -> None:
    labels = torch.full((2, 64, 64), -1)
    _, tissues, known = augment_batch(torch.rand(2, 1, 64, 64), labels, (32, 32), torch.Generator().manual_seed(0))
    assert not known.all()
    assert set(tissues.argmax(1)[known].unique().tolist()) <= {0}  # what is known lies outside the image
