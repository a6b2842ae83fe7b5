"""Recipe for `objects` on photographs with one person, for a deeper network.

`toolkit train objects-person --data ../shared/data/objects/person --out runs/objects-person`: 1.5 hours on two cores with AMX.
The shipped weights were begun without the separable blocks, as 2,600, 3,200 and 2,400 steps, each from those before with
`--weights`, the last two with the loss of IoU: pooled IoU of persons on the validation part 0.469, 0.517, 0.527, and 0.529 for
the mean of the last two. To these the separable blocks were added, which change nothing at first, and 15,000 steps more, of which
12,500 did best: 0.577. They alone saw frames of half the size. From scratch in one run it was not tried.
"""

from dataclasses import replace
from functools import partial

from hvd.deep.training.models.objects import ObjectNetwork
from hvd.deep.training.recipes import objects

CARD = objects.RECIPE.export.card | {"recipe": "deep/training/recipes/objects_person.py"}
RECIPE = replace(
    objects.RECIPE,
    export=replace(objects.RECIPE.export, card=CARD),
    network=partial(ObjectNetwork, deeper=(0, 2, 1, 1, 0)),
    steps=15000,
    validate_every=500,
)
