"""A run that is killed ends as one that was not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from discgrade.errors import InvalidRequest
from tests.support.training import TINY_GRADING, TINY_SEGMENTATION, random_disc, stripes
from training.config import Optimisation, SegmentationConfig
from training.device import Compute, Device
from training.fit import Fit
from training.grading import train_grader
from training.segmentation import train_stage

CODE = "import sys; from tests.training.test_fit import trained; trained(*sys.argv[1:])"


def trained(kind: str, folder: str) -> None:
    """Train something small in a folder, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if kind == "segmentation":
            slices = [stripes(seed) for seed in range(4)]
            train_stage(slices, slices[:1], Path(folder), TINY_SEGMENTATION, TINY_SEGMENTATION.stages[0])
        else:
            discs = [random_disc(grade, seed) for seed in range(4) for grade in range(5)]
            train_grader(discs, TINY_GRADING, Path(folder) / "checkpoint.pt")
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ["segmentation", "grading"])
def test_kill_minus_nine_changes_no_bit_of_the_weights(kind: str, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight" / "checkpoint.pt", tmp_path / "killed" / "checkpoint.pt"
    trained(kind, str(straight.parent))
    end = torch.load(straight, weights_only=True)
    command = [sys.executable, "-c", CODE, kind, str(killed.parent)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
        while not killed.exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    assert torch.load(killed, weights_only=True)["step"] < end["step"]
    trained(kind, str(killed.parent))
    assert_same(torch.load(killed, weights_only=True), end)


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit, whatever the nesting."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    else:
        assert one == other


def test_a_run_of_other_settings_or_slices_is_not_continued(tmp_path: Path) -> None:
    slices = [stripes(seed) for seed in range(2)]
    stage = TINY_SEGMENTATION.stages[0].model_copy(update={"steps": 1})
    train_stage(slices, [], tmp_path, TINY_SEGMENTATION, stage)
    with pytest.raises(InvalidRequest, match="other settings or other data"):
        train_stage(slices, [], tmp_path, TINY_SEGMENTATION, stage.model_copy(update={"steps": 2}))
    with pytest.raises(InvalidRequest, match="other settings or other data"):
        train_stage(slices[:1], [], tmp_path, TINY_SEGMENTATION, stage)


def test_patience_stops_and_keeps_the_best_weights(tmp_path: Path) -> None:
    plan = Optimisation(steps=50, checkpoint_every=1, patience=3, warm_up=1)
    scores = iter([0.2, 0.9, 0.5, 0.6, 0.7, 1.0])
    seen: list[dict[str, torch.Tensor]] = []

    def validate(network: torch.nn.Module) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"score": next(scores)}

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    fit = Fit(network, tmp_path / "checkpoint.pt", plan, Compute.choose(Device.CPU, mixed_precision=False))
    best = fit.run(
        lambda step, generator: torch.rand(2, 1, 5, 5, generator=generator),
        lambda forward, batch, compute: forward(batch).square().mean() + forward(batch).sum() * 0.01,
        validate,
        "small",
        compiled=False,
    )
    assert fit.step == 5
    assert_same(dict(best.state_dict()), seen[1])


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        assert Compute.choose(Device.CUDA).device.type == "cuda"
    else:
        with pytest.raises(InvalidRequest, match="no GPU"):
            Compute.choose(Device.CUDA)
    assert Compute.choose(Device.CPU).mixed is torch.bfloat16
    assert Compute.choose(Device.CPU, mixed_precision=False).mixed is None


def test_a_segmenter_learns_stripes(tmp_path: Path) -> None:
    slices = [stripes(seed) for seed in range(6)]
    stage = TINY_SEGMENTATION.stages[0].model_copy(
        update={"steps": 60, "learning_rate": 2e-2, "checkpoint_every": 60, "ema": 0.9, "augmentation": (0.2, 0.2)}
    )
    train_stage(slices[:4], slices[4:], tmp_path, SegmentationConfig(widths=(8, 8), compiled=False), stage)
    history = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["history"]
    assert history[-1]["validation"]["disc_dice"] > 0.6


def test_member_seeds_differ(tmp_path: Path) -> None:
    discs = [random_disc(grade, seed) for seed in range(2) for grade in range(5)]
    config = TINY_GRADING.model_copy(update={"epochs": 1})
    one, other = (train_grader(discs, config, tmp_path / f"{k}.pt", member=k) for k in range(2))
    assert not torch.equal(one.severity.weight, other.severity.weight)
    assert np.isfinite(one.severity.weight.detach().numpy()).all()
