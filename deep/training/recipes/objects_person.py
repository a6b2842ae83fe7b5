"""Recipe for `objects` on photographs with one person.

`toolkit train objects-person --data ../shared/data/objects/person --out runs/objects-person`: 50 minutes on two cores. The shipped
weights have 3,200 steps more, begun from those with `--weights`: pooled IoU of persons 0.517 on the validation part, 0.469 before.
Only these learned from the loss of IoU, and none from photographs in their own size, as half are now.
"""

from dataclasses import replace

from deep.training.recipes import objects
from deep.training.recipes.objects import DATA, DYNAMIC, OUTPUTS, VALIDATION, Graph, examples

__all__ = ["CARD", "DATA", "DYNAMIC", "OUTPUTS", "RECIPE", "VALIDATION", "Graph", "examples"]

CARD = objects.CARD | {"recipe": "deep/training/recipes/objects_person.py"}
RECIPE = replace(objects.RECIPE, steps=2600)
