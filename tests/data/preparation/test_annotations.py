"""Annotations of five formats."""

import base64
import json

import cv2
import numpy as np
import pytest

from hvd.data.preparation.annotations import read
from hvd.data.preparation.rasters import mask_of_runs
from hvd.toolkit.core import ToolkitError

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def coco(**changes):
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 4, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": 7,
                "image_id": 1,
                "category_id": 4,
                "segmentation": [SQUARE],
                "bbox": [10, 10, 20, 20],
                "iscrowd": 0,
            }
        ],
    }
    return document | changes


def saved(tmp_path, content, name="annotations.json"):
    (tmp_path / name).write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return tmp_path / name


def polygon_of(result, k=0):
    (image,) = result.images
    return image.instances[k].outlines[0].tolist()


def test_coco_gives_classes_by_their_ids_and_tells_of_gaps_among_them(tmp_path):
    result = read(saved(tmp_path, coco()))
    assert (
        result.formats == {"COCO"}
        and list(result.categories) == ["car", "dog"]
        and result.instance_count == 1
    )
    (image,) = result.images
    assert (
        image.name == "a.jpg"
        and image.size == (64, 48)
        and image.instances[0].category == "dog"
    )
    assert (
        polygon_of(result) == SQUARE
        and image.instances[0].box == (10, 10, 20, 20)
        and not result.problems
    )
    gaps = read(
        saved(
            tmp_path,
            coco(
                categories=[
                    {"id": 4, "name": "dog"},
                    {"id": 90, "name": "hair drier"},
                ]
            ),
        )
    )
    assert [p.action for p in gaps.problems] == [
        "noted"
    ] and "85 numbers are missing" in gaps.problems[0].reason


VOC = """<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>dog</name>
<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>
<polygon>{}</polygon></object></annotation>"""
NUMBERED = "".join(
    f"<x{k}>{x}</x{k}><y{k}>{y}</y{k}>"
    for k, (x, y) in enumerate(np.reshape(SQUARE, (4, 2)), 1)
)
LISTED = "".join(
    f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in np.reshape(SQUARE, (4, 2))
)
CVAT = """<annotations><version>1.1</version><image id="0" name="a.jpg" width="64" height="48">
<polygon label="dog" points="10,10;30,10;30,30;10,30" z_order="2"/></image></annotations>"""
PAIRS = np.reshape(SQUARE, (4, 2)).tolist()
CITY = {
    "imgWidth": 64,
    "imgHeight": 48,
    "objects": [{"label": "dog", "polygon": PAIRS}],
}
LABELME = {
    "imagePath": "..\\pictures\\a.jpg",
    "imageWidth": 64,
    "imageHeight": 48,
}
LABELME["shapes"] = [{"label": "dog", "points": PAIRS, "shape_type": "polygon"}]


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        ("COCO", "a.json", coco()),
        ("Pascal VOC", "a.xml", VOC.format(NUMBERED)),
        ("Pascal VOC", "a.xml", VOC.format(LISTED)),
        ("CVAT 1.1", "whatever.xml", CVAT),
        ("Cityscapes", "a_gtFine_polygons.json", CITY),
        ("LabelMe", "b.json", LABELME),
    ],
)
def test_every_format_gives_the_same_instance(kind, name, content, tmp_path):
    result = read(saved(tmp_path, content, name))
    assert (
        result.formats == {kind}
        and list(result.categories)[-1] == "dog"
        and result.instance_count == 1
    )
    assert polygon_of(result) == SQUARE
    image = result.images[0]
    assert image.name == (
        "a" if kind == "Cityscapes" else "a.jpg"
    ) and image.size == (64, 48)
    assert image.instances[0].box in (None, (10, 10, 20, 20))
    assert image.instances[0].rank == (2 if kind == "CVAT 1.1" else 0)


def test_groups_of_cityscapes_are_crowds(tmp_path):
    city = CITY | {"objects": [{"label": "cargroup", "polygon": PAIRS}]}
    (image,) = read(saved(tmp_path, city)).images
    assert image.instances[0].category == "car" and image.instances[0].crowd


@pytest.mark.parametrize(
    ("changes", "action", "words"),
    [
        (
            {
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 9,
                        "category_id": 3,
                        "segmentation": [SQUARE],
                    }
                ]
            },
            "dropped",
            "image id 9",
        ),
        (
            {
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 1,
                        "category_id": 5,
                        "segmentation": [SQUARE],
                    }
                ]
            },
            "dropped",
            "category id 5",
        ),
        (
            {
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 1,
                        "category_id": 3,
                        "segmentation": [SQUARE],
                    }
                ]
                * 2
            },
            "dropped",
            "twice",
        ),
        (
            {
                "images": [
                    {"id": 1, "file_name": "a.jpg"},
                    {"id": 1, "file_name": "b.jpg"},
                ]
            },
            "skipped",
            "image id 1 is there twice",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2}]},
            "skipped",
            "without name",
        ),
        (
            {
                "categories": [
                    {"id": 4, "name": "dog"},
                    {"id": 4, "name": "cat"},
                ]
            },
            "noted",
            "category id 4",
        ),
    ],
)
def test_what_coco_has_wrong_is_reported(changes, action, words, tmp_path):
    result = read(saved(tmp_path, coco(**changes)))
    assert any(
        one.action == action and words in one.reason for one in result.problems
    )
    kept = sum(len(image.instances) for image in result.images)
    assert (
        kept + sum(one.action == "dropped" for one in result.problems)
        == result.instance_count
    )


