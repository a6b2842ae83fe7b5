"""The recipe and the network of objects."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from hvd.data.scenes import CLASSES, sample_scene  # noqa: E402
from hvd.deep.training import run as begin  # noqa: E402
from hvd.deep.training.export import check_replaceable, export_task  # noqa: E402
from hvd.deep.training.loop import train  # noqa: E402
from hvd.deep.training.models.objects import ObjectNetwork  # noqa: E402
from hvd.deep.training.options import TrainOptions  # noqa: E402
from hvd.deep.training.recipes import objects as recipe  # noqa: E402
from hvd.deep.training.run import train_task  # noqa: E402
from hvd.toolkit import registry  # noqa: E402
from hvd.toolkit.core import ToolkitError  # noqa: E402
from hvd.toolkit.images import digest  # noqa: E402
from hvd.toolkit.tasks.objects.types import (  # noqa: E402
    IGNORE,
    Picture,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of scenes: 16 to train on, 4 to validate."""
    complete = tmp_path_factory.mktemp("set")
    for part, numbers in (("train", range(16)), ("val", range(16, 20))):
        for name in ("images", "masks"):
            (complete / part / name).mkdir(parents=True)
        (complete / part / "classes.json").write_text(
            json.dumps({"classes": list(CLASSES), "ignore": 255})
        )
        for k in numbers:
            image, mask, _ = sample_scene(0, k)
            cv2.imwrite(
                str(complete / part / f"images/{k}.png"), image[..., ::-1]
            )
            cv2.imwrite(str(complete / part / f"masks/{k}.png"), mask)
    return complete


def test_a_batch_depends_on_seed_and_step_alone_and_shows_every_image_once_an_epoch(
    folder,
):
    examples = recipe.data(folder, "train")
    for first, second in zip(
        recipe.batch(examples, 3, 1), recipe.batch(examples, 3, 1), strict=True
    ):
        assert torch.equal(first, second)
    images, masks, weights = recipe.batch(examples, 0, 0)
    assert (
        images.shape == (recipe.BATCH, 3, *masks.shape[1:])
        and len(masks) == recipe.BATCH
    )
    assert (
        images.min() >= 0
        and images.max() <= 1
        and set(masks.unique().tolist()) <= {*range(len(CLASSES)), IGNORE}
    )
    assert len(weights) == len(CLASSES) and weights[0] == weights.min()
    order = [
        np.random.default_rng([0, 1, epoch]).permutation(16)
        for epoch in range(2)
    ]
    assert (
        sorted(order[0]) == list(range(16)) and not (order[0] == order[1]).all()
    )


def test_half_of_the_batches_show_everything_at_half_its_size(folder):
    examples = recipe.data(folder, "train")
    sides = [recipe.batch(examples, step, 0)[1].shape[1:] for step in range(12)]
    assert set(sides) == {(128, 128), (64, 64)}
    image, mask, _ = sample_scene(0, 0)
    small, labels = recipe.halve(image, mask)
    assert (
        np.abs(small - image.reshape(64, 2, 64, 2, 3).mean((1, 3))).max() <= 0.5
    )
    assert (labels == mask[1::2, 1::2]).all()


def test_some_pictures_are_shown_as_they_will_be_met(folder):
    image, mask, _ = sample_scene(0, 0)
    rng = np.random.default_rng(0)
    frames = [recipe.reframe(image, mask, mask.shape, rng) for _ in range(60)]
    kept = [
        any(
            (frame == view).all() and (its == of).all()
            for view, of in ((image, mask), (image[:, ::-1], mask[:, ::-1]))
        )
        for frame, its in frames
    ]
    assert np.mean(kept) == pytest.approx(recipe.SHARE_UNCHANGED, abs=0.2)


