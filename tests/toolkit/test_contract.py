"""What every method of every task must keep."""

from dataclasses import replace

import numpy as np
import pytest

from hvd.data.scenes import CLASSES, sample_scene
from hvd.toolkit import registry
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.fragments.types import Heap
from hvd.toolkit.tasks.grains.types import Micrograph
from hvd.toolkit.tasks.lines.masks import TASK_MASK, random_lines, stripes
from hvd.toolkit.tasks.lines.types import Scans
from hvd.toolkit.tasks.objects.types import Picture

FRAGMENTS, GRAINS, LINES, OBJECTS = (
    list(registry.METHODS[task])
    for task in ("fragments", "grains", "lines", "objects")
)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_an_answer_has_one_place_for_every_fragment_and_no_two_share_it(
    name, heap_sample
):
    answer = registry.method("fragments", name).predict(heap_sample.inputs)
    count = len(heap_sample.inputs.fragments)
    for part in (answer.group, answer.row, answer.column, answer.turn):
        assert (
            part.shape == (count,)
            and part.dtype == np.int32
            and part.min() >= 0
        )
    assert answer.confidence.shape == (count,)
    assert answer.confidence.min() >= 0 and answer.confidence.max() <= 1
    assert set(answer.group) == set(range(answer.group.max() + 1))
    assert (
        len(set(zip(answer.group, answer.row, answer.column, strict=True)))
        == count
    )


@pytest.mark.parametrize("name", FRAGMENTS)
def test_the_same_question_gets_the_same_answer_and_stays_as_it_was(
    name, heap_sample
):
    method = registry.method("fragments", name)
    before = heap_sample.inputs.fragments.copy()
    first, second = (
        method.predict(heap_sample.inputs),
        method.predict(heap_sample.inputs),
    )
    for part in ("group", "row", "column", "turn", "confidence"):
        np.testing.assert_array_equal(
            getattr(first, part), getattr(second, part)
        )
    np.testing.assert_array_equal(heap_sample.inputs.fragments, before)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_the_order_of_fragments_permutes_the_answer_and_nothing_else(
    name, heap_sample
):
    method = registry.method("fragments", name)
    heap = heap_sample.inputs
    order = np.random.default_rng(5).permutation(len(heap.fragments))
    first = method.predict(heap)
    second = method.predict(replace(heap, fragments=heap.fragments[order]))
    for part in ("group", "row", "column", "turn", "confidence"):
        np.testing.assert_array_equal(
            getattr(first, part)[order], getattr(second, part)
        )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "known", [(None, False), (1, False), (2, True), (2, False)]
)
@pytest.mark.parametrize("name", FRAGMENTS)
def test_the_smallest_legal_heap_gets_an_answer(name, known, turned):
    fragments = np.random.default_rng(0).integers(
        0, 256, (2, 4, 4, 3), np.uint8
    )
    answer = registry.method("fragments", name).predict(
        Heap(fragments, turned, *known)
    )
    assert (
        len(set(zip(answer.group, answer.row, answer.column, strict=True))) == 2
    )
    if name not in ("trivial", "hdbscan") and known[0]:
        assert len(np.unique(answer.group)) == known[0]


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_of_a_single_colour_get_an_answer(name):
    fragments = np.full((12, 8, 8, 3), 128, np.uint8)
    answer = registry.method("fragments", name).predict(
        Heap(fragments, False, 3, True)
    )
    if name not in ("trivial", "hdbscan"):
        assert np.bincount(answer.group).tolist() == [4, 4, 4]
    assert (
        len(set(zip(answer.group, answer.row, answer.column, strict=True)))
        == 12
    )


