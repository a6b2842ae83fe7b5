"""Network for `lines`: what stood in the missing pixels of a scan.

A residual U-Net (Ronneberger et al., MICCAI 2015) that corrects a prior: the measured pixels,
spread over the gaps by normalised convolution (Knutsson & Westin, CVPR 1993), coarse to fine,
which works for any mask. Blocks have no normalisation (Lim et al., EDSR, CVPRW 2017); below full
resolution their convolutions are separable (Chollet, Xception, CVPR 2017).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hvd.deep.training.models.unet import (
    Residual,
    Separable,
    add_skip,
    descend_and_rise,
    enlarge,
    pad_to_multiple,
)

# Channels and blocks at full, half and quarter resolution.
WIDTHS = (16, 64, 128)
BLOCKS = (3, 2, 8)
COARSENINGS = 5  # the prior bridges gaps up to some 60 pixels wide


def prior(measured: Tensor, known: Tensor) -> Tensor:
    """Fill the gaps of scans with weighted means of what lies around them.

    Measured pixels are (B, 1, H, W), zero where `known` is 0.
    """
    halving = kernel([1.0, 3.0, 3.0, 1.0]).to(measured.device)
    spreading = kernel([1.0, 4.0, 6.0, 4.0, 1.0]).to(measured.device)

    # Values and weights at coarser and coarser resolutions.
    levels = [torch.cat([measured, known], 1)]
    for _ in range(COARSENINGS):
        padded = functional.pad(levels[-1], (1, 2, 1, 2))
        levels.append(functional.conv2d(padded, halving, stride=2, groups=2))

    # From the coarsest back: where few pixels are known, the coarser level fills in.
    mean = measured.sum((2, 3), keepdim=True) / known.sum(
        (2, 3), keepdim=True
    ).clamp(min=1)
    filled = (levels[-1][:, :1] + 1e-3 * mean) / (levels[-1][:, 1:] + 1e-3)
    for level in levels[-2::-1]:
        spread = functional.conv2d(
            functional.pad(level, (2, 2, 2, 2)), spreading, groups=2
        )
        coarse = enlarge(filled, "bilinear")[
            :, :, : level.shape[2], : level.shape[3]
        ]
        filled = (spread[:, :1] + 0.02 * coarse) / (spread[:, 1:] + 0.02)

    return torch.where(known > 0.5, measured, filled)


def kernel(taps: list[float]) -> Tensor:
    """The outer product of `taps` with themselves, of sum 1, for each of two channels."""
    line = torch.tensor(taps) / sum(taps)
    return (line[:, None] * line)[None, None].repeat(2, 1, 1, 1)


class LineNetwork(nn.Module):
    """`forward(measured, known)` -> filled images, not clipped, measured pixels unchanged.

    All are float32 (B, 1, H, W), H and W from 8: images in [0, 1], with zeros where `known` is 0.
    """

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, blocks: tuple[int, ...] = BLOCKS
    ):
        super().__init__()
        self.enter = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.narrow = nn.ModuleList()
        self.widen = nn.ModuleList()
        self.up = nn.ModuleList()

        for k, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            # Channels are few at full resolution, so there all of them are convolved together.
            block = Separable if k else Residual
            self.down.append(
                nn.Sequential(
                    *(block(width, normalise=False) for _ in range(count))
                )
            )
            if k + 1 < len(widths):
                self.widen.append(nn.Conv2d(width, widths[k + 1], 2, 2))
                self.narrow.append(nn.Conv2d(widths[k + 1], width, 1))
                back = (block(width, normalise=False) for _ in range(count))
                self.up.append(nn.Sequential(*back))

        self.leave = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, measured: Tensor, known: Tensor) -> Tensor:
        height, width = measured.shape[-2:]

        # Measured pixels, which stay unchanged, need all of float32.
        with torch.autocast(measured.device.type, enabled=False):
            first = prior(measured, known)

        x = torch.cat([measured, first, known], 1)
        x = self.enter(pad_to_multiple(x, 2 ** len(self.widen)))
        rise = []
        for narrow, block in zip(
            reversed(self.narrow), reversed(self.up), strict=True
        ):
            rise.append(add_skip(narrow, block, "nearest"))
        x = descend_and_rise(x, self.down, self.widen, rise)

        filled = first + self.leave(x)[:, :, :height, :width]
        return torch.where(known > 0.5, measured, filled)
