"""Annotations that others made, from ../shared/data/objects where that lies beside the project."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("shapely")

from data import rasters
from data.annotations import read
from data.preparation import Options, prepared
from toolkit.core import ToolkitError

REAL = Path(__file__).parents[2] / "shared" / "data" / "objects"
SETS = [*sorted(REAL.glob("fixtures/assets/*/*")), *sorted(REAL.glob("formats/*")), REAL / "coco128"]
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"there is no {REAL}")


@pytest.mark.parametrize("folder", [path for path in SETS if path.is_dir()], ids=lambda path: path.name)
def test_every_instance_is_kept_or_accounted_for_or_the_whole_is_refused(folder, tmp_path):
    try:
        list(prepared(Options(folder, folder, boxes=True), tmp_path / "out", 1, None, False))
    except ToolkitError as error:
        assert error.status == 5 and error.remedy and not (tmp_path / "out").exists()
        return
    account = json.loads((tmp_path / "out" / "report.json").read_text())
    counts, images = account["instances"], account["images"]
    assert counts["annotated"] == counts["kept"] + counts["dropped"]
    assert counts["dropped"] == sum(problem["action"] == "dropped" and bool(problem["reason"]) for problem in account["problems"])
    assert images["written"] == sum(images["parts"].values()) > 0


def test_masks_of_coco_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.coco")
    (file,) = (REAL / "coco128" / "annotations").glob("*.json")
    theirs = coco.COCO(str(file))
    compared = 0
    for image in read(file).images:
        for instance in image.instances:
            painted, _ = rasters.painted(instance, image.size[::-1], False)
            mask = np.zeros(image.size[::-1], bool)
            mask[painted.where] = painted.pixels
            wanted = theirs.annToMask(theirs.anns[int(instance.id)]).astype(bool)
            assert (mask != wanted).sum() <= 0.001 * wanted.sum(), instance.id
            compared += 1
    assert compared > 900
