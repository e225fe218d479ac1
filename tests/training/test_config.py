from __future__ import annotations

from pathlib import Path

import pytest

from discgrade.errors import InvalidRequest
from training.config import CONFIGS, GradingConfig, SegmentationConfig, read_config


def test_the_committed_settings_hold() -> None:
    stages = read_config(SegmentationConfig, CONFIGS / "segmentation.toml").stages
    assert [stage.name for stage in stages] == ["segmentation", "adaptation", "sharpening"]
    assert len(read_config(GradingConfig, CONFIGS / "grading.toml").architecture.findings) == 7
    for path in CONFIGS.glob("segmentation*.toml"):
        read_config(SegmentationConfig, path)
    for path in CONFIGS.glob("grading*.toml"):
        read_config(GradingConfig, path)
    others = {"segmentation_folds.toml", "segmentation_protocol.toml", "grading_protocol.toml"}
    assert {path.name for path in CONFIGS.glob("*.toml")} == {"segmentation.toml", "grading.toml", *others}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("widhts = [4]", "widhts"),
        ("widths = [0]", "widths.0"),
        ("widths = [4, 4, 4, 4, 4, 4]", "too many levels"),
        ("folded = 3", "folded"),
        ("[[stages]]\nwindow = [100, 100]", "multiples of 32"),
        ("[[stages]]\npseudo_labels = 1.0", "no labels of a stage before"),
        ('[[stages]]\nname = "a"\n[[stages]]\nname = "a"', "another name"),
        ('[[stages]]\nname = "../a"', "stages.0.name"),
        ("stages = 3", "stages"),
        ("= 3", "cannot be read"),
    ],
)
def test_wrong_settings_are_named(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=r"mine\.toml") as raised:
        read_config(SegmentationConfig, path)
    assert wrong in raised.value.detail


def test_a_finding_nobody_knows(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[architecture]\nfindings = ["scoliosis"]')
    with pytest.raises(InvalidRequest, match="scoliosis not among"):
        read_config(GradingConfig, path)


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_config(GradingConfig, tmp_path / "none.toml")
