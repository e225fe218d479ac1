"""Graders that are served as one, and their temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from training.config import Architecture
from training.fit import save
from training.networks import DiscGrader, ExportedGrader

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(
    graders: Sequence[DiscGrader], path: Path, temperatures: Mapping[str, float] | None = None
) -> None:
    """Save graders of one form, atomically.

    Args:
        graders: On the CPU or a GPU.
        path: Of the file.
        temperatures: By head.
    """
    save(
        {
            "architecture": graders[0].form.model_dump(mode="json"),
            "members": [{name: value.cpu() for name, value in one.state_dict().items()} for one in graders],
            "temperatures": dict(temperatures or {}),
        },
        path,
    )


def read_checkpoint(path: Path) -> ExportedGrader:
    """Load what :func:`write_checkpoint` saved; a checkpoint of the first release names only the width."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    form = Architecture.model_validate(state.get("architecture") or {"width": state["width"]})
    members = []
    for weights in state["members"]:
        member = DiscGrader(form)
        member.load_state_dict(weights)
        members.append(member)
    return ExportedGrader(members, state.get("temperatures")).eval()