def test_some_pictures_show_objects_of_another_with_their_labels():
    rng = np.random.default_rng(0)
    images = np.stack(
        [np.full((8, 8, 3), k / 20, np.float32) for k in range(20)]
    )
    masks = np.zeros((20, 8, 8), np.uint8)
    masks[:, :2], masks[:, 2:4], masks[:, 4:5] = 1, 2, IGNORE
    result, labels = recipe.mix_classes(
        images, masks, ("background", "a", "b"), rng
    )
    changed = (result != images).any((1, 2, 3))
    assert 0.2 < changed.mean() < 0.8 and (labels == masks).all()
    for k in np.flatnonzero(changed):
        covered = (result[k] != images[k])[..., 0]
        value = int(masks[k][covered][0])
        assert (
            value in (1, 2)
            and (covered == (masks[k] == value)).all()
            and (result[k][covered] == images[(k + 1) % 20, 0, 0]).all()
        )


def test_a_mask_of_0_and_255_for_0_and_1_stops_the_run_before_it_begins(
    folder, tmp_path
):
    for part in ("train", "val"):
        for name in ("images", "masks"):
            (tmp_path / part / name).mkdir(parents=True)
        (tmp_path / part / "classes.json").write_text(
            json.dumps({"classes": ["background", "thing"]})
        )
    image, mask, _ = sample_scene(0, 0)
    cv2.imwrite(str(tmp_path / "train/images/a.png"), image)
    cv2.imwrite(
        str(tmp_path / "train/masks/a.png"),
        np.where(mask > 0, 128, 0).astype(np.uint8),
    )
    with pytest.raises(ToolkitError, match=r"a\.png holds 128") as refusal:
        recipe.data(tmp_path, "train")
    assert refusal.value.status == 5
    cv2.imwrite(
        str(tmp_path / "train/masks/a.png"),
        np.where(mask > 0, 255, 0).astype(np.uint8),
    )
    with pytest.raises(
        ToolkitError,
        match=r"a\.png and all masks beside it hold 0 and 255 alone",
    ):
        recipe.data(tmp_path, "train")


@pytest.mark.parametrize("shape", [(8, 8), (33, 70), (128, 96)])
def test_the_network_answers_any_size(shape):
    network = ObjectNetwork(list("abc")).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, *shape)).shape == (1, 3, *shape)
    assert sum(parameter.numel() for parameter in network.parameters()) < 2.5e6


def test_the_loss_falls_towards_the_truth_and_ignores_what_is_unknown():
    masks = torch.randint(0, 3, (2, 16, 16))
    masks[0, :8] = IGNORE
    truth = (
        torch.nn.functional.one_hot(masks.clamp(max=2), 3)
        .permute(0, 3, 1, 2)
        .float()
    )
    weights = torch.ones(3)

    def loss(sharpness):
        return recipe.loss(
            lambda images: sharpness * truth, (None, masks, weights)
        )[0].item()

    assert loss(0.0) > loss(2.0) > loss(20.0) and loss(20.0) < 0.05
    nothing = torch.full((1, 8, 8), IGNORE)
    value, reported = recipe.loss(
        lambda images: torch.zeros(1, 3, 8, 8, requires_grad=True),
        (None, nothing, weights),
    )
    value.backward()
    assert value.item() == 0 and reported["accuracy"] == 1


def test_cross_entropy_and_dice_are_those_of_the_known_pixels():
    masks, weights, logits = (
        torch.randint(0, 3, (2, 16, 16)),
        torch.tensor([0.5, 2.0, 1.0]),
        torch.randn(2, 3, 16, 16),
    )
    masks[0, :8] = IGNORE
    reported = recipe.loss(lambda images: logits, (None, masks, weights))[1]
    entropy = torch.nn.functional.cross_entropy(
        logits, masks, weights, ignore_index=IGNORE
    )
    assert reported["cross_entropy"] == pytest.approx(entropy.item(), rel=1e-5)
    known = masks.flatten() != IGNORE
    result = logits.softmax(1).transpose(0, 1).flatten(1)[:, known]
    truth = torch.nn.functional.one_hot(masks.flatten()[known], 3).T
    dice = (2 * (result * truth).sum(1) + 1) / (
        result.sum(1) + truth.sum(1) + 1
    )
    assert reported["dice_loss"] == pytest.approx(
        1 - dice.mean().item(), rel=1e-5
    )
    assert reported["accuracy"] == pytest.approx(
        (result.argmax(0) == truth.argmax(0)).float().mean().item()
    )


