"""Recipe for `objects` on photographs with one person, for a deeper network.

`toolkit train objects-person --data ../shared/data/objects/person --out runs/objects-person` takes
1.5 hours on two cores with AMX.

The shipped weights were begun without the separable blocks: 2,600, 3,200 and 2,400 steps, each run
started from the one before with `--weights`, the last two with the loss of IoU. Pooled IoU of
persons on the validation part was 0.469, 0.517, 0.527, and 0.529 for the mean of the last two. Then
the separable blocks were added, which change nothing at first, and trained with all others for
15,000 steps, of which step 12,500 was best: 0.577. Only these steps used frames of half the size.
All of it in one run from scratch was not tried.
"""

from dataclasses import replace
from functools import partial

from hvd.deep.training.models.objects import ObjectNetwork
from hvd.deep.training.recipes import objects

CARD = objects.RECIPE.export.card | {
    "recipe": "deep/training/recipes/objects_person.py"
}
RECIPE = replace(
    objects.RECIPE,
    export=replace(objects.RECIPE.export, card=CARD),
    network=partial(ObjectNetwork, deeper=(0, 2, 1, 1, 0)),
    steps=15000,
    validate_every=500,
)
