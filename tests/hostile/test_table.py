"""The table made of the tests."""

from tests.hostile import rows


def test_the_table_is_that_of_the_tests():
    assert rows.DOCUMENT.read_text() == rows.document(), (
        "run python -m tests.hostile.rows"
    )
