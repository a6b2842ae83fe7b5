"""The list of inputs that break tools: a test for each, and the table made of them.

`python -m tests.hostile.rows` writes docs/reference/bad-input.md.
"""

import importlib
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"
MODULES = (
    "tests.hostile.test_images",
    "tests.hostile.test_files",
    "tests.toolkit.test_prediction",
    "tests.hostile.test_networks",
    "tests.hostile.test_data",
    "tests.hostile.test_claims",
    "tests.hostile.test_fuzz",
)
ROWS = {}
HEAD = """# What becomes of bad input

Written by `python -m tests.hostile.rows` from the tests in `tests/hostile/`: a test for each row,
most in a process of its own with limits on memory and time. Exit status: 0 all done, 1 some inputs
failed and the rest was written, 2 usage, 3 checkpoint, 4 output not writable, 5 data set,
130 interrupted. A message says what is wrong, where, and what to do.

A JPEG has no checksum: after some of its bytes changed it may still be a JPEG, and what decodes
without a warning of libjpeg is answered. All other damage is noticed: PNG has checksums, TIFF is
refused unless every strip and tile decodes to its full size, and BMP, WebP and uncompressed data
are refused when they are cut short.

At length, by `python -m tests.hostile.long` (2026-11-21): of 10,000 pictures, 100 of them cut
short, 9,900 were answered and 100 failed by name, with status 1; peak memory was 167 MB after
1,000 and 172 MB after all; the same run, killed ten times and resumed, left the same bytes.

| input | what becomes of it |
| --- | --- |
"""


def row(bad_input, becomes):
    """Mark a test as that of a row: the bad input, and what becomes of it."""

    def mark(test):
        ROWS[test.__module__, test.__name__] = f"| {bad_input} | {becomes} |\n"
        return test

    return mark


def document():
    """The text of docs/reference/bad-input.md."""
    for name in MODULES:
        importlib.import_module(name)
    return HEAD + "".join(
        text
        for name in MODULES
        for (module, _), text in ROWS.items()
        if module == name
    )


if __name__ == "__main__":
    from tests.hostile import rows

    rows.DOCUMENT.write_text(rows.document())
