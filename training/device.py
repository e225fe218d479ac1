"""Where networks compute, and in what precision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch

from discgrade.errors import InvalidRequest

__all__ = ["Compute", "Device"]


class Device(StrEnum):
    """Where to compute; ``auto`` takes a GPU where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class Compute:
    """A device and the lower precision of mixed-precision training on it.

    Attributes:
        device: Of PyTorch.
        mixed: Type of the multiplications; None for float32 throughout.
    """

    device: torch.device
    mixed: torch.dtype | None

    @classmethod
    def choose(cls, device: Device = Device.AUTO, *, mixed_precision: bool = True) -> Compute:
        """Take what was asked for.

        Raises:
            InvalidRequest: A GPU was asked for where PyTorch sees none.
        """
        if device is Device.CUDA and not torch.cuda.is_available():
            raise InvalidRequest("PyTorch sees no GPU.", "Give --device cpu, or install PyTorch for CUDA.")
        on_gpu = device is not Device.CPU and torch.cuda.is_available()
        if not mixed_precision:
            mixed = None
        elif on_gpu and not torch.cuda.is_bf16_supported():
            mixed = torch.float16
        else:
            mixed = torch.bfloat16
        return cls(torch.device("cuda" if on_gpu else "cpu"), mixed)

    def autocast(self) -> torch.autocast:
        """Context of a forward pass in mixed precision."""
        return torch.autocast(self.device.type, dtype=self.mixed or torch.bfloat16, enabled=self.mixed is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales losses so that float16 gradients do not vanish; does nothing for other types."""
        return torch.amp.GradScaler(self.device.type, enabled=self.mixed is torch.float16)
