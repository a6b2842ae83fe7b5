import gzip

import cv2
import numpy as np
import pytest
import tifffile

from hvd.toolkit import registry
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.prediction import predict
from hvd.toolkit.tasks.lines.masks import (
    TASK_MASK,
    mask_of_description,
    stripes,
)
from hvd.toolkit.tasks.lines.options import InputOptions
from hvd.toolkit.tasks.lines.task import TASK

METHOD = registry.method("lines", "baseline")


@pytest.fixture
def damaged(heads):
    """Twelve heads (12, 64, 64) with the task's lines at zero, and nothing else."""
    return np.where(TASK_MASK, 0, np.maximum(heads, 1 / 255)).astype(np.float32)


def run(path, tmp_path, options=None, method=METHOD):
    """The record of predicting one input."""
    return next(
        iter(
            predict(
                TASK,
                "baseline",
                method,
                (path,),
                tmp_path / "out",
                options or InputOptions(),
            )
        )
    )


def saved(tmp_path, array, name="scans.npy"):
    np.save(tmp_path / name, array)
    return tmp_path / name


@pytest.mark.parametrize("layout", [(12, 64, 64), (12, 1, 64, 64)])
@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.uint8, np.uint16, np.int16]
)
def test_an_array_comes_back_in_its_shape_and_type_with_measured_values_as_they_were(
    layout, dtype, damaged, tmp_path
):
    top = {
        "f": 1,
        "u": np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 0,
        "i": 1500,
    }[np.dtype(dtype).kind]
    array = (damaged * top).astype(dtype).reshape(layout)
    if np.dtype(dtype).kind in "ui":
        array[..., ~TASK_MASK] = np.maximum(array[..., ~TASK_MASK], 1)
    record = run(saved(tmp_path, array), tmp_path)
    assert (
        record["status"] == "ok"
        and record["mask"] == "task"
        and record["mask_confidence"] > 0.99
    )
    assert (
        record["missing_share"] == pytest.approx(0.5061, abs=1e-4)
        and "diagnosis" in record["notes"][0]
    )
    result = np.load(tmp_path / "out/scans/scans_nogaps.npy")
    assert result.shape == array.shape and result.dtype == array.dtype
    np.testing.assert_array_equal(
        result[..., ~TASK_MASK], array[..., ~TASK_MASK]
    )
    assert (result[..., TASK_MASK] > 0).mean() > 0.5


def test_the_order_of_scans_changes_nothing_but_their_order(damaged, tmp_path):
    for name, stack in (("a.npy", damaged), ("b.npy", damaged[::-1])):
        assert run(saved(tmp_path, stack, name), tmp_path)["status"] == "ok"
    first, second = (
        np.load(tmp_path / f"out/{name}/{name}_nogaps.npy") for name in "ab"
    )
    np.testing.assert_allclose(first, second[::-1], atol=1e-6)


def test_missing_values_may_be_nan(heads, tmp_path):
    array = np.where(stripes((64, 64), 1, 3, 0), np.nan, heads[0] * 1000 - 200)
    record = run(saved(tmp_path, array), tmp_path)
    assert record["mask"] == "rows" and record[
        "missing_share"
    ] == pytest.approx(22 / 64, abs=1e-4)
    result = np.load(tmp_path / "out/scans/scans_nogaps.npy")
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(
        result[~np.isnan(array)], array[~np.isnan(array)]
    )
    assert np.abs(result - (heads[0] * 1000 - 200)).mean() < 20


@pytest.mark.parametrize("kind", ["npy", "png"])
def test_a_mask_may_be_given(kind, heads, tmp_path):
    mask = np.random.default_rng(1).random((64, 64)) < 0.4
    if kind == "npy":
        np.save(tmp_path / "mask.npy", mask[None])
    else:
        cv2.imwrite(str(tmp_path / "mask.png"), mask.astype(np.uint8) * 255)
    array = np.where(mask, 0, heads)
    record = run(
        saved(tmp_path, array),
        tmp_path,
        InputOptions(mask=str(tmp_path / f"mask.{kind}")),
    )
    assert record["missing_share"] == pytest.approx(mask.mean(), abs=1e-4)
    result = np.load(tmp_path / "out/scans/scans_nogaps.npy")
    assert (
        np.square(result - heads).mean() < np.square(array - heads).mean() / 10
    )


