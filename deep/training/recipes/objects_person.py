"""Recipe for `objects` on photographs with one person.

`toolkit train objects-person --data ../shared/data/objects/person --out runs/objects-person`: 50 minutes on two cores, pooled IoU
of persons 0.469 on the validation part. The shipped weights learned without the loss of IoU, which the recipe has since.
"""

from dataclasses import replace

from deep.training.recipes import objects
from deep.training.recipes.objects import DATA, DYNAMIC, OUTPUTS, VALIDATION, Graph, examples

__all__ = ["CARD", "DATA", "DYNAMIC", "OUTPUTS", "RECIPE", "VALIDATION", "Graph", "examples"]

CARD = objects.CARD | {"recipe": "deep/training/recipes/objects_person.py"}
RECIPE = replace(objects.RECIPE, steps=2600)
