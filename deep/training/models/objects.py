"""Network for `objects`: how far every pixel belongs to each class.

A U-Net (Ronneberger, Fischer & Brox, MICCAI 2015) of residual blocks (He et al., CVPR 2016), whose skips are added; a strided
convolution first and a narrow one last at full resolution, where pixels are many, keep it fast. Where it is to be deeper, it has
separable blocks (Chollet, Xception, CVPR 2017) on its way down, which cost little.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hvd.deep.training.models.unet import (
    Residual,
    Separable,
    Step,
    add_skip,
    conv_norm_relu,
    descend_and_rise,
    enlarge,
    pad_to_multiple,
)

WIDTHS = 16, 48, 96, 160, 192  # at a half to a thirty-second of the resolution
EDGE = 8  # channels at full resolution


class ObjectNetwork(nn.Module):
    """`forward(x)`: float32 (B, 3, H, W), RGB in [0, 1], of any size -> logits (B, classes, H, W); `deeper` counts separable
    blocks at each resolution."""

    def __init__(
        self,
        classes: list[str],
        widths: tuple[int, ...] = WIDTHS,
        deeper: tuple[int, ...] = (0, 0, 0, 0, 0),
    ):
        super().__init__()
        self.edges = conv_norm_relu(3, EDGE, 3, 1)
        self.enter = conv_norm_relu(3, widths[0], 4, 2)
        self.down = nn.ModuleList(Residual(width, normalise=True) for width in widths)
        self.deeper = nn.ModuleList(
            nn.Sequential(*(Separable(width, normalise=True) for _ in range(count)))
            for width, count in zip(widths, deeper, strict=True)
        )
        self.narrower = nn.ModuleList(conv_norm_relu(a, b, 2, 2) for a, b in pairwise(widths))
        self.wider = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Residual(width, normalise=True) for width in widths[:-1])
        self.surround = nn.Conv2d(widths[-1], widths[-1], 1)
        self.leave = nn.Conv2d(widths[0], EDGE, 1)
        self.classify = nn.Conv2d(2 * EDGE, len(classes), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** len(self.down)) * 4 - 2
        edges = self.edges(x)
        x = self.enter(x)
        rise = [
            add_skip(wider, block, "bilinear")
            for wider, block in zip(reversed(self.wider), reversed(self.up), strict=True)
        ]
        x = descend_and_rise(x, self.downward(), self.narrower, rise)
        x = enlarge(functional.relu(self.leave(x)), "bilinear")

        return self.classify(torch.cat([x, edges], 1))[:, :, :height, :width]

    def downward(self) -> list[Step]:
        """The steps down; the last one knows the surroundings as well."""
        steps: list[Step] = [
            nn.Sequential(block, deeper)
            for block, deeper in zip(self.down, self.deeper, strict=True)
        ]
        last = steps.pop()
        return [*steps, lambda x: self.with_surroundings(last(x))]

    def with_surroundings(self, x: Tensor) -> Tensor:
        """Features with what the mean of all of them adds."""
        return x + self.surround(x.mean((2, 3), keepdim=True))
