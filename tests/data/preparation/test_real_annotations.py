"""Annotations that others made, from ../shared/data/objects where that lies beside the project."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("shapely")

from hvd.data.preparation import rasters
from hvd.data.preparation.annotations import read
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.run import prepare_data_set
from hvd.toolkit.core import ToolkitError

REAL = Path(__file__).parents[4] / "shared" / "data" / "objects"
SOUND = {  # annotations, and where their images are
    "coco128": "coco128",
    **{
        f"formats/{name}": "coco128/images"
        for name in ("cityscapes", "cvat", "voc_polygon")
    },
    "fixtures/assets/labelme_dataset/Annotations": "fixtures/assets/labelme_dataset/Images",
    **{
        f"fixtures/assets/{name}": f"fixtures/assets/{name}"
        for name in (
            "coco_dataset/coco",
            "coco_dataset/coco_instances",
            "coco_dataset/coco_person_keypoints",
            "coco_dataset/coco_roboflow",
            "coco_dataset/mmdet_coco",
            "cvat_dataset/for_images",
            "kaggle_dataset/relaxed_coco",
            "kaggle_dataset/relaxed_voc1",
            "kaggle_dataset/relaxed_voc2",
            "roboflow_dataset/coco",
            "roboflow_dataset/voc",
            "voc_dataset/voc_dataset1",
            "voc_dataset/voc_dataset3",
        )
    },
}
OTHERS = [
    path
    for path in sorted(REAL.glob("fixtures/assets/*/*"))
    if path.relative_to(REAL).as_posix() not in SOUND
]
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"there is no {REAL}")


@pytest.mark.parametrize("annotations", SOUND)
def test_every_instance_is_kept_or_accounted_for(annotations, tmp_path):
    options = PrepareOptions(
        REAL / annotations, REAL / SOUND[annotations], boxes=True
    )
    list(prepare_data_set(options, tmp_path / "out", 1, None, False))
    account = json.loads((tmp_path / "out" / "report.json").read_text())
    counts, images = account["instances"], account["images"]
    assert (
        counts["annotated"] == counts["kept"] + counts["dropped"]
        and counts["kept"] > 0
    )
    assert counts["dropped"] == sum(
        problem["action"] == "dropped" and bool(problem["reason"])
        for problem in account["problems"]
    )
    assert images["written"] == sum(images["parts"].values()) > 0


@pytest.mark.parametrize("folder", OTHERS, ids=lambda path: path.name)
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(
    folder, tmp_path
):
    with pytest.raises(ToolkitError) as refusal:
        list(
            prepare_data_set(
                PrepareOptions(folder, folder, boxes=True),
                tmp_path / "out",
                1,
                None,
                False,
            )
        )
    assert (
        refusal.value.status == 5
        and refusal.value.remedy
        and not (tmp_path / "out").exists()
    )


def test_masks_of_coco_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.coco")
    (file,) = (REAL / "coco128" / "annotations").glob("*.json")
    theirs = coco.COCO(str(file))
    compared = 0
    for image in read(file).images:
        for instance in image.instances:
            painted, _ = rasters.paint_instance(
                instance, image.size[::-1], False
            )
            mask = np.zeros(image.size[::-1], bool)
            mask[painted.where] = painted.pixels
            wanted = theirs.annToMask(theirs.anns[int(instance.id)]).astype(
                bool
            )
            assert (mask != wanted).sum() <= 0.001 * wanted.sum(), instance.id
            compared += 1
    assert compared > 900
