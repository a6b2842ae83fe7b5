"""Recipe for `objects` on photographs with one person.

`toolkit train objects-person --data ../shared/data/objects/person --out runs/objects-person`: 50 minutes on two cores. The shipped
weights have 3,200 and 2,400 steps more, each begun from those before with `--weights`: pooled IoU of persons on the validation part
0.469, 0.517, 0.527; shipped is the mean of the last two, 0.529. Only these learned from the loss of IoU, and the last alone from
photographs in their own size and persons of others.
"""

from dataclasses import replace

from deep.training.recipes import objects
from deep.training.recipes.objects import DATA, DYNAMIC, OUTPUTS, VALIDATION, Graph, examples

__all__ = ["CARD", "DATA", "DYNAMIC", "OUTPUTS", "RECIPE", "VALIDATION", "Graph", "examples"]

CARD = objects.CARD | {"recipe": "deep/training/recipes/objects_person.py"}
RECIPE = replace(objects.RECIPE, steps=2600)
