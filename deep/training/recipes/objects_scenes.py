"""Recipe for `objects` on generated scenes, for a narrower network, which answers built-in samples.

    toolkit prepare scenes --images 2000 --seed 1000 --out scenes
    toolkit prepare objects --annotations scenes/annotations.json --images scenes/images \
        --priority order --size 128 --out prepared
    toolkit train objects-scenes --data prepared --out runs/objects-scenes

The shipped weights were trained without the loss of IoU and without frames of half the size, which
were added to the recipe later.
"""

from dataclasses import replace

from hvd.deep.training.recipes import objects
from hvd.toolkit.tasks.objects.dataset import data_set

WIDTHS = 8, 16, 32, 48, 64
CARD = objects.RECIPE.export.card | {
    "recipe": "deep/training/recipes/objects_scenes.py"
}
RECIPE = replace(
    objects.RECIPE,
    export=replace(objects.RECIPE.export, card=CARD),
    arguments=lambda folder: {
        "classes": list(data_set(folder / "train").classes),
        "widths": list(WIDTHS),
    },
    steps=3000,
    validate_every=200,
)
