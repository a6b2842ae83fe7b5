"""Recipe for the plain U-Net on `lines`, 31 million parameters: a yardstick, not shipped.

It is trained as the shipped network is:
`toolkit train lines-peer --data ../shared/data/lines --out runs/lines-peer`
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from hvd.deep.training.models.unet import UNet
from hvd.deep.training.recipes import lines


class Peer(nn.Module):
    """As LineNetwork: a U-Net draws the scan anew, and only its missing pixels are taken."""

    def __init__(self):
        super().__init__()
        self.unet = UNet(2, 1, 64)

    def forward(self, measured: Tensor, known: Tensor) -> Tensor:
        return torch.where(
            known > 0.5, measured, self.unet(torch.cat([measured, known], 1))
        )


CARD = lines.RECIPE.export.card | {
    "recipe": "deep/training/recipes/lines_peer.py"
}
RECIPE = replace(
    lines.RECIPE,
    network=Peer,
    export=replace(lines.RECIPE.export, card=CARD),
    steps=1500,
    learning_rate=1e-3,
    validate_every=50,
)