def test_two_annotations_of_one_id_are_both_kept_when_they_differ(tmp_path):
    twice = [
        {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [SQUARE]},
        {"id": 1, "image_id": 1, "category_id": 4, "segmentation": [SQUARE]},
    ]
    result = read(saved(tmp_path, coco(annotations=twice)))
    assert len(result.images[0].instances) == 2 and [
        one.action for one in result.problems
    ] == ["noted"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{", "neither JSON nor XML"),
        ("a.json", "[1, 2]", "no known format"),
        (
            "a.json",
            '{"images": [], "annotations": 3, "categories": []}',
            "no list",
        ),
        ("a.json", "[" * 100_000, "neither JSON nor XML"),
        ("a.xml", "<annotation>", "no XML"),
        ("a.xml", "<other/>", "no known format"),
        (
            "a.xml",
            '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
            "entities",
        ),
        (
            "a.json",
            coco(
                annotations=[
                    {
                        "id": 1,
                        "image_id": 1,
                        "category_id": 1,
                        "caption": "hello",
                    }
                ]
            ),
            "another kind",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_and_others_are_read(
    name, content, words, tmp_path
):
    with pytest.raises(ToolkitError, match=words) as refusal:
        read(saved(tmp_path, content, name))
    assert refusal.value.status == 5
    saved(tmp_path, coco(), "good.json")
    result = read(tmp_path)
    assert len(result.images) == 1 and [
        one.file for one in result.problems
    ] == [name]


def test_what_covers_no_area_is_dropped_by_name(tmp_path):
    shapes = CVAT.replace(
        "</image>",
        '<polyline label="dog" points="1,2;3,4"/><points label="dog" points="1,2"/></image>',
    )
    result = read(saved(tmp_path, shapes, "a.xml"))
    assert result.instance_count == 3 and len(result.images[0].instances) == 1
    assert [one.reason for one in result.problems] == [
        "a polyline covers no area",
        "a points covers no area",
    ]
    assert (
        read(
            saved(
                tmp_path,
                LABELME
                | {
                    "shapes": [
                        {
                            "label": "x",
                            "points": [[1, 2]],
                            "shape_type": "point",
                        }
                    ]
                },
                "a.xml",
            )
        ).instance_count
        == 1
    )


def test_an_image_that_two_files_annotate_is_one(tmp_path):
    saved(tmp_path, VOC.format(NUMBERED), "a.xml")
    saved(tmp_path, CVAT, "b.xml")
    result = read(tmp_path)
    assert len(result.images) == 1 and len(result.images[0].instances) == 2
    assert "twice" in result.problems[0].reason


def test_what_are_no_numbers_does_not_stop_a_file(tmp_path):
    strange = [["x", 1, None, 2, [3], True], "no list", [[1, 2], [3, 4]]]
    annotations = [
        {"id": k, "image_id": 1, "category_id": 3, "segmentation": [s]}
        for k, s in enumerate(strange)
    ]
    result = read(saved(tmp_path, coco(annotations=annotations)))
    assert len(result.images[0].instances) == 3
    assert all(
        not np.isfinite(i.outlines[0]).all() for i in result.images[0].instances
    )


def test_xml_is_read_in_the_encodings_that_tools_write(tmp_path):
    for k, data in enumerate(
        (b"\xef\xbb\xbf" + CVAT.encode(), CVAT.encode("utf-16"))
    ):
        (tmp_path / f"{k}.xml").write_bytes(data)
        assert len(read(tmp_path / f"{k}.xml").images) == 1
    (tmp_path / "a.xml").write_text(
        '<?xml version="1.0" encoding="foo"?><annotation/>'
    )
    with pytest.raises(ToolkitError, match="no XML"):
        read(tmp_path / "a.xml")


def test_what_its_tool_marked_as_deleted_is_dropped(tmp_path):
    city = CITY | {
        "objects": [
            {"label": "dog", "polygon": PAIRS, "deleted": 1},
            *CITY["objects"],
        ]
    }
    result = read(saved(tmp_path, city))
    assert (
        len(result.images[0].instances) == 1
        and result.problems[0].reason == "it is marked as deleted"
    )


def test_categories_and_annotations_without_an_id_do_not_stop_a_file(tmp_path):
    nameless = coco(
        categories=[{"name": "a"}, {"name": "b"}, {"id": 3, "name": "c"}]
    )
    nameless["annotations"] = [
        {"image_id": 1, "category_id": 3, "segmentation": [SQUARE]}
    ] * 2 + [
        3,
        {"image_id": 1, "category_id": 9},
    ]
    result = read(saved(tmp_path, nameless))
    assert (
        list(result.categories) == ["c"]
        and len(result.images[0].instances) == 2
        and result.instance_count == 4
    )
    dropped = [one for one in result.problems if one.action == "dropped"]
    assert len(dropped) == 2 and all(
        one.instance.startswith("#") for one in dropped
    )


def test_images_of_one_name_in_two_folders_are_two(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name, LABELME | {"imagePath": "1.jpg"}, "1.json")
    assert [image.name for image in read(tmp_path).images] == [
        "a/1.jpg",
        "b/1.jpg",
    ]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [
        (1, True),
        (True, True),
        ("1", True),
        (0, False),
        (False, False),
        (None, False),
    ],
)
def test_a_crowd_is_one_however_it_is_marked(value, crowd, tmp_path):
    annotation = coco()["annotations"][0] | {"iscrowd": value}
    result = read(saved(tmp_path, coco(annotations=[annotation])))
    assert result.images[0].instances[0].crowd is crowd
    assert (
        any(
            "every annotation is a crowd" in problem.reason
            for problem in result.problems
        )
        is crowd
    )


def test_an_empty_outline_does_not_hide_the_box(tmp_path):
    annotation = coco()["annotations"][0] | {"segmentation": [[]]}
    (instance,) = (
        read(saved(tmp_path, coco(annotations=[annotation])))
        .images[0]
        .instances
    )
    assert instance.outlines == () and instance.box == (10, 10, 20, 20)


def test_a_file_of_another_kind_of_coco_leaves_no_category_behind(tmp_path):
    saved(tmp_path, coco(), "a.json")
    panoptic = {
        "annotations": [{"image_id": 1, "segments_info": []}],
        "categories": [{"id": 9, "name": "sky"}],
    }
    saved(tmp_path, coco(**panoptic), "b.json")
    assert list(read(tmp_path).categories) == ["car", "dog"]


def test_images_of_one_name_in_parts_of_a_cvat_project_are_several(tmp_path):
    image = '<image id="{}" name="a.jpg" subset="{}" width="64" height="48">{}</image>'
    shape = '<ellipse label="dog" cx="20" cy="20" rx="8" ry="4"/>'
    unnamed = (
        '<image id="2"><polygon label="dog" points="1,1;5,1;5,5"/></image>'
    )
    images = image.format(0, "Train", shape) + image.format(1, "Test", shape)
    text = f"<annotations>{images}{unnamed}</annotations>"
    result = read(saved(tmp_path, text, "a.xml"))
    assert [one.name for one in result.images] == [
        "Train/a.jpg",
        "Test/a.jpg",
    ] and result.instance_count == 3
    corners = result.images[0].instances[0].outlines[0].reshape(-1, 2)
    np.testing.assert_allclose(
        [corners.min(0), corners.max(0)], [[12, 16], [28, 24]], atol=1e-9
    )
    assert [(p.action, p.reason) for p in result.problems if p.instance] == [
        ("dropped", "its image has no name")
    ]


def test_masks_of_labelme_are_read(tmp_path):
    mask = np.zeros((5, 7), np.uint8)
    mask[1:4, 2:7] = 255
    packed = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()
    shape = {
        "label": "dog",
        "shape_type": "mask",
        "points": [[10, 20], [16, 24]],
        "mask": packed,
    }
    damaged = shape | {"mask": "garbage"}
    (image,) = read(
        saved(tmp_path, LABELME | {"shapes": [shape, damaged]})
    ).images
    result = mask_of_runs(image.instances[0].runs, (48, 64))
    assert (
        result[20:25, 10:17].tolist() == (mask > 0).tolist()
        and result.sum() == 15
    )
    with pytest.raises(ValueError, match="0 x 0"):
        mask_of_runs(image.instances[1].runs, (48, 64))


def test_of_two_files_the_later_lies_in_front(tmp_path):
    for k, name in enumerate(("a.json", "b.json")):
        saved(
            tmp_path,
            coco(annotations=[coco()["annotations"][0] | {"id": k}]),
            name,
        )
    (image,) = read(tmp_path).images
    assert [(instance.rank, instance.file) for instance in image.instances] == [
        (0, ""),
        (1, "b.json"),
    ]


def test_an_annotation_that_two_files_hold_counts_once(tmp_path):
    for name in ("a.json", "b.json"):
        saved(tmp_path, coco(), name)
    result = read(tmp_path)
    assert len(result.images[0].instances) == 1 and result.instance_count == 2
    assert [
        (p.file, p.instance) for p in result.problems if p.action == "dropped"
    ] == [("b.json", "7")]