def test_complete_scans_come_back_as_they_were_and_the_record_says_so(
    heads, tmp_path
):
    record = run(saved(tmp_path, heads), tmp_path)
    assert (
        record["missing_share"] == 0 and "No missing line" in record["notes"][0]
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "out/scans/scans_nogaps.npy"), heads
    )


def test_constant_scans_are_filled_with_their_value(tmp_path):
    array = np.where(TASK_MASK, 0, np.full((3, 64, 64), 700, np.int16))
    assert run(saved(tmp_path, array), tmp_path)["status"] == "ok"
    np.testing.assert_array_equal(
        np.load(tmp_path / "out/scans/scans_nogaps.npy"), 700
    )


REFUSED = {
    "complex": (np.ones((2, 16, 16), np.complex64), "magnitude"),
    "bool": (np.ones((2, 16, 16), bool), "real numbers"),
    "all missing": (np.full((2, 16, 16), np.nan), "measured"),
    "infinite": (np.where(np.eye(16), np.inf, 1.0)[None], "NaN"),
    "colour": (np.ones((2, 16, 16, 3)), "(N, H, W)"),
    "no scan": (np.ones((0, 16, 16)), "(N, H, W)"),
    "small": (np.ones((2, 7, 16)), "8 pixels"),
    "black": (np.zeros((2, 16, 16)), "--mask"),
    "one scan all missing": (
        np.stack([np.ones((16, 16)), np.full((16, 16), np.nan)]),
        "Leave it out",
    ),
}


