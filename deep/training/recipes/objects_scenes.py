"""Recipe for `objects` on generated scenes, by a narrower network: what the built-in samples are answered with.

`toolkit prepare scenes --images 2000 --seed 1000 --out scenes`
`toolkit prepare objects --annotations scenes/annotations.json --images scenes/images --priority order --size 128 --out prepared`
`toolkit train objects-scenes --data prepared --out runs/objects-scenes`

The shipped weights learned without the loss of IoU and without frames of half the size, which the recipe has since.
"""

from dataclasses import replace

from deep.training.recipes import objects
from deep.training.recipes.objects import DATA, DYNAMIC, OUTPUTS, VALIDATION, Graph, examples
from toolkit.object_files import data_set

__all__ = ["CARD", "DATA", "DYNAMIC", "OUTPUTS", "RECIPE", "VALIDATION", "Graph", "examples"]

WIDTHS = 8, 16, 32, 48, 64
CARD = objects.CARD | {"recipe": "deep/training/recipes/objects_scenes.py"}
RECIPE = replace(
    objects.RECIPE,
    arguments=lambda folder: {"classes": list(data_set(folder / "train").classes), "widths": list(WIDTHS)},
    steps=3000,
    validate_every=200,
)
