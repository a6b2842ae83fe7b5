"""Parts of U-Nets (Ronneberger, Fischer & Brox, MICCAI 2015), and the plain U-Net."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[Tensor], Tensor]


def descend_and_rise(
    x: Tensor,
    down: Iterable[Step],
    shrink: Iterable[Step],
    rise: Iterable[Callable[[Tensor, Tensor], Tensor]],
) -> Tensor:
    """Go through a U-Net: down to the coarsest resolution and back up.

    Parameters
    ----------
    x : features at the finest resolution.
    down : a step at every resolution, from the finest to the coarsest.
    shrink : steps from each resolution to the next coarser one.
    rise : steps back up, from the coarsest: `rise(x, skip)`, where `skip` are the features that
        lay at the finer resolution on the way down.
    """
    down = list(down)
    shrink = list(shrink)
    skips = []
    for block, smaller in zip(down[:-1], shrink, strict=True):
        x = block(x)
        skips.append(x)
        x = smaller(x)

    x = down[-1](x)
    for enlarged, skip in zip(rise, reversed(skips), strict=True):
        x = enlarged(x, skip)
    return x


def pad_to_multiple(x: Tensor, size: int) -> Tensor:
    """Repeat the last row and column of an image (B, C, H, W) up to a multiple of `size`."""
    height, width = x.shape[-2:]
    return functional.pad(x, (0, -width % size, 0, -height % size), "replicate")


def enlarge(x: Tensor, mode: str) -> Tensor:
    """Double the size of an image, by the nearest pixel or bilinear interpolation."""
    corners = None if mode == "nearest" else False
    return functional.interpolate(
        x, scale_factor=2.0, mode=mode, align_corners=corners
    )


def conv_norm_relu(
    into: int,
    width: int,
    size: int = 3,
    stride: int = 1,
    inplace: bool = False,
) -> nn.Sequential:
    """Convolution, batch normalisation (Ioffe & Szegedy, ICML 2015), rectifier."""
    padding = (size - stride + 1) // 2
    convolution = nn.Conv2d(into, width, size, stride, padding, bias=False)
    return nn.Sequential(
        convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=inplace)
    )


class Residual(nn.Module):
    """Two convolutions, added to their input (He et al., CVPR 2016).

    With normalisation the block ends in a rectifier; without (Lim et al., EDSR, CVPRW 2017) it does
    not. Untrained, a block changes nothing.
    """

    def __init__(self, width: int, normalise: bool):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=not normalise)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=not normalise)
        add_norms(self, normalise, width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return self.leave(x + self.second_norm(self.second(inner)))


class Separable(nn.Module):
    """Separable convolutions, added to their input (Chollet, Xception, CVPR 2017).

    Each channel is convolved by itself, then every pixel mixes its channels: a quarter of the work
    of a residual block of this width.
    """

    def __init__(self, width: int, normalise: bool):
        super().__init__()
        bias = not normalise
        self.around = nn.Conv2d(
            width, width, 5, padding=2, groups=width, bias=bias
        )
        self.first = nn.Conv2d(width, 2 * width, 1, bias=bias)
        self.second = nn.Conv2d(2 * width, width, 1, bias=bias)
        add_norms(self, normalise, 2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        # In bfloat16, processors train this at a third of the speed.
        with torch.autocast(x.device.type, enabled=False):
            around = self.around(x.float())
        inner = functional.relu(self.first_norm(self.first(around)))
        return self.leave(x + self.second_norm(self.second(inner)))


def add_norms(
    block: nn.Module,
    normalise: bool,
    middle: int,
    width: int,
) -> None:
    """Add the normalisations, or none, and initialise the block so that it changes nothing."""
    if normalise:
        block.first_norm = nn.BatchNorm2d(middle)
        block.second_norm = nn.BatchNorm2d(width)
        block.leave = nn.ReLU()
        nn.init.zeros_(block.second_norm.weight)
    else:
        block.first_norm = nn.Identity()
        block.second_norm = nn.Identity()
        block.leave = nn.Identity()
        nn.init.zeros_(block.second.weight)
        nn.init.zeros_(block.second.bias)


class UNet(nn.Module):
    """The plain U-Net: `forward(x)`: float32 (B, channels, H, W) of any size -> (B, outputs, H, W).

    It has `width` channels at full resolution, and twice as many at each of `levels` - 1 halvings.
    A width of 64 and 5 levels are the paper's: 31 million parameters.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        width: int,
        levels: int = 5,
    ):
        super().__init__()
        widths = [width << k for k in range(levels)]
        into = [channels, *widths]
        self.down = nn.ModuleList(
            double_convolution(a, b) for a, b in zip(into, widths, strict=False)
        )
        coarser = list(reversed(widths[:-1]))
        self.widen = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, 2, 2) for w in coarser
        )
        self.up = nn.ModuleList(double_convolution(2 * w, w) for w in coarser)
        self.leave = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 ** len(self.up))
        shrink = [lambda x: functional.max_pool2d(x, 2)] * len(self.up)
        x = descend_and_rise(
            x, self.down, shrink, map(concatenate_skip, self.widen, self.up)
        )
        return self.leave(x)[:, :, :height, :width]


def double_convolution(into: int, width: int) -> nn.Sequential:
    """Twice: convolution, normalisation, rectifier."""
    first = conv_norm_relu(into, width, inplace=True)
    second = conv_norm_relu(width, width, inplace=True)
    return nn.Sequential(*first, *second)


def concatenate_skip(
    widen: nn.Module, block: nn.Module
) -> Callable[[Tensor, Tensor], Tensor]:
    """A step back up that concatenates what comes from below with the skip."""
    return lambda x, skip: block(torch.cat([skip, widen(x)], 1))


def add_skip(
    narrow: nn.Module, block: nn.Module, mode: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """A step back up that adds what comes from below, narrowed and enlarged, to the skip."""
    return lambda x, skip: block(enlarge(narrow(x), mode) + skip)
