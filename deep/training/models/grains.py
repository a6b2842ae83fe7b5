"""Network for `grains`: the probability that a pixel lies on a grain boundary.

A U-Net (Ronneberger et al., MICCAI 2015) at half resolution, entered and left by strided steps (Shi
et al., CVPR 2016), after a local z-score that takes light and contrast away.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from hvd.deep.training.models.unet import (
    conv_norm_relu,
    descend_and_rise,
    enlarge,
)

WIDTHS = 16, 32, 64, 96, 96  # at a half, a quarter ... of the resolution
WINDOW = 17  # cells of 8 pixels: local mean and deviation over 136 pixels
LEAST_DEVIATION = 0.01  # of the range of grey: a flat image stays flat


def local_score(image: Tensor) -> Tensor:
    """An image (B, 1, H, W) minus its local mean, over its local deviation, within [-4, 4]."""
    height, width = image.shape[-2:]

    # Means over cells of 8 pixels, then over a window of cells, interpolated between them.
    values = torch.cat([image, image.square()], 1)
    cells = functional.avg_pool2d(
        values, 8, ceil_mode=True, count_include_pad=False
    )
    cells = functional.avg_pool2d(
        cells, WINDOW, 1, WINDOW // 2, count_include_pad=False
    )
    local = functional.interpolate(
        cells, scale_factor=8.0, mode="bilinear", align_corners=False
    )
    local = local[:, :, :height, :width]

    mean = local[:, :1]
    deviation = (local[:, 1:] - mean.square()).clamp(min=0).sqrt()
    return ((image - mean) / (deviation + LEAST_DEVIATION)).clamp(-4, 4)


class GrainNetwork(nn.Module):
    """`forward(image)` -> boundary logits (B, 1, H, W).

    The image is float32 (B, 1, H, W) in [0, 1], with any H and W from 16.
    """

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(1, WIDTHS[0], 4, 2, 1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
            self.down.append(
                nn.Sequential(
                    conv_norm_relu(before, width), conv_norm_relu(width, width)
                )
            )

        for below, width in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True):
            first = conv_norm_relu(below + width, width)
            self.up.append(nn.Sequential(first, conv_norm_relu(width, width)))

        self.leave = nn.Conv2d(WIDTHS[0], 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        with torch.autocast(image.device.type, enabled=False):
            x = local_score(image.float())

        # One row and column more, so that an odd last one is seen.
        x = self.enter(functional.pad(x, (0, 1, 0, 1), "replicate"))
        shrink = [lambda x: functional.max_pool2d(x, 2, ceil_mode=True)] * len(
            self.up
        )
        x = descend_and_rise(
            x, self.down, shrink, map(concatenate_skip, self.up)
        )
        return functional.pixel_shuffle(self.leave(x), 2)[:, :, :height, :width]


def concatenate_skip(block: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A step back up that concatenates what comes from below, cut to size, with the skip."""

    def rise(x: Tensor, skip: Tensor) -> Tensor:
        x = enlarge(x, "bilinear")[:, :, : skip.shape[2], : skip.shape[3]]
        return block(torch.cat([skip, x], 1))

    return rise
