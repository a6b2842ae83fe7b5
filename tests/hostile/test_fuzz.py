"""A few changed files of every format; `make fuzz` tries many."""

import subprocess
import sys

import pytest

from tests.hostile.fuzz import FORMATS
from tests.hostile.rows import row

NEEDS = {
    "nifti": "nibabel",
    "dicom": "pydicom",
    "coco": "shapely",
    "voc": "shapely",
}


@row(
    "up to four changed bytes in a file of any format, at random",
    "refused in a sentence, or read as an independent decoder reads it",
)
@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_are_read_or_refused(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    command = [sys.executable, "-m", "tests.hostile.fuzz", name, "50"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
