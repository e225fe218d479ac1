"""The optimiser's loop, for both networks: resumable to the bit, on a CPU or a GPU."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from discgrade.errors import InvalidRequest
from training.config import Optimisation
from training.device import Compute

__all__ = ["Batches", "Fit", "Losses", "Validate", "save"]

Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)

Batches = Callable[[int, torch.Generator], Batch]
"""Makes the batch of a step, from nothing but the step and the generator."""
Losses = Callable[[Callable[..., Any], Batch, Compute], Tensor]
"""Loss of a network on a batch; the forward pass itself belongs within ``compute.autocast()``."""
Validate = Callable[[nn.Module], Mapping[str, float]]
"""Figures of a network in evaluation mode; the first one decides, and more is better."""


def save(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that a kill at any moment leaves the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as handle:
        torch.save(dict(state), handle)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


class Fit(Generic[Network]):
    """One run of the optimiser, kept in one checkpoint file.

    A step's randomness (its batch, augmentation and dropout) comes from the seed and the step's number alone. The
    checkpoint holds weights, their running mean and the optimiser's state, so a run that was killed ends in the same
    weights, bit for bit, as one that was not (on the same machine with as many threads).

    Args:
        network: In its initial state; afterwards it holds the last weights.
        checkpoint: Where to keep the run; continued where it exists.
        plan: Settings.
        compute: Where and in what precision.
        identity: What the run depends on besides ``plan``; another one refuses to continue it.
    """

    def __init__(
        self, network: Network, checkpoint: Path, plan: Optimisation, compute: Compute, identity: str = ""
    ) -> None:
        self.plan, self.compute, self.checkpoint = plan, compute, checkpoint
        self.identity = f"{plan.model_dump_json()} {identity}"
        moved = network.to(device=compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Network = cast(Network, moved)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser,
            lambda step: min(1.0, (step + 1) / plan.warm_up) * 0.5 * (1 + math.cos(math.pi * step / plan.steps)),
        )
        self.scaler = compute.scaler()
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: Mapping[str, Tensor] | None = None
        if checkpoint.exists():
            self._resume()

    @property
    def mean(self) -> Network:
        """The network with the running mean of the weights: the result."""
        return cast(Network, self.average.module)

    @property
    def ended(self) -> bool:
        """Whether all steps were made, or none of the last checkpoints was better."""
        return self.step >= self.plan.steps or self._stale()

    def run(
        self, batches: Batches[Batch], loss_of: Losses[Batch], validate: Validate | None, name: str, *, compiled: bool
    ) -> Network:
        """Make the steps that are left.

        Args:
            batches: Makes batches.
            loss_of: Their loss.
            validate: Measured at every checkpoint; may be None.
            name: Of the run, for the progress bar.
            compiled: Compile the network first.

        Returns:
            The network with the mean weights (of the best checkpoint where the plan has patience).
        """
        console = Console(stderr=True, highlight=False)
        forward: Callable[..., Any] = torch.compile(self.network) if compiled and not self.ended else self.network
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar, ThreadPoolExecutor(1) as ahead:
            task = bar.add_task(name, total=self.plan.steps, completed=self.step)
            waiting = None
            while not self.ended:
                batch = waiting.result() if waiting else batches(self.step, self._generator(self.step))
                if self.compute.device.type == "cuda":  # a CPU has no time to spare while it trains
                    waiting = ahead.submit(batches, self.step + 1, self._generator(self.step + 1))
                loss = self._advance(forward, batch, loss_of)
                bar.update(task, completed=self.step)
                if self.step % self.plan.checkpoint_every == 0 or self.step == self.plan.steps:
                    figures = self._keep(loss, validate)
                    shown = " ".join(f"{key} {value:.4f}" for key, value in figures.items())
                    bar.console.print(f"{name}: step {self.step}/{self.plan.steps} {shown}")
        if self.plan.patience and self.best is not None:
            self.mean.load_state_dict(self.best)
        return self.mean.eval()

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)

    def _advance(self, forward: Callable[..., Any], batch: Batch, loss_of: Losses[Batch]) -> float:
        torch.manual_seed(self.plan.seed * 1_000_003 + self.step)  # dropout
        self.network.train()
        loss = loss_of(forward, batch, self.compute)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return float(loss.item())

    def _keep(self, loss: float, validate: Validate | None) -> dict[str, float]:
        figures = dict(validate(self.mean.eval())) if validate else {}
        self.history.append({"step": self.step, "loss": loss, "validation": figures})
        if self.plan.patience and self._stalled_for() == 0:
            self.best = {name: value.detach().clone() for name, value in self.mean.state_dict().items()}
        save(
            {
                "identity": self.identity,
                "network": self.network.state_dict(),
                "ema": self.mean.state_dict(),
                "best": self.best,
                "averaged": self.average.n_averaged,
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
                "history": self.history,
            },
            self.checkpoint,
        )
        return {"loss": loss, **figures}

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True, map_location=self.compute.device)
        if state.get("identity") != self.identity:
            raise InvalidRequest(
                f"The folder {self.checkpoint.parent.name} holds a run of other settings or other data.",
                "Give another --run, or the settings it was started with.",
            )
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["ema"])
        self.average.n_averaged.copy_(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.history, self.best = state["step"], state["history"], state["best"]

    def _stalled_for(self) -> int:
        """Checkpoints since the best one."""
        measured = [next(iter(one["validation"].values())) for one in self.history if one["validation"]]
        return len(measured) - 1 - measured.index(max(measured)) if measured else 0

    def _stale(self) -> bool:
        return bool(self.plan.patience) and self._stalled_for() >= self.plan.patience
