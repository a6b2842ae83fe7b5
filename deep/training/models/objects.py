"""Network for `objects`: how far every pixel belongs to each class.

A U-Net (Ronneberger, Fischer & Brox, MICCAI 2015) of residual blocks (He et al., CVPR 2016), whose skips are added; a strided
convolution first and a narrow one last at full resolution, where pixels are many, keep it fast. Where it is to be deeper, it has
separable blocks (Chollet, Xception, CVPR 2017) on its way down, which cost little.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = 16, 48, 96, 160, 192  # at a half to a thirty-second of the resolution
EDGE = 8  # channels at full resolution


class Block(nn.Module):
    """Two normalised convolutions (Ioffe & Szegedy, ICML 2015), added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


class Separable(nn.Module):
    """A block of a quarter of the work for its width: each channel looks around by itself, then every pixel mixes its channels."""

    def __init__(self, width: int):
        super().__init__()
        self.around = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.first, self.second = nn.Conv2d(width, 2 * width, 1, bias=False), nn.Conv2d(2 * width, width, 1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(2 * width), nn.BatchNorm2d(width)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 processors learn this at a third of the speed
            around = self.around(x.float())
        return functional.relu(x + self.second_norm(self.second(functional.relu(self.first_norm(self.first(around))))))


def normalised(into: int, width: int, size: int, stride: int) -> nn.Sequential:
    """Convolution, normalisation, rectifier."""
    convolution = nn.Conv2d(into, width, size, stride, (size - stride + 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


class ObjectNetwork(nn.Module):
    """`forward(x)`: float32 (B, 3, H, W), RGB in [0, 1], of any size -> logits (B, classes, H, W); `deeper` counts separable
    blocks at each resolution."""

    def __init__(self, classes: list[str], widths: tuple[int, ...] = WIDTHS, deeper: tuple[int, ...] = (0, 0, 0, 0, 0)):
        super().__init__()
        self.edges = normalised(3, EDGE, 3, 1)
        self.enter = normalised(3, widths[0], 4, 2)
        self.down = nn.ModuleList(Block(width) for width in widths)
        self.deeper = nn.ModuleList(
            nn.Sequential(*(Separable(width) for _ in range(count))) for width, count in zip(widths, deeper, strict=True)
        )
        self.narrower = nn.ModuleList(normalised(a, b, 2, 2) for a, b in pairwise(widths))
        self.wider = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Block(width) for width in widths[:-1])
        self.surround = nn.Conv2d(widths[-1], widths[-1], 1)
        self.leave = nn.Conv2d(widths[0], EDGE, 1)
        self.classify = nn.Conv2d(2 * EDGE, len(classes), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        size = 2 ** len(self.down)
        x = functional.pad(x, (0, -width % size, 0, -height % size), "replicate") * 4 - 2
        edges, x, skips = self.edges(x), self.enter(x), []
        for k, (block, deeper) in enumerate(zip(self.down, self.deeper, strict=True)):
            x = deeper(block(x))
            if k < len(self.narrower):
                skips.append(x)
                x = self.narrower[k](x)
        x = x + self.surround(x.mean((2, 3), keepdim=True))
        for wider, block in zip(reversed(self.wider), reversed(self.up), strict=True):
            x = functional.interpolate(wider(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(x + skips.pop())
        x = functional.interpolate(functional.relu(self.leave(x)), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.classify(torch.cat([x, edges], 1))[:, :, :height, :width]
