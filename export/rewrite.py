"""The segmenter in a form that engines compute faster: the same sums, in another order.

Training writes a step of the decoder as it is drawn: enlarge, join, convolve. On a CPU that form spends up to a fifth
of its time on what it need not do; docs/decisions/0046-int8-on-cpus.md has the figures.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.networks import TISSUES, ExportedSegmenter
from training.networks.blocks import ConvBlock
from training.networks.segmenter import answers

__all__ = ["FastSegmenter", "for_engines"]


def for_engines(module: nn.Module) -> nn.Module:
    """The form of a network that is written as ONNX: a segmenter's faster one, any other as it is.

    Args:
        module: In evaluation mode.
    """
    return FastSegmenter(module).eval() if isinstance(module, ExportedSegmenter) else module


class FastSegmenter(nn.Module):
    """Computes what an :class:`ExportedSegmenter` computes, but for the rounding of sums.

    - Batch normalisation is part of the convolution before it.
    - Where features are enlarged two times, joined with finer ones and convolved, each part has a convolution of its
      own, and their results are added. Enlarging by repetition and convolving 3 × 3 is one transposed convolution of
      4 × 4 with stride 2: every pixel sums 4 products in place of 9, and nothing is copied to be enlarged or joined.
    - Each tissue is unfolded to full resolution by itself, where splitting them afterwards copies pixel by pixel.

    Args:
        trained: In evaluation mode; its weights are copied.
    """

    def __init__(self, trained: ExportedSegmenter) -> None:
        super().__init__()
        network = trained.network
        self.stem = network.stem
        self.down = nn.ModuleList(_convolutions(cast(ConvBlock, block)) for block in network.down)
        self.up = nn.ModuleList(
            _Up(cast(ConvBlock, block), width) for block, width in zip(network.up, network.widths[:-1], strict=True)
        )
        pixels = network.folded**2
        self.heads = nn.ModuleList(_rows(network.head, pixels * tissue, pixels) for tissue in range(TISSUES))
        self.unfold = network.unfold

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Segment slices; see :meth:`ExportedSegmenter.forward`."""
        features = self.stem(image.to(torch.float32) / 255.0 * 3.0 - 1.0)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        for level in reversed(range(len(self.up))):
            features = self.up[level](skips[level], features)
        background, disc, vertebra, canal = (self.unfold(head(features)).squeeze(1) for head in self.heads)
        return answers(background, disc, vertebra, canal)


class _Up(nn.Module):
    """A step of the decoder.

    Args:
        block: As it was trained, on features of this level followed by those of the coarser one.
        own: Channels of this level.
    """

    def __init__(self, block: ConvBlock, own: int) -> None:
        super().__init__()
        joined, self.second = _folded(block)
        weight = joined.weight.detach()
        outputs, inputs = weight.shape[0], weight.shape[1] - own
        self.own = nn.Conv2d(own, outputs, 3, padding=1)
        self.own.weight.data, self.own.bias = weight[:, :own].clone(), joined.bias
        self.raised = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.raised.weight.data = _raising(weight[:, own:])

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        joined = functional.relu(self.own(fine) + self.raised(coarse))
        return functional.relu(self.second(joined))


def _folded(block: ConvBlock) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A block's two convolutions with its batch normalisation folded in."""
    first, first_norm, _, second, second_norm, _ = block
    return (
        fuse_conv_bn_eval(cast(nn.Conv2d, first), cast(nn.BatchNorm2d, first_norm)),
        fuse_conv_bn_eval(cast(nn.Conv2d, second), cast(nn.BatchNorm2d, second_norm)),
    )


def _convolutions(block: ConvBlock) -> nn.Sequential:
    first, second = _folded(block)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def _raising(weight: Tensor) -> Tensor:
    """Turn a 3 × 3 convolution of what was enlarged two times into a transposed convolution of what was not.

    Args:
        weight: (outputs, inputs, 3, 3).

    Returns:
        (inputs, outputs, 4, 4).
    """
    kernel = torch.zeros(*weight.shape[:2], 4, 4)
    for row in range(2):
        for column in range(2):
            kernel[:, :, row : row + 3, column : column + 3] += weight
    return kernel.flip((2, 3)).transpose(0, 1).contiguous()


def _rows(head: nn.Conv2d, first: int, count: int) -> nn.Conv2d:
    """Some of a 1 × 1 convolution's outputs."""
    part = nn.Conv2d(head.in_channels, count, 1)
    part.weight.data = head.weight.detach()[first : first + count].clone()
    part.bias = nn.Parameter(cast(Tensor, head.bias).detach()[first : first + count].clone())
    return part