def test_the_loss_of_iou_is_one_minus_iou_where_the_answer_is_sure():
    result, truth = (
        torch.nn.functional.one_hot(torch.randint(0, 3, (500,)), 4).T.float()
        for _ in range(2)
    )
    both, either = (result * truth).sum(1), torch.maximum(result, truth).sum(1)
    np.testing.assert_allclose(
        recipe.lovasz(result, truth), 1 - (both / either)[:3].mean(), rtol=1e-5
    )


def test_validation_gives_the_scores_of_the_task(folder):
    examples = recipe.data(folder, "val")

    class Oracle(torch.nn.Module):
        def forward(self, images):
            masks = [
                sample_scene(0, k)[1]
                for k in range(16, 20)
                if (
                    sample_scene(0, k)[0]
                    == (images[0].permute(1, 2, 0) * 255).round().numpy()
                ).all()
            ]
            return (
                torch.nn.functional.one_hot(
                    torch.from_numpy(masks[0]).long(), len(CLASSES)
                )
                .permute(2, 0, 1)[None]
                .float()
            )

    scores = recipe.validate(Oracle(), examples)
    assert (
        scores["score"] == scores["pooled_iou"] == scores["pixel_accuracy"] == 1
        and "iou_background" not in scores
    )


def test_rare_classes_weigh_more_by_the_root():
    weights = recipe.class_weights(
        np.array([[900, 100, 0], [900, 100, 0], [960, 0, 40]])
    )
    assert weights.numpy() == pytest.approx(
        [(0.1 / 0.92) ** 0.5, 1, (0.1 / 0.04) ** 0.5]
    )


def test_several_processes_train_one_network(folder, tmp_path):
    call = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29511",
        "-m",
        "toolkit",
        "train",
    ]
    options = [
        "objects",
        "--data",
        folder,
        "--out",
        tmp_path / "run",
        "--steps",
        "2",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [*call, *map(str, options)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    records = [
        json.loads(line)
        for line in (tmp_path / "run/history.jsonl").read_text().splitlines()
    ]
    assert [record["step"] for record in records] == [2] and (
        tmp_path / "run/best.safetensors"
    ).exists()
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


def test_two_epochs_are_trained_exported_and_used(folder, tmp_path):
    train_task(
        "objects", TrainOptions(folder, tmp_path / "run", threads=1, epochs=2)
    )
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["steps"] == 4 and record["arguments"] == {
        "classes": list(CLASSES)
    }
    path = export_task("objects", tmp_path / "run", tmp_path / "own")
    answer = registry.method("objects", "deep", str(path)).predict(
        Picture(sample_scene(0, 0)[0])
    )
    assert answer.classes == CLASSES and answer.mask.shape == (128, 128)
    index = json.loads((tmp_path / "own/index.json").read_text())
    assert index["objects.onnx"]["task"] == "objects" and index["objects.onnx"][
        "classes"
    ] == list(CLASSES)


def test_a_run_by_epochs_is_as_patient_as_the_recipe(
    folder, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        begin, "run_loop", lambda chosen, *rest: asked.append(chosen)
    )
    train_task(
        "objects", TrainOptions(folder, tmp_path / "run", threads=1, epochs=2)
    )
    (chosen,) = asked
    assert chosen.validate_every == 2
    assert (
        chosen.patience * chosen.validate_every
        >= recipe.RECIPE.patience * recipe.RECIPE.validate_every
    )


def test_a_run_ends_when_validation_has_not_improved_for_long(
    folder, tmp_path, capsys
):
    scores = iter([0.5, 0.4, 0.4, 0.9])
    hopeless = replace(
        recipe.RECIPE,
        validate=lambda network, examples: {"score": next(scores)},
        validate_every=1,
        patience=2,
    )
    train(
        hopeless,
        folder,
        tmp_path,
        50,
        0,
        1,
        False,
        None,
        lambda step, scalars: None,
    )
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "history.jsonl").read_text().splitlines()
    ]
    assert (
        steps == [1, 2, 3]
        and "ended at step 3 of 50" in capsys.readouterr().err
    )