GOOD = np.zeros((4, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "malformed",
    [
        {"fragments": GOOD[:0]},
        {"fragments": GOOD[:1]},
        {"fragments": np.zeros((2001, 4, 4, 3), np.uint8)},
        {"fragments": GOOD[:, :3, :3]},
        {"fragments": GOOD[:, :, :12]},
        {"fragments": GOOD[..., 0]},
        {"fragments": GOOD.astype(np.float32)},
        {"fragments": GOOD.astype(object)},
        {"fragments": [[1, 2], [3, 4]]},
        {"fragments": GOOD, "images": 5},
        {"fragments": GOOD, "images": 0},
        {"fragments": GOOD, "images": 3, "equal": True},
        {"fragments": GOOD, "equal": True},
    ],
    ids=lambda m: (
        f"{getattr(m['fragments'], 'shape', 'list')}-"
        f"{getattr(m['fragments'], 'dtype', '')}-{m.get('images')}"
    ),
)
def test_no_method_can_be_shown_a_malformed_heap(malformed):
    with pytest.raises(ToolkitError) as error:
        Heap(**malformed)
    assert error.value.reason and error.value.remedy


def test_a_method_that_does_not_exist_is_refused_with_the_names_that_do():
    with pytest.raises(ToolkitError, match="baseline") as error:
        registry.method("fragments", "magic")
    assert error.value.status == 2


def test_a_heap_from_an_array_cannot_be_changed_and_leaves_the_array_free():
    array = GOOD.copy()
    with pytest.raises(ValueError, match="read-only"):
        Heap(array).fragments[0] = 1
    array[0] = 1


def test_a_sample_cannot_be_changed(heap_sample):
    with pytest.raises(ValueError, match="read-only"):
        heap_sample.inputs.fragments[0] = 0


@pytest.mark.parametrize("name", GRAINS)
def test_an_answer_is_a_mask_and_a_partition_of_the_micrograph(
    name, micrograph_sample
):
    image = micrograph_sample.inputs.image
    answer = registry.method("grains", name).predict(micrograph_sample.inputs)
    assert (
        answer.mask.shape
        == answer.labels.shape
        == answer.lines.shape
        == image.shape
    )
    assert answer.mask.dtype == bool and answer.labels.dtype == np.int32
    numbers = np.unique(answer.labels)
    assert numbers.tolist() == list(
        range(1, len(numbers) + 1)
    ) or numbers.tolist() == [0]
    if answer.labels.any():
        assert answer.mask[answer.lines].all()


@pytest.mark.parametrize("name", GRAINS)
def test_the_same_micrograph_gets_the_same_answer_and_stays_as_it_was(
    name, micrograph_sample
):
    method, before = (
        registry.method("grains", name),
        micrograph_sample.inputs.image.copy(),
    )
    first, second = (
        method.predict(micrograph_sample.inputs),
        method.predict(micrograph_sample.inputs),
    )
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(micrograph_sample.inputs.image, before)


@pytest.mark.parametrize("name", GRAINS)
def test_a_micrograph_of_16_bits_gets_the_answer_of_the_same_one_of_8(
    name, micrograph_sample
):
    method, image = (
        registry.method("grains", name),
        micrograph_sample.inputs.image,
    )
    for levels in (257, 16):  # 16 bits, and 12 bits in a file of 16
        wide = method.predict(Micrograph(image.astype(np.uint16) * levels))
        np.testing.assert_array_equal(
            wide.labels, method.predict(Micrograph(image)).labels
        )


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(16, 16), (16, 301), (77, 50)])
@pytest.mark.parametrize("name", GRAINS)
def test_a_flat_micrograph_of_any_size_gets_an_answer(name, shape, tone):
    answer = registry.method("grains", name).predict(
        Micrograph(np.full(shape, tone, np.uint8))
    )
    assert answer.labels.shape == shape
    if name in ("trivial", "baseline", "deep"):
        assert (answer.labels == 1).all()


@pytest.mark.parametrize(
    "malformed",
    [
        np.zeros((15, 40), np.uint8),
        np.zeros((40, 40, 3), np.uint8),
        np.zeros((40, 40), np.float32),
        [[1, 2], [3, 4]],
    ],
    ids=["small", "colour", "float", "list"],
)
def test_no_method_can_be_shown_a_malformed_micrograph(malformed):
    with pytest.raises(ToolkitError) as error:
        Micrograph(malformed)
    assert error.value.reason and error.value.remedy


def asked(images, mask):
    mask = np.broadcast_to(mask, images.shape).copy()
    return Scans(np.where(mask, 0, images).astype(np.float32), mask)


@pytest.mark.parametrize("name", LINES)
def test_measured_pixels_come_back_to_the_last_bit_and_missing_ones_in_range(
    name, heads
):
    scans = asked(heads[:3], TASK_MASK)
    answer = registry.method("lines", name).predict(scans)
    assert (
        answer.images.shape == scans.images.shape
        and answer.images.dtype == np.float32
    )
    np.testing.assert_array_equal(
        answer.images[~scans.missing], scans.images[~scans.missing]
    )
    assert answer.images.min() >= 0 and answer.images.max() <= 1
    if answer.uncertainty is not None:
        assert (
            answer.uncertainty.shape == scans.images.shape
            and not answer.uncertainty[~scans.missing].any()
        )


EVEN, HOLED = np.full((2, 8, 8), 0.5, np.float32), np.zeros((2, 8, 8), bool)


