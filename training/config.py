"""Settings of training runs: TOML files, checked; ``training/configs`` holds those of the served networks."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from discgrade.errors import InvalidRequest
from training.data.gradings import FINDINGS

__all__ = [
    "CONFIGS",
    "Architecture",
    "GradingConfig",
    "Match",
    "Optimisation",
    "SegmentationConfig",
    "Stage",
    "read_config",
]

CONFIGS = Path(__file__).parent / "configs"
"""Committed settings: those of the served networks, ``segmentation.toml`` and ``grading.toml``, and of evaluations."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Match = Literal["count", "level"]
"""How discs are paired with gradings: ``count`` takes series whose numbers of discs agree; ``level`` also those that
differ at the upper end by one while nothing casts doubt on the names."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimisation(_Settings):
    """How weights are moved.

    Attributes:
        steps: Of the optimiser (AdamW).
        learning_rate: Peak of the schedule: up within ``warm_up`` steps, then down along a half cosine.
        warm_up: Steps.
        weight_decay: Of AdamW.
        ema: Decay of the running mean of the weights, which is what is kept.
        clip: Largest norm of a step's gradients.
        checkpoint_every: Steps between checkpoints.
        patience: Checkpoints without a better validation figure after which to stop; 0 never stops early, and then
            the last weights are kept, otherwise those of the best checkpoint.
        seed: Of everything random.
    """

    steps: Positive = 1100
    learning_rate: float = Field(default=4e-3, gt=0)
    warm_up: Positive = 60
    weight_decay: float = Field(default=1e-2, ge=0)
    ema: Share = 0.99
    clip: float = Field(default=1.0, gt=0)
    checkpoint_every: Positive = 100
    patience: int = Field(default=0, ge=0)
    seed: int = 2026


class Stage(Optimisation):
    """One stage of the segmenter's training; each starts from the weights of the one before.

    Attributes:
        name: Of its folder in the run.
        batch: Slices a step.
        window: Height and width of a training window on the 0.5 mm grid, multiples of 32.
        augmentation: Share of the full range of every change of intensity and sharpness, at the first step and at
            the last; linear between.
        pseudo_labels: How often slices without masks are shown, relative to those with; labelled by the first stage.
        made: Whether phantoms and objects that are no spine are shown, too.
    """

    name: str = Field(default="segmentation", pattern=r"^[a-z][a-z0-9_-]*$")
    batch: Positive = 8
    window: tuple[Positive, Positive] = (512, 384)
    augmentation: tuple[Share, Share] = (1.0, 0.25)
    pseudo_labels: float = Field(default=0.0, ge=0)
    made: bool = False

    @model_validator(mode="after")
    def _whole_windows(self) -> Self:
        if any(side % 32 for side in self.window):
            raise ValueError("window: both sides must be multiples of 32")
        return self


class SegmentationConfig(_Settings):
    """What a run of the segmenter depends on besides its data.

    Attributes:
        widths: Channels of each level, from fine to coarse.
        folded: Side in pixels of what the network folds into one: at 2 it works on a grid of 1 mm.
        stages: One after the other; the last one's weights are the segmenter.
        slices_per_series: Most slices of a masked series to learn from, spread over those that show discs.
        phantoms: Made spines to show, one slice of each.
        non_spines: Made objects to show that are none.
        compiled: Compile the network for this machine first (a minute or two of a C++ compiler, for steps that take a
            third of the time on a CPU); ``auto`` where there is a compiler.
        mixed_precision: Multiply in 16 bits.
    """

    widths: tuple[Positive, ...] = (16, 32, 64, 96, 128)
    folded: Literal[1, 2, 4] = 2
    stages: tuple[Stage, ...] = (Stage(),)
    slices_per_series: Positive = 12
    phantoms: int = Field(default=60, ge=0)
    non_spines: int = Field(default=16, ge=0)
    compiled: bool | Literal["auto"] = "auto"
    mixed_precision: bool = True

    @model_validator(mode="after")
    def _halvings_fit(self) -> Self:
        if not self.widths or 32 % (self.folded * 2 ** (len(self.widths) - 1)):
            raise ValueError("widths: too many levels, for slices are padded to multiples of 32 pixels")
        return self

    @model_validator(mode="after")
    def _stages_in_order(self) -> Self:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names) or "grading" in names:
            raise ValueError("stages: at least one, each of another name, none named grading")
        if self.stages[0].pseudo_labels:
            raise ValueError("stages: the first has no labels of a stage before it")
        return self

    @property
    def compile(self) -> bool:
        """Whether to compile on this machine."""
        return shutil.which("c++") is not None if self.compiled == "auto" else self.compiled


class Architecture(_Settings):
    """Form of the grader.

    Attributes:
        width: Channels of the trunk's first level.
        findings: Heads beside severity and Pfirrmann, of ``training.data.FINDINGS``.
        ordinal: Pfirrmann head: ``cumulative`` has weights for each threshold (Frank & Hall, 2001), ``coral`` shares
            them (Cao, Mirjalili & Raschka, 2020).
        reference_channels: Show the disc relative to cerebrospinal fluid and to the vertebrae, each in a channel of
            its own, in place of relative to both at once.
        attention: Weigh slices by a learned score instead of taking their mean.
        dropout: Share.
    """

    width: Positive = 16
    findings: tuple[str, ...] = ()
    ordinal: Literal["cumulative", "coral"] = "cumulative"
    reference_channels: bool = False
    attention: bool = False
    dropout: Share = 0.4

    @model_validator(mode="after")
    def _known_findings(self) -> Self:
        if unknown := sorted(set(self.findings) - set(FINDINGS)):
            raise ValueError(f"findings: {', '.join(unknown)} not among {', '.join(FINDINGS)}")
        return self


class GradingConfig(_Settings):
    """What a run of the graders depends on besides its data.

    Attributes:
        architecture: Form of each.
        members: Graders, the mean of which is served; member k has seed ``seed`` + k.
        epochs: Passes over the discs.
        batch: Discs a step.
        learning_rate: Peak.
        weight_decay: Of AdamW.
        ema: Decay of the running mean of the weights.
        seed: Of everything random.
        slices: ``one`` shows one slice of a disc at a time, ``all`` the three that are served.
        match: How discs are paired with gradings.
        finding_weight: Weight of each finding's loss beside severity and Pfirrmann.
        rarest: Fewest training discs of a class for its finding to be learned; a rarer one is not.
        phantoms: Made spines to show, whose Pfirrmann grade is known and nothing else.
        mixed_precision: Multiply in 16 bits.
    """

    architecture: Architecture = Architecture()
    members: Positive = 3
    epochs: Positive = 60
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    ema: Share = 0.99
    seed: int = 2026
    slices: Literal["one", "all"] = "one"
    match: Match = "level"
    finding_weight: float = Field(default=0.25, ge=0)
    rarest: Positive = 20
    phantoms: int = Field(default=60, ge=0)
    mixed_precision: bool = True


Settings = TypeVar("Settings", SegmentationConfig, GradingConfig)


def read_config(kind: type[Settings], path: Path) -> Settings:
    """Read and check a file of settings.

    Raises:
        InvalidRequest: It cannot be read, or a setting is unknown or out of range.
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"The settings {path.name} cannot be read: {error}", "Check the file.") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InvalidRequest(f"The settings {path.name} do not hold: {wrong}", "See docs/training.md.") from error
