"""Network for `objects`: the class of every pixel.

A U-Net (Ronneberger, Fischer & Brox, MICCAI 2015) of residual blocks (He et al., CVPR 2016), whose
skips are added. Full resolution, where pixels are many, has narrow convolutions only, one at the
start for edges and one at the end, which keeps it fast; the main path starts with a strided one. A
deeper network has separable blocks (Chollet, Xception, CVPR 2017) on the way down, which cost
little.
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
    """`forward(x)` -> logits (B, classes, H, W), for RGB float32 (B, 3, H, W) in [0, 1].

    Parameters
    ----------
    classes : their names.
    widths : channels at a half, a quarter ... of the resolution.
    deeper : the number of separable blocks at each of these resolutions.
    """

    def __init__(
        self,
        classes: list[str],
        widths: tuple[int, ...] = WIDTHS,
        deeper: tuple[int, ...] = (0, 0, 0, 0, 0),
    ):
        super().__init__()
        # Edges keep the full resolution that the main path gives up.
        self.edges = conv_norm_relu(3, EDGE, 3, 1)
        self.enter = conv_norm_relu(3, widths[0], 4, 2)
        self.down = nn.ModuleList(
            Residual(width, normalise=True) for width in widths
        )
        self.deeper = nn.ModuleList()
        for width, count in zip(widths, deeper, strict=True):
            blocks = (Separable(width, normalise=True) for _ in range(count))
            self.deeper.append(nn.Sequential(*blocks))

        # Down to the coarsest level, and up again, at each level joined with
        # what came down.
        self.narrower = nn.ModuleList(
            conv_norm_relu(a, b, 2, 2) for a, b in pairwise(widths)
        )
        # On the way up; weights are stored under this name.
        self.wider = nn.ModuleList(
            nn.Conv2d(b, a, 1) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            Residual(width, normalise=True) for width in widths[:-1]
        )
        # One value for the entire picture tells indoors from outdoors.
        self.surround = nn.Conv2d(widths[-1], widths[-1], 1)
        self.leave = nn.Conv2d(widths[0], EDGE, 1)
        self.classify = nn.Conv2d(2 * EDGE, len(classes), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        # Each level halves the resolution. Values from [0, 1] to [-2, 2].
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** len(self.down)) * 4 - 2
        edges = self.edges(x)

        x = self.enter(x)
        rise = []
        for wider, block in zip(
            reversed(self.wider), reversed(self.up), strict=True
        ):
            rise.append(add_skip(wider, block, "bilinear"))
        x = descend_and_rise(x, self.downward(), self.narrower, rise)

        x = enlarge(functional.relu(self.leave(x)), "bilinear")
        return self.classify(torch.cat([x, edges], 1))[:, :, :height, :width]

    def downward(self) -> list[Step]:
        """The steps down; the last one adds the surroundings."""
        steps: list[Step] = []
        for block, deeper in zip(self.down, self.deeper, strict=True):
            steps.append(nn.Sequential(block, deeper))
        last = steps.pop()
        return [*steps, lambda x: self.add_surroundings(last(x))]

    def add_surroundings(self, x: Tensor) -> Tensor:
        """Add what follows from the mean over the entire picture."""
        return x + self.surround(x.mean((2, 3), keepdim=True))