def test_a_deeper_network_begins_as_the_one_it_grew_from():
    torch.manual_seed(0)
    before, after = (
        ObjectNetwork(list("ab")).eval(),
        ObjectNetwork(list("ab"), deeper=(0, 1, 2, 0, 1)).eval(),
    )
    grown = after.load_state_dict(before.state_dict(), strict=False)
    assert not grown.unexpected_keys and all(
        name.startswith("deeper") for name in grown.missing_keys
    )
    image = torch.rand(1, 3, 64, 96)
    assert torch.equal(before(image), after(image))
    torch.nn.init.ones_(after.deeper[2][1].second_norm.weight)
    assert not torch.allclose(before(image), after(image))


def test_weights_of_other_classes_are_a_start(folder, tmp_path, capsys):
    torch.manual_seed(0)
    other = ObjectNetwork(list("ab")).state_dict()
    save_file(
        {name: value.contiguous() for name, value in other.items()},
        tmp_path / "other.safetensors",
    )
    train_task(
        "objects",
        TrainOptions(
            folder,
            tmp_path / "run",
            steps=1,
            weights=tmp_path / "other.safetensors",
        ),
    )
    assert "classify begins anew" in capsys.readouterr().err
    result = load_file(tmp_path / "run/best.safetensors")
    assert len(result["classify.bias"]) == len(CLASSES)
    torch.testing.assert_close(
        result["enter.0.weight"], other["enter.0.weight"], atol=0.02, rtol=0
    )


def test_a_run_refused_before_it_began_leaves_its_folder_free(folder, tmp_path):
    (tmp_path / "wrong.safetensors").write_bytes(b"nothing")
    with pytest.raises(ToolkitError, match="no weights of this network"):
        train_task(
            "objects",
            TrainOptions(
                folder,
                tmp_path / "run",
                steps=1,
                weights=tmp_path / "wrong.safetensors",
            ),
        )
    assert not (tmp_path / "run/run.json").exists()


def test_a_damaged_image_of_either_part_stops_the_run_before_it_begins(
    folder, tmp_path
):
    shutil.copytree(folder, tmp_path / "set")
    image = tmp_path / "set/val/images/17.png"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(ToolkitError, match=r"17\.png is damaged") as refusal:
        train_task(
            "objects",
            TrainOptions(
                tmp_path / "set", tmp_path / "run", steps=1, threads=1
            ),
        )
    assert (
        refusal.value.status == 5 and not (tmp_path / "run/run.json").exists()
    )


def test_a_validation_part_may_show_no_object(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "set")
    for path in (tmp_path / "set/val/masks").iterdir():
        cv2.imwrite(
            str(path),
            np.where(
                np.arange(128)[:, None] < 9,
                IGNORE,
                np.zeros((128, 128), np.uint8),
            ).astype(np.uint8),
        )
    assert recipe.data(tmp_path / "set", "val").pairs


@pytest.fixture(scope="module")
def begun(folder, tmp_path_factory):
    """The folder of a run that was stopped after its first validation."""
    out = tmp_path_factory.mktemp("run") / "r"
    train_task("objects", TrainOptions(folder, out, steps=2))
    return out


@pytest.fixture
def damaged(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "r")


def other_tensors(path):
    save_file(
        {"network.one": torch.zeros(1)}, path, metadata={"progress": "{}"}
    )


DAMAGES = {
    "cut short": lambda path: path.write_bytes(
        path.read_bytes()[: path.stat().st_size // 2]
    ),
    "empty": lambda path: path.write_bytes(b""),
    "a pickle": lambda path: torch.save({"step": 1}, path),
    "other tensors": other_tensors,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_named(folder, damaged, damage):
    damage(damaged / "state.safetensors")
    with pytest.raises(ToolkitError, match=r"state\.safetensors") as error:
        train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        )
    assert error.value.status == 5


def test_the_state_of_an_earlier_version_is_not_unpickled(folder, damaged):
    (damaged / "state.safetensors").unlink()
    (damaged / "state.pt").write_bytes(b"")
    with pytest.raises(ToolkitError, match="used pickles"):
        train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        )


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", "[" * 100_000])
def test_a_damaged_record_of_a_run_is_named(folder, damaged, tmp_path, text):
    (damaged / "run.json").write_text(text)
    for begin_again in (
        lambda: train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        ),
        lambda: export_task("objects", damaged, tmp_path / "out"),
    ):
        with pytest.raises(ToolkitError, match=r"run\.json") as error:
            begin_again()
        assert error.value.status == 5