@pytest.mark.parametrize(
    "malformed",
    [
        ([[0.5]], HOLED),
        (EVEN.astype(np.float64), HOLED),
        (EVEN.astype(np.complex64), HOLED),
        (EVEN[0], HOLED[0]),
        (EVEN[:0], HOLED[:0]),
        (EVEN[:, :7], HOLED[:, :7]),
        (EVEN, HOLED[:1]),
        (EVEN, HOLED.astype(np.uint8)),
        (EVEN * 3, HOLED),
        (EVEN * np.float32(np.nan), HOLED),
        (EVEN * 0, ~HOLED),
        (EVEN, np.arange(128).reshape(2, 8, 8) % 2 == 0),
    ],
    ids=[
        "list",
        "double",
        "complex",
        "flat",
        "none",
        "small",
        "fewer",
        "bytes",
        "bright",
        "nan",
        "empty",
        "filled",
    ],
)
def test_no_method_can_be_shown_malformed_scans(malformed):
    with pytest.raises(ToolkitError) as error:
        Scans(*malformed)
    assert error.value.reason and error.value.remedy


@pytest.mark.parametrize("name", LINES)
def test_the_same_scans_get_the_same_answer_in_any_order_and_stay_as_they_were(
    name, heads
):
    method, scans = registry.method("lines", name), asked(heads[:3], TASK_MASK)
    before = scans.images.copy()
    first, second = method.predict(scans), method.predict(scans)
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(scans.images, before)
    turned = method.predict(asked(heads[:3][::-1], TASK_MASK))
    np.testing.assert_allclose(turned.images[::-1], first.images, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (9, 33), (70, 31)])
@pytest.mark.parametrize("name", [name for name in LINES if name != "lmmse"])
def test_scans_of_any_size_under_any_mask_get_an_answer(name, shape):
    rng = np.random.default_rng(0)
    images = rng.random((2, *shape), np.float32)
    for mask in (
        stripes(shape, 1, 2, 0),
        stripes(shape, 3, 5, 60),
        random_lines(shape, 0.5, True, rng),
        rng.random(shape) < 0.9,
    ):
        answer = registry.method("lines", name).predict(asked(images, mask))
        assert np.isfinite(answer.images).all()
        np.testing.assert_array_equal(answer.images[:, ~mask], images[:, ~mask])


@pytest.mark.parametrize("name", LINES)
def test_scans_without_a_missing_pixel_come_back(name, heads):
    scans = asked(heads[:2], np.zeros((64, 64), bool))
    np.testing.assert_array_equal(
        registry.method("lines", name).predict(scans).images, scans.images
    )


@pytest.mark.parametrize("tone", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "name", [name for name in LINES if name not in ("trivial", "lmmse")]
)
def test_an_even_scan_is_filled_with_its_tone(name, tone):
    answer = registry.method("lines", name).predict(
        asked(np.full((1, 64, 64), tone, np.float32), TASK_MASK)
    )
    np.testing.assert_allclose(answer.images, tone, atol=0.06)


@pytest.mark.parametrize("classes", [CLASSES, None])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_answer_is_a_class_for_every_pixel_the_same_twice(name, classes):
    image = sample_scene(3, 0)[0]
    method, before = registry.method("objects", name), image.copy()
    first, second = (method.predict(Picture(image, classes)) for _ in range(2))
    assert first.mask.shape == image.shape[:2] and first.mask.dtype == np.uint8
    assert first.mask.max() < len(first.classes) and classes in (
        None,
        first.classes,
    )
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(8, 8), (9, 301), (77, 50)])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_even_picture_of_any_size_gets_an_answer(name, shape, tone):
    answer = registry.method("objects", name).predict(
        Picture(np.full((*shape, 3), tone, np.uint8), CLASSES)
    )
    assert answer.mask.shape == shape


@pytest.mark.parametrize(
    "malformed",
    [
        [[1, 2]],
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((7, 9, 3), np.uint8),
    ],
    ids=["list", "grey", "alpha", "float", "small"],
)
def test_no_method_can_be_shown_a_malformed_picture(malformed):
    with pytest.raises(ToolkitError) as error:
        Picture(malformed)
    assert error.value.reason and error.value.remedy


@pytest.mark.parametrize("name", OBJECTS)
def test_classes_that_no_method_knows_are_refused(name):
    with pytest.raises(ToolkitError, match="unicorn"):
        registry.method("objects", name).predict(
            Picture(np.zeros((8, 8, 3), np.uint8), ("cat", "unicorn"))
        )
