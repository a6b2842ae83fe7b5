"""From annotations to a data set: every image and every instance is accounted for."""

import json
import shutil
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pycocotools", reason="preparing needs the extra [prepare]")

from hvd.data import scenes
from hvd.data.preparation import run as preparation
from hvd.data.preparation import split as parts
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.run import prepare_data_set
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.locking import LOCK, hold_lock
from hvd.toolkit.tasks.objects.dataset import data_set, read_pair

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    """Forty scenes with COCO annotations."""
    folder = tmp_path_factory.mktemp("scenes") / "set"
    assert list(scenes.prepare_scenes(folder, 40, 1, 1))[-1] == 40
    return folder


@pytest.fixture
def scene_options(scene_folder):
    return PrepareOptions(
        scene_folder / "annotations.json",
        scene_folder / "images",
        size=(128, 128),
    )


def run(options, out, shard=None, resume=False):
    for _ in prepare_data_set(options, out, 1, shard, resume):
        pass
    return (
        json.loads((out / "report.json").read_text()) if shard is None else None
    )


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def photograph(path, width=64, height=48, seed=0, exif=None):
    """A smooth picture, unlike those of other seeds."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = Image.Exif()
    if exif:
        meta[0x0112] = exif
    Image.fromarray(image).save(
        path, quality=95, exif=meta
    ) if path.suffix == ".jpg" else cv2.imwrite(str(path), image)
    return image


def coco(tmp_path, images, annotations):
    """Options for a COCO file of images (name, width, height) and annotations."""
    document = {
        "images": [
            {"id": k, "file_name": name, "width": w, "height": h}
            for k, (name, w, h) in enumerate(images)
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "car"}],
        "annotations": [
            {
                "id": k,
                "image_id": image,
                "category_id": 1,
                "segmentation": segmentation,
                **changes,
            }
            for k, (image, segmentation, changes) in enumerate(annotations)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    return PrepareOptions(
        tmp_path / "a.json", tmp_path / "images", size=(64, 48)
    )


def masks(out):
    """Masks by the names of their images, of all parts."""
    return {
        path.stem: cv2.imread(str(path), -1)
        for path in out.glob("*/masks/*.png")
    }


def reasons(report, action):
    return [
        one["reason"] for one in report["problems"] if one["action"] == action
    ]


def test_scenes_are_prepared_to_the_masks_they_were_drawn_with(
    scene_options, tmp_path
):
    report = run(scene_options, tmp_path / "out")
    assert (
        report["classes"] == list(scenes.CLASSES)
        and report["images"]["written"] == 40
    )
    assert (
        report["instances"]["annotated"]
        == report["instances"]["kept"] + report["instances"]["dropped"]
    )
    scene_order = replace(scene_options, priority="order")
    run(scene_order, tmp_path / "ordered")
    for name, mask in masks(tmp_path / "ordered").items():
        assert (mask == scenes.sample_scene(1, int(name))[1]).mean() > 0.98
    parts = [
        len(data_set(tmp_path / "out" / part).pairs)
        for part in ("train", "val", "test")
    ]
    assert sum(parts) == 40 and parts[0] >= 30 and min(parts) >= 3
    result = data_set(tmp_path / "out/train")
    image, mask = read_pair(result.pairs[0], len(result.classes))
    original = cv2.imread(
        str(scene_options.images / f"{result.pairs[0][0].stem}.png")
    )[..., ::-1]
    assert np.abs(image.astype(int) - original).mean() < 6 and mask.shape == (
        128,
        128,
    )
    lines = [
        json.loads(line)
        for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 40 and {line["part"] for line in lines} == {
        "train",
        "val",
        "test",
    }
    assert all(sum(line["pixels"].values()) == 128 * 128 for line in lines)


def test_a_run_cut_short_and_resumed_or_shared_out_ends_in_the_same_bytes(
    scene_options, tmp_path, monkeypatch
):
    monkeypatch.setattr(preparation, "CHUNK", 8)
    run(scene_options, tmp_path / "whole")
    wanted = files(tmp_path / "whole")
    steps = prepare_data_set(scene_options, tmp_path / "cut", 1, None, False)
    next(steps), next(steps)
    steps.close()
    assert (
        not (tmp_path / "cut").exists()
        and len(list((tmp_path / "cut.unfinished/chunks").iterdir())) >= 1
    )
    with pytest.raises(ToolkitError, match="unfinished run") as refusal:
        run(scene_options, tmp_path / "cut")
    assert refusal.value.status == 2
    with pytest.raises(ToolkitError, match="other options"):
        run(replace(scene_options, seed=5), tmp_path / "cut", resume=True)
    run(scene_options, tmp_path / "cut", resume=True)
    assert files(tmp_path / "cut") == wanted
    for k in (3, 1, 2):
        run(scene_options, tmp_path / "shared", shard=(k, 3))
    assert not (tmp_path / "shared").exists()
    run(scene_options, tmp_path / "shared", resume=True)
    assert files(tmp_path / "shared") == wanted
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_run_killed_while_it_moves_files_is_finished_by_the_next(
    scene_options, tmp_path, monkeypatch
):
    run(scene_options, tmp_path / "whole")
    moves, move = [], preparation.os.replace

    def stops(source, target):
        moves.append(source)
        if len(moves) == 30:
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(preparation.os, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        run(scene_options, tmp_path / "cut")
    monkeypatch.undo()
    run(scene_options, tmp_path / "cut", resume=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_what_is_wrong_with_images_is_reported_and_every_instance_is_accounted_for(
    tmp_path,
):
    folder = tmp_path / "images"
    for k, name in enumerate(
        [
            "good.jpg",
            "other.png",
            "sub/deep.png",
            "lonely.png",
            "small.png",
            "empty.png",
        ]
    ):
        photograph(folder / name, seed=k)
    complete = (folder / "good.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(complete[: len(complete) // 3])
    (folder / "text.jpg").write_text("not an image")
    (folder / "note.txt").write_text("a note")
    names = [
        "good.jpg",
        "other.png",
        "deep.png",
        "small.png",
        "empty.png",
        "cut.jpg",
        "text.jpg",
        "gone.jpg",
        "../secret.jpg",
        "/etc/a.jpg",
    ]
    sizes = {"small.png": (640, 480)}
    options = coco(
        tmp_path,
        [(n, *sizes.get(n, (64, 48))) for n in names],
        [(k, [SQUARE], {}) for k in range(10) if k != 4],
    )
    (tmp_path / "secret.jpg").write_bytes(complete)
    report = run(options, tmp_path / "out")
    counts = report["instances"]
    assert (
        counts["annotated"] == 9 == counts["kept"] + counts["dropped"]
        and counts["kept"] == 3
    )
    reported = {
        one["image"]: one["reason"]
        for one in report["problems"]
        if one["action"] == "skipped"
    }
    assert (
        "its annotations are for 640 x 480" in reported["small.png"]
        and "cut short" in reported["cut.jpg"]
    )
    assert (
        "not an image" in reported["text.jpg"]
        and "no such image" in reported["gone.jpg"]
        and "no annotations" in reported["lonely.png"]
    )
    assert (
        "leaves the folder" in reported["../secret.jpg"]
        and "leaves the folder" in reported["/etc/a.jpg"]
    )
    assert "note.txt" not in reported
    assert {"good", "other", "deep"} <= set(masks(tmp_path / "out"))
    dropped = [one for one in report["problems"] if one["action"] == "dropped"]
    assert len(dropped) == 6 and all(
        one["instance"] and one["file"] == "a.json" and one["category"] == "dog"
        for one in dropped
    )


def test_images_that_show_nothing_are_left_out_of_training(tmp_path):
    for k in range(20):
        photograph(tmp_path / f"images/{k:02d}.png", seed=k)
    options = coco(
        tmp_path,
        [(f"{k:02d}.png", 64, 48) for k in range(20)],
        [(k, [SQUARE], {}) for k in range(10)],
    )
    report = run(options, tmp_path / "out")
    left_out = [
        one["image"]
        for one in report["problems"]
        if "no object" in one["reason"]
    ]
    assert left_out and all(int(name[:2]) >= 10 for name in left_out)
    for part in ("train", "val", "test"):
        names = [
            path.stem for path in (tmp_path / "out" / part / "masks").iterdir()
        ]
        assert part != "train" or all(int(name) < 10 for name in names)
    assert (
        report["images"]["written"]
        == 20 - len(left_out)
        == len(masks(tmp_path / "out"))
    )


def test_categories_that_are_not_taken_are_dropped_and_reported(tmp_path):
    photograph(tmp_path / "images/a.png")
    other = [40, 10, 60, 10, 60, 30, 40, 30]
    annotations = [(0, [SQUARE], {}), (0, [other], {"category_id": 2})]
    options = coco(tmp_path, [("a.png", 64, 48)], annotations)
    report = run(replace(options, classes=("car",)), tmp_path / "car")
    (mask,) = masks(tmp_path / "car").values()
    assert (
        report["classes"] == ["background", "car"]
        and mask[20, 50] == 1
        and mask[20, 20] == 0
    )
    assert reasons(report, "dropped") == ["its class is not chosen"]
    run(replace(options, classes=("car", "dog")), tmp_path / "both")
    (mask,) = masks(tmp_path / "both").values()
    assert mask[20, 50] == 1 and mask[20, 20] == 2
    report = run(replace(options, mode="binary"), tmp_path / "binary")
    (mask,) = masks(tmp_path / "binary").values()
    assert (
        report["classes"] == ["background", "object"]
        and mask[20, 50] == 1
        and mask[20, 20] == 1
    )
    run(replace(options, mode="instances"), tmp_path / "instances")
    numbers = cv2.imread(
        str(next((tmp_path / "instances").glob("*/instances/a.png"))), -1
    )
    assert (
        numbers.dtype == np.uint16
        and {numbers[20, 50], numbers[20, 20]} == {1, 2}
        and numbers[40, 5] == 0
    )
    with pytest.raises(ToolkitError, match="no class cat") as refusal:
        run(replace(options, classes=("cat",)), tmp_path / "cat")
    assert refusal.value.status == 5 and "car" in refusal.value.remedy


def test_instances_of_an_image_left_out_of_training_are_accounted_for(tmp_path):
    for k in range(30):
        photograph(tmp_path / f"images/{k}.png", seed=k)
    crowds = [(k, [SQUARE], {"iscrowd": int(k < 29)}) for k in range(30)]
    report = run(
        coco(tmp_path, [(f"{k}.png", 64, 48) for k in range(30)], crowds),
        tmp_path / "out",
    )
    counts, images = report["instances"], report["images"]
    reported = [
        one
        for one in report["problems"]
        if "left out of train" in one["reason"] and one["action"] == "dropped"
    ]
    assert (
        len({one["instance"] for one in reported})
        == len(reported)
        == counts["dropped"]
        == images["skipped"]
        >= 20
    )
    assert counts["kept"] == images["written"] == 30 - len(reported)


def test_images_that_show_no_object_at_all_make_no_data_set(tmp_path):
    photograph(tmp_path / "images/a.png")
    with pytest.raises(ToolkitError, match="it shows no object") as refusal:
        run(
            coco(
                tmp_path, [("a.png", 64, 48)], [(0, [SQUARE], {"iscrowd": 1})]
            ),
            tmp_path / "out",
        )
    assert refusal.value.status == 5 and list(tmp_path.glob("out*")) == []


def test_near_duplicates_lie_in_one_part(tmp_path):
    names = []
    for k in range(30):
        image = photograph(tmp_path / f"images/{k:02d}a.png", seed=k)
        cv2.imwrite(
            str(tmp_path / f"images/{k:02d}b.png"),
            np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8),
        )
        names += [f"{k:02d}a.png", f"{k:02d}b.png"]
    options = coco(
        tmp_path,
        [(name, 64, 48) for name in names],
        [(k, [SQUARE], {}) for k in range(60)],
    )
    run(options, tmp_path / "out")
    parts = {
        path.stem: path.parent.parent.name
        for path in (tmp_path / "out").glob("*/masks/*.png")
    }
    assert len(parts) == 60 and all(
        parts[f"{k:02d}a"] == parts[f"{k:02d}b"] for k in range(30)
    )
    assert min(Counter(parts.values()).values()) >= 4


def test_hashes_alike_are_found_as_by_comparing_all(tmp_path):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 60).tolist()
    for k in range(40):
        changed = hashes[k] ^ sum(
            1 << int(bit) for bit in rng.permutation(64)[: k % 8]
        )
        hashes.append(changed)
    together = {tuple(group) for group in parts.near_duplicate_groups(hashes)}
    leaders = {
        k: {
            j
            for j in range(100)
            if (hashes[k] ^ hashes[j]).bit_count() <= parts.ALIKE
        }
        for k in range(100)
    }
    for group in together:
        assert set().union(*(leaders[k] for k in group)) == set(group)


def test_the_report_is_safe_to_open_whatever_names_say(tmp_path):
    name = "<script>alert(1)<"
    photograph(tmp_path / f"images/{name}.png")
    options = coco(
        tmp_path,
        [(f"{name}.png", 64, 48)],
        [(0, [SQUARE], {}), (0, [[1, 2]], {})],
    )
    report = run(options, tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert (
        "<script" not in page
        and "&lt;script&gt;" in page
        and "http" not in page.replace("http-equiv", "")
    )
    assert report["instances"]["dropped"] == 1


def test_a_run_that_found_no_image_leaves_nothing_in_the_way(
    scene_options, tmp_path
):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ToolkitError, match="No image could be prepared"):
        run(replace(scene_options, images=tmp_path / "empty"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    run(scene_options, tmp_path / "out")


def test_temporaries_of_a_killed_run_do_not_end_in_the_data_set(
    scene_options, tmp_path
):
    run(scene_options, tmp_path / "whole")
    steps = prepare_data_set(scene_options, tmp_path / "cut", 1, None, False)
    next(steps)
    steps.close()
    (tmp_path / "cut.unfinished/.report.html.abc").write_text("half")
    run(scene_options, tmp_path / "cut", resume=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    "classes", [("disc", "disc"), ("background",), ("disc", "background")]
)
def test_classes_that_training_would_refuse_are_refused_at_once(
    classes, scene_options, tmp_path
):
    with pytest.raises(ToolkitError):
        run(replace(scene_options, classes=classes), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_class_called_as_pixels_without_one_are_is_refused(tmp_path):
    photograph(tmp_path / "images/a.png")
    options = coco(tmp_path, [("a.png", 64, 48)], [(0, [SQUARE], {})])
    options.annotations.write_text(
        options.annotations.read_text().replace('"car"', '"ignored"')
    )
    with pytest.raises(ToolkitError, match="called ignored") as refusal:
        run(options, tmp_path / "out")
    assert refusal.value.status == 5 and "--classes" in refusal.value.remedy
    assert run(replace(options, classes=("dog",)), tmp_path / "out")[
        "classes"
    ] == [
        "background",
        "dog",
    ]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"images": "nowhere"}, 5, "no folder"),
        ({"annotations": "nowhere.json"}, 5, "no annotations"),
    ],
)
def test_a_call_that_cannot_be_served_leaves_nothing(
    change, status, words, scene_options, tmp_path
):
    options = replace(
        scene_options,
        **{name: tmp_path / value for name, value in change.items()},
    )
    with pytest.raises(ToolkitError, match=words) as refusal:
        run(options, tmp_path / "out")
    assert refusal.value.status == status and list(tmp_path.iterdir()) == []


def test_an_output_that_is_there_or_inside_the_images_is_refused(
    scene_options, tmp_path
):
    (tmp_path / "out").mkdir()
    with pytest.raises(ToolkitError, match="there already"):
        run(scene_options, tmp_path / "out")
    with pytest.raises(ToolkitError, match="which is read"):
        run(scene_options, scene_options.images / "out")


def test_two_runs_do_not_write_to_one_output(scene_options, tmp_path):
    work = tmp_path / "out.unfinished"
    work.mkdir()
    with ExitStack() as stack:
        hold_lock(stack, work / LOCK, shared=False)
        with pytest.raises(ToolkitError, match="Another run") as refusal:
            run(scene_options, tmp_path / "out")
    assert refusal.value.status == 4
    run(scene_options, tmp_path / "out")
    assert not work.exists() and not (tmp_path / "out" / LOCK).exists()


def test_two_objects_of_one_id_are_reported_apart(tmp_path):
    photograph(tmp_path / "images/a.png")
    photograph(tmp_path / "images/b.png", seed=1)
    bow_ties = [
        (image, [[x, 5, x + 20, 25, x + 20, 5, x, 25]], {"id": 5})
        for image, x in ((0, 5), (0, 35), (1, 5))
    ]
    report = run(
        coco(tmp_path, [("a.png", 64, 48), ("b.png", 64, 48)], bow_ties),
        tmp_path / "out",
    )
    assert report["instances"] == {
        "annotated": 3,
        "kept": 3,
        "dropped": 0,
        "repaired": 3,
        "clipped": 0,
    }
    repaired = {
        (one["image"], one["instance"])
        for one in report["problems"]
        if one["action"] == "repaired"
    }
    assert repaired == {("a.png", "5"), ("a.png", "5 (2)"), ("b.png", "5")}
    assert reasons(report, "noted") == [
        "another annotation has its id: it is called 5 (2)",
        "another annotation has its id",
    ]


def test_overlaps_and_near_duplicates_are_counted(tmp_path):
    photograph(tmp_path / "images/a.png")
    photograph(tmp_path / "images/b.png")
    under, over = (
        [10, 10, 30, 10, 30, 30, 10, 30],
        [20, 20, 40, 20, 40, 35, 20, 35],
    )
    options = coco(
        tmp_path,
        [("a.png", 64, 48), ("b.png", 64, 48)],
        [(0, [under], {}), (0, [over], {}), (1, [under], {})],
    )
    report = run(options, tmp_path / "out")
    assert report["overlaps"] == {"images": 1, "pixels": 100} and report[
        "near_duplicates"
    ] == [["a.png", "b.png"]]


def test_what_keeps_a_set_from_being_prepared_is_reported(tmp_path):
    photograph(tmp_path / "images/a.png")
    box = {"segmentation": [], "bbox": [10, 10, 20, 20]}
    options = coco(tmp_path, [("a.png", 64, 48)], [(0, [], box)])
    with pytest.raises(ToolkitError, match="--boxes takes it"):
        run(options, tmp_path / "out")
    assert (
        run(replace(options, boxes=True), tmp_path / "out")["instances"]["kept"]
        == 1
    )


def test_a_size_below_what_the_task_takes_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match="too small"):
        run(
            PrepareOptions(tmp_path / "a.json", tmp_path, size=(4, 64)),
            tmp_path / "out",
        )


def test_a_run_over_other_images_than_it_was_begun_with_is_refused(tmp_path):
    names = [(f"{k:03d}.png", 64, 48) for k in range(140)]
    for k, (name, *_) in enumerate(names):
        photograph(tmp_path / ("late" if k < 10 else "images") / name, seed=k)
    options = coco(tmp_path, names, [(k, [SQUARE], {}) for k in range(140)])
    run(options, tmp_path / "set", shard=(1, 2))
    for path in (tmp_path / "late").iterdir():
        shutil.copy(path, tmp_path / "images")
    for shard in (None, (2, 2)):
        with pytest.raises(ToolkitError, match="130, now 140") as error:
            run(options, tmp_path / "set", shard=shard, resume=True)
        assert error.value.status == 2
    assert not (tmp_path / "set").exists()


def test_an_image_that_changed_since_is_prepared_again(tmp_path):
    names = [(f"{k:03d}.png", 64, 48) for k in range(70)]
    for k, (name, *_) in enumerate(names):
        photograph(tmp_path / "images" / name, seed=k)
    (tmp_path / "images/001.png").write_bytes(b"no image")
    options = coco(tmp_path, names, [(k, [SQUARE], {}) for k in range(70)])
    run(options, tmp_path / "set", shard=(1, 2))
    photograph(tmp_path / "images/000.png", seed=1000)
    photograph(tmp_path / "images/001.png", seed=1001)
    run(options, tmp_path / "set", resume=True)
    run(options, tmp_path / "fresh")
    assert files(tmp_path / "set") == files(tmp_path / "fresh")


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_damaged_options_of_an_unfinished_run_are_named(
    scene_options, tmp_path, text
):
    run(scene_options, tmp_path / "set", shard=(1, 2))
    (tmp_path / "set.unfinished/options.json").write_text(text)
    with pytest.raises(ToolkitError, match=r"options\.json") as error:
        run(scene_options, tmp_path / "set", resume=True)
    assert error.value.status == 5


def test_a_file_name_of_300_letters_is_skipped_and_the_others_are_prepared(
    tmp_path,
):
    photograph(tmp_path / "images/a.png")
    names = [("a.png", 64, 48), (f"{'x' * 300}.png", 64, 48)]
    report = run(
        coco(tmp_path, names, [(k, [SQUARE], {}) for k in range(2)]),
        tmp_path / "set",
    )
    assert reasons(report, "skipped") == ["there is no such image"]


@pytest.mark.parametrize("name", [".notes", "notes.txt", "images/mine.jpg"])
def test_an_unfinished_folder_that_no_run_began_is_left_alone(
    scene_options, tmp_path, name
):
    path = tmp_path / "set.unfinished" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for resume in (False, True):
        with pytest.raises(ToolkitError, match="files of no run") as error:
            run(scene_options, tmp_path / "set", resume=resume)
        assert error.value.status == 4 and path.read_text() == "mine"


def test_nothing_is_written_through_a_link_in_an_unfinished_run(
    scene_options, tmp_path
):
    run(scene_options, tmp_path / "set", shard=(1, 2))
    (tmp_path / "victim").write_text("mine")
    first = next((tmp_path / "set.unfinished/images").iterdir())
    first.unlink()
    first.symlink_to(tmp_path / "victim")
    run(scene_options, tmp_path / "set", resume=True)
    assert (tmp_path / "victim").read_text() == "mine"
    run(scene_options, tmp_path / "other", shard=(1, 2))
    shutil.move(tmp_path / "other.unfinished/masks", tmp_path / "masks")
    (tmp_path / "other.unfinished/masks").symlink_to(tmp_path / "masks")
    with pytest.raises(ToolkitError, match="files of no run"):
        run(scene_options, tmp_path / "other", resume=True)


@pytest.mark.parametrize("damage", ["removed", "replaced", "list"])
def test_files_of_an_unfinished_run_that_changed_are_made_again(
    scene_options, tmp_path, damage
):
    run(scene_options, tmp_path / "whole")
    run(scene_options, tmp_path / "cut", shard=(1, 1))
    work = tmp_path / "cut.unfinished"
    first, second = sorted((work / "masks").iterdir())[:2]
    if damage == "removed":
        first.unlink()
    elif damage == "replaced":
        first.write_bytes(second.read_bytes())
    else:
        path = work / "chunks/000000.jsonl"
        path.write_text(path.read_text().replace('"hash": "', '"hash": "zz'))
    run(scene_options, tmp_path / "cut", resume=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