@pytest.mark.parametrize(("array", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_filled_is_refused_with_a_remedy(
    array, remedy, tmp_path
):
    record = run(saved(tmp_path, array), tmp_path)
    assert record["status"] == "failed" and remedy in record["remedy"]
    assert not (tmp_path / "out/scans").exists()


def test_lines_are_found_beside_a_few_values_that_are_nan(damaged, tmp_path):
    damaged[0, 30, 31] = np.nan
    record = run(saved(tmp_path, damaged), tmp_path)
    assert record["mask"] == "task" and record[
        "missing_share"
    ] == pytest.approx(0.5061, abs=1e-4)
    assert np.isfinite(np.load(tmp_path / "out/scans/scans_nogaps.npy")).all()


@pytest.mark.parametrize("zeros", [0, 0.3])
def test_a_few_values_that_are_nan_are_missing_whatever_else_is_zero(
    zeros, heads, tmp_path
):
    array = np.maximum(heads[0], 0.01)
    array[np.random.default_rng(0).random(array.shape) < zeros] = 0
    array[30, 20:30] = np.nan
    record = run(saved(tmp_path, array), tmp_path)
    assert (
        record["status"] == "ok"
        and record["mask"] == "NaN"
        and record["missing_share"] == pytest.approx(10 / 4096, abs=1e-4)
    )


@pytest.mark.parametrize("method", ["baseline", "deep"])
def test_scans_of_a_scale_far_below_1_are_filled_as_well(
    method, damaged, tmp_path
):
    filled = []
    for factor in (1, 1e-6):
        array = (damaged * factor).astype(np.float64)
        assert (
            run(
                saved(tmp_path, array),
                tmp_path,
                method=registry.method("lines", method),
            )["status"]
            == "ok"
        )
        filled.append(np.load(tmp_path / "out/scans/scans_nogaps.npy") / factor)
    assert (
        np.abs(
            filled[1] - filled[0] * (filled[1].max() / filled[0].max())
        ).mean()
        < 0.01
    )


def test_pickled_arrays_are_refused(tmp_path):
    np.save(
        tmp_path / "scans.npy", np.array([{}, {}], object), allow_pickle=True
    )
    assert run(tmp_path / "scans.npy", tmp_path)["status"] == "failed"


def test_scans_of_another_size_than_the_mask_fail_alone(heads, tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((64, 63), np.uint8))
    record = run(
        saved(tmp_path, heads),
        tmp_path,
        InputOptions(mask=str(tmp_path / "mask.npy")),
    )
    assert record["status"] == "failed" and "(64, 63)" in record["reason"]


def test_an_image_of_16_bits_is_a_mask(heads, tmp_path):
    cv2.imwrite(
        str(tmp_path / "mask.png"),
        np.where(TASK_MASK, 65535, 0).astype(np.uint16),
    )
    assert (
        run(
            saved(tmp_path, heads),
            tmp_path,
            InputOptions(mask=str(tmp_path / "mask.png")),
        )["missing_share"]
        > 0.5
    )


@pytest.mark.parametrize(
    "mask", [np.full((64, 64), 7, np.uint8), np.full((64, 64), 0.5)]
)
def test_a_mask_that_is_not_binary_is_a_usage_error(mask, heads, tmp_path):
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(ToolkitError) as error:
        run(
            saved(tmp_path, heads),
            tmp_path,
            InputOptions(mask=str(tmp_path / "mask.npy")),
        )
    assert error.value.status == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_folder_of_images_is_one_stack(dtype, damaged, tmp_path):
    (tmp_path / "slices").mkdir()
    stored = np.rint(damaged * np.iinfo(dtype).max).astype(dtype)
    for k, image in enumerate(stored):
        cv2.imwrite(str(tmp_path / f"slices/{k:02d}.png"), image)
    record = run(tmp_path / "slices", tmp_path)
    assert record["scans"] == 12 and record["mask"] == "task"
    for k, image in enumerate(stored):
        result = cv2.imread(
            str(tmp_path / f"out/slices/{k:02d}_nogaps.png"),
            cv2.IMREAD_UNCHANGED,
        )
        assert result.dtype == dtype
        np.testing.assert_array_equal(result[~TASK_MASK], image[~TASK_MASK])


def test_images_of_one_folder_must_have_one_size(damaged, tmp_path):
    (tmp_path / "slices").mkdir()
    cv2.imwrite(str(tmp_path / "slices/a.png"), np.ones((64, 64), np.uint8))
    cv2.imwrite(str(tmp_path / "slices/b.png"), np.ones((64, 65), np.uint8))
    assert "b.png" in run(tmp_path / "slices", tmp_path)["reason"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_keeps_its_header_and_the_axis_of_its_slices_is_found(
    suffix, axis, damaged, tmp_path
):
    nibabel = pytest.importorskip("nibabel")
    volume = np.moveaxis(np.rint(damaged * 900).astype(np.int16), 0, axis)
    affine = np.array(
        [[0, 0, 2.0, -90], [1.5, 0, 0, 4], [0, 1.5, 0, -7], [0, 0, 0, 1]]
    )
    image = nibabel.Nifti1Image(volume, affine)
    image.header["descrip"] = b"a head"
    image.header.set_slope_inter(0.5, 0)
    nibabel.save(image, tmp_path / f"head{suffix}")
    before = (tmp_path / f"head{suffix}").read_bytes()
    record = run(tmp_path / f"head{suffix}", tmp_path)
    assert (
        record["status"] == "ok"
        and record["mask"] == "task"
        and record["scans"] == 12
    )
    after = next((tmp_path / "out").rglob(f"head_nogaps{suffix}")).read_bytes()
    raw = [
        gzip.decompress(data) if suffix.endswith(".gz") else data
        for data in (before, after)
    ]
    assert raw[0][:352] == raw[1][:352] and len(raw[0]) == len(raw[1])
    result = nibabel.Nifti1Image.from_bytes(raw[1])
    np.testing.assert_array_equal(result.affine, affine)
    values = np.moveaxis(np.asarray(result.dataobj.get_unscaled()), axis, 0)
    np.testing.assert_array_equal(
        values[:, ~TASK_MASK], np.moveaxis(volume, axis, 0)[:, ~TASK_MASK]
    )
    assert (values[:, TASK_MASK] > 0).mean() > 0.5
    assert (tmp_path / f"head{suffix}").read_bytes() == before


def test_zero_is_sought_where_the_scale_of_a_volume_puts_it(damaged, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image((damaged * 700).astype(np.float64), np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "head.nii")
    record = run(tmp_path / "head.nii", tmp_path, InputOptions(axis=0))
    assert record["mask"] == "task"
    result = np.asanyarray(
        nibabel.load(tmp_path / "out/head/head_nogaps.nii").dataobj
    )
    assert (result[:, TASK_MASK] > 10).mean() > 0.5


def test_a_mask_that_cannot_be_used_with_a_volume_is_a_usage_error(
    damaged, tmp_path
):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(damaged, np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(ToolkitError, match=r"nowhere\.npy") as refusal:
        run(tmp_path / "scan.nii", tmp_path, InputOptions(mask="nowhere.npy"))
    assert refusal.value.status == 2 and "--axis" not in refusal.value.remedy


def test_volumes_of_nifti_2_and_of_several_gzip_members_are_read(
    damaged, tmp_path
):
    nibabel = pytest.importorskip("nibabel")
    data = nibabel.Nifti2Image(damaged, np.eye(4)).to_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(
        gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    )
    assert run(tmp_path / "scan.nii.gz", tmp_path)["mask"] == "task"
    result = nibabel.load(tmp_path / "out/scan.nii/scan_nogaps.nii.gz")
    assert isinstance(result, nibabel.Nifti2Image)
    np.testing.assert_array_equal(
        result.get_fdata()[:, ~TASK_MASK], damaged[:, ~TASK_MASK]
    )


def test_a_volume_whose_axis_cannot_be_told_asks_for_it(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = (
        np.random.default_rng(0).integers(1, 900, (20, 20, 20)).astype(np.int16)
    )
    mask = np.random.default_rng(1).random((20, 20)) < 0.4
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "whole.nii")
    np.save(tmp_path / "mask.npy", mask)
    record = run(
        tmp_path / "whole.nii",
        tmp_path,
        InputOptions(mask=str(tmp_path / "mask.npy")),
    )
    assert record["status"] == "failed" and "--axis" in record["remedy"]
    assert (
        run(
            tmp_path / "whole.nii",
            tmp_path,
            InputOptions(mask=str(tmp_path / "mask.npy"), axis=1),
        )["status"]
        == "ok"
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_tiff_keeps_its_type(dtype, damaged, tmp_path):
    stored = (damaged[0] * 900).astype(dtype)
    tifffile.imwrite(tmp_path / "scan.tif", stored)
    record = run(tmp_path / "scan.tif", tmp_path)
    assert record["status"] == "ok", record
    result = tifffile.imread(tmp_path / "out/scan/scan_nogaps.tif")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[~TASK_MASK], stored[~TASK_MASK])


def test_a_tiff_of_several_pages_is_refused(damaged, tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", (damaged * 255).astype(np.uint8))
    assert "pages" in run(tmp_path / "scan.tif", tmp_path)["reason"]


@pytest.mark.parametrize(
    "reported",
    [{"photometric": "miniswhite"}, {"extratags": [(274, "H", 1, 6, True)]}],
)
def test_a_tiff_to_be_shown_inverted_or_turned_is_refused(reported, tmp_path):
    tifffile.imwrite(
        tmp_path / "scan.tif", np.full((64, 48), 7, np.uint8), **reported
    )
    assert "upright" in run(tmp_path / "scan.tif", tmp_path)["remedy"]


def test_colour_is_refused(tmp_path):
    cv2.imwrite(
        str(tmp_path / "scan.png"),
        np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8),
    )
    assert "colour" in run(tmp_path / "scan.png", tmp_path)["reason"]


def test_a_dicom_slice_comes_back_as_a_derived_one(damaged, heads, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    stored = np.rint(damaged[0] * 900).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        MRImageStorage,
        generate_uid(),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    scan.SOPClassUID, scan.SOPInstanceUID, scan.PatientName = (
        MRImageStorage,
        meta.MediaStorageSOPInstanceUID,
        "A^B",
    )
    scan.set_pixel_data(stored, "MONOCHROME2", 12)
    scan.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    record = run(tmp_path / "slice.dcm", tmp_path)
    assert record["status"] == "ok" and record["mask"] == "task"
    result = pydicom.dcmread(tmp_path / "out/slice/slice_nogaps.dcm")
    assert (
        result.PatientName == "A^B"
        and result.SOPInstanceUID != scan.SOPInstanceUID
        and result.ImageType[0] == "DERIVED"
    )
    np.testing.assert_array_equal(
        result.pixel_array[~TASK_MASK], stored[~TASK_MASK]
    )
    assert (result.pixel_array[TASK_MASK] > 0).mean() > 0.5
    first = (tmp_path / "out/slice/slice_nogaps.dcm").read_bytes()
    run(tmp_path / "slice.dcm", tmp_path)
    assert (tmp_path / "out/slice/slice_nogaps.dcm").read_bytes() == first
    assert result.SOPInstanceUID == result.file_meta.MediaStorageSOPInstanceUID
    uid = "1.2.840.113619.2.5.17"  # as scanners name files
    (tmp_path / "slice.dcm").rename(tmp_path / uid)
    assert run(tmp_path / uid, tmp_path)["outputs"][0].endswith(
        f"{uid}_nogaps.dcm"
    )
    scan.set_pixel_data(
        np.rint(np.maximum(heads[0], 0.01) * 900).astype(np.uint16),
        "MONOCHROME2",
        12,
    )
    scan.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    assert run(tmp_path / "whole.dcm", tmp_path)["missing_share"] == 0
    assert (tmp_path / "out/whole/whole_nogaps.dcm").read_bytes() == (
        tmp_path / "whole.dcm"
    ).read_bytes()


def test_a_dicom_file_that_cannot_be_written_again_fails_alone(
    damaged, tmp_path
):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    scan.set_pixel_data(
        np.rint(damaged[0] * 900).astype(np.uint16), "MONOCHROME2", 12
    )
    pydicom.dcmwrite(tmp_path / "slice.dcm", scan, enforce_file_format=False)
    record = run(tmp_path / "slice.dcm", tmp_path)
    assert record["status"] == "failed" and "written again" in record["reason"]
    assert not (tmp_path / "out/slice").exists()


@pytest.mark.parametrize(
    "name", ["x.nii", "x.nii.gz", "x.dcm", "x.npy", "x.png", "x.txt"]
)
def test_a_file_that_is_not_what_its_name_says_is_reported_so(name, tmp_path):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    record = run(tmp_path / name, tmp_path)
    assert (
        record["status"] == "failed"
        and name in record["reason"]
        and record["remedy"]
    )


def test_uncertainty_lies_as_the_volume_does(damaged, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.moveaxis((damaged * 700).astype(np.int16), 0, 2)
    image = nibabel.Nifti1Image(volume, np.diag([2.0, 3, 4, 1]))
    image.header.set_slope_inter(0.5, 0)
    nibabel.save(image, tmp_path / "head.nii.gz")
    record = run(
        tmp_path / "head.nii.gz",
        tmp_path,
        InputOptions(uncertainty=True),
        registry.method("lines", "deep"),
    )
    assert len(record["outputs"]) == 3
    result = nibabel.load(tmp_path / "out/head.nii/head_uncertainty.nii.gz")
    np.testing.assert_array_equal(result.affine, image.affine)
    assert (
        result.shape == volume.shape and result.get_data_dtype() == np.float32
    )
    deviation = np.moveaxis(result.get_fdata(), 2, 0)
    assert (
        not deviation[:, ~TASK_MASK].any()
        and 1 < deviation[:, TASK_MASK].mean() < 100
    )


def test_uncertainty_of_images_is_images(damaged, tmp_path):
    (tmp_path / "stack").mkdir()
    for k, scan in enumerate(damaged[:3]):
        cv2.imwrite(
            str(tmp_path / f"stack/{k}.png"),
            np.rint(scan * 255).astype(np.uint8),
        )
    record = run(
        tmp_path / "stack",
        tmp_path,
        InputOptions(uncertainty=True),
        registry.method("lines", "deep"),
    )
    assert record["status"] == "ok", record
    names = sorted(
        path.name
        for path in (tmp_path / "out/stack").iterdir()
        if "uncertainty" in path.name
    )
    assert names == [
        "0_uncertainty.tif",
        "1_uncertainty.tif",
        "2_uncertainty.tif",
    ]
    assert (
        tifffile.imread(tmp_path / "out/stack/0_uncertainty.tif").dtype
        == np.float32
    )


@pytest.mark.parametrize("mask", ["task", "2/4@45"])
def test_a_mask_may_be_described(mask, heads, tmp_path):
    hidden = mask_of_description(mask, (64, 64), None)
    # No zeros: nothing tells what is missing but the mask
    array = np.where(hidden, 0.5, heads)
    record = run(saved(tmp_path, array), tmp_path, InputOptions(mask=mask))
    assert record["mask"] == f"given: {mask}" and record[
        "missing_share"
    ] == pytest.approx(hidden.mean(), abs=1e-4)
    result = np.load(tmp_path / "out/scans/scans_nogaps.npy")
    np.testing.assert_array_equal(result[:, ~hidden], array[:, ~hidden])


@pytest.mark.parametrize("mask", ["random:0.3", "nowhere.png", "2/4"])
def test_a_mask_that_is_neither_file_nor_description_is_refused(
    mask, damaged, tmp_path
):
    with pytest.raises(ToolkitError, match="There is no mask") as refusal:
        run(saved(tmp_path, damaged), tmp_path, InputOptions(mask=mask))
    assert refusal.value.status == 2 and "random" not in refusal.value.remedy


def test_a_method_without_uncertainty_says_so(damaged, tmp_path):
    assert (
        "uncertainty"
        in run(
            saved(tmp_path, damaged), tmp_path, InputOptions(uncertainty=True)
        )["reason"]
    )