@pytest.mark.parametrize(
    "damage", [*DAMAGES.values(), save_file], ids=[*DAMAGES, "no record"]
)
def test_damaged_weights_are_named(damaged, tmp_path, damage):
    path = damaged / "best.safetensors"
    damage(load_file(path), path) if damage is save_file else damage(path)
    with pytest.raises(ToolkitError, match=r"best\.safetensors") as error:
        export_task("objects", damaged, tmp_path / "out")
    assert error.value.status == 5


def test_weights_of_other_classes_than_the_record_are_named(damaged, tmp_path):
    record = json.loads((damaged / "run.json").read_text())
    record["arguments"]["classes"] = record["arguments"]["classes"][:-1]
    (damaged / "run.json").write_text(json.dumps(record))
    with pytest.raises(ToolkitError, match=r"best\.safetensors") as error:
        export_task("objects", damaged, tmp_path / "out")
    assert error.value.status == 5


def test_a_damaged_index_is_named_before_anything_is_exported(
    damaged, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.json").write_text("{")
    with pytest.raises(ToolkitError, match=r"index\.json") as error:
        export_task("objects", damaged, tmp_path / "out")
    assert (
        error.value.status == 5 and len(list((tmp_path / "out").iterdir())) == 1
    )


def test_a_run_whose_weights_are_gone_is_not_called_done(folder, damaged):
    (damaged / "best.safetensors").unlink()
    with pytest.raises(ToolkitError, match=r"best\.safetensors"):
        train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        )


def test_a_folder_that_is_no_run_is_left_as_it_is(folder, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/best.safetensors").write_text("mine")
    for resume in (False, True):
        with pytest.raises(
            ToolkitError, match="not the folder of a run"
        ) as error:
            train_task(
                "objects",
                TrainOptions(folder, tmp_path / "r", steps=2, resume=resume),
            )
        assert error.value.status == 4
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"best.safetensors"}


def test_an_export_replaces_nothing_but_an_export(begun, tmp_path):
    (tmp_path / "e").mkdir()
    for name in ("objects.onnx", "objects.safetensors"):
        (tmp_path / "e" / name).write_text("mine")
        with pytest.raises(
            ToolkitError, match="was not written by an export"
        ) as error:
            export_task("objects", begun, tmp_path / "e")
        assert (
            error.value.status == 4
            and (tmp_path / "e" / name).read_text() == "mine"
        )
        (tmp_path / "e" / name).unlink()
    for name in ("objects.onnx", "objects.safetensors"):
        (tmp_path / "e" / name).write_bytes(b"exported")
    index = {"objects.onnx": {"sha256": digest(tmp_path / "e/objects.onnx")}}
    check_replaceable(tmp_path / "e", "objects", index)  # raises nothing


def changed_record(path, **changes):
    """Best weights with another record."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        record = json.loads(file.metadata()["record"])
    save_file(
        load_file(path), path, metadata={"record": json.dumps(record | changes)}
    )


@pytest.mark.parametrize(
    "changes", [{"seconds": "x"}, {"score": None}, {"step": "one"}]
)
def test_weights_with_a_record_of_no_numbers_are_named(
    damaged, tmp_path, changes
):
    changed_record(damaged / "best.safetensors", **changes)
    with pytest.raises(ToolkitError, match=r"best\.safetensors") as error:
        export_task("objects", damaged, tmp_path / "out")
    assert error.value.status == 5


def test_a_state_of_another_optimiser_is_named(folder, damaged):
    path = damaged / "state.safetensors"
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        described = file.metadata()
    more = {"optimizer.9999.exp_avg": torch.zeros(1)}
    save_file(load_file(path) | more, path, metadata=described)
    with pytest.raises(ToolkitError, match=r"state\.safetensors"):
        train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        )


def test_a_history_that_lacks_what_is_drawn_of_it_is_named(folder, damaged):
    (damaged / "history.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ToolkitError, match=r"history\.jsonl") as error:
        train_task(
            "objects", TrainOptions(folder, damaged, steps=2, resume=True)
        )
    assert error.value.status == 5
