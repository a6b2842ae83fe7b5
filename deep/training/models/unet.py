"""The U-Net (Ronneberger, Fischer & Brox, MICCAI 2015), with batch normalisation (Ioffe & Szegedy, ICML 2015)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def convolutions(into: int, width: int) -> nn.Sequential:
    """Twice: convolution, normalisation, rectifier."""
    layers = []
    for channels in (into, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """`forward(x)`: float32 (B, channels, H, W) of any size -> (B, outputs, H, W).

    `width` channels at full resolution, twice as many at each of `levels` - 1 halvings: 64 and 5 are the paper's, 31 M parameters.
    """

    def __init__(self, channels: int, outputs: int, width: int, levels: int = 5):
        super().__init__()
        widths = [width << k for k in range(levels)]
        self.down = nn.ModuleList(convolutions(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(convolutions(2 * w, w) for w in reversed(widths[:-1]))
        self.leave = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        size = 2 ** len(self.up)
        x = self.down[0](functional.pad(x, (0, -width % size, 0, -height % size), "replicate"))
        skips = []
        for block in self.down[1:]:
            skips.append(x)
            x = block(functional.max_pool2d(x, 2))
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat([skips.pop(), widen(x)], 1))
        return self.leave(x)[:, :, :height, :width]
