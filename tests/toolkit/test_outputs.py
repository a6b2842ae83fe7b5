"""Outputs are whole or absent."""

import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import whole_folder, write_bytes


def test_a_file_replaces_the_one_before(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    write_bytes(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_reported_with_status_4(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for write in (
        lambda p: write_bytes(p, b"1"),
        lambda p: whole_folder(p, {}).__enter__(),
    ):
        with pytest.raises(ToolkitError) as error:
            write(tmp_path / "file" / "a")
        assert error.value.status == 4
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_appears_when_all_is_in_it_and_not_before(tmp_path):
    with whole_folder(tmp_path / "out", {"a": None}) as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_a_failure_leaves_the_folder_before_as_it_was(tmp_path):
    with whole_folder(tmp_path / "out", {"a": None}) as folder:
        (folder / "a").write_text("1")
    with (
        pytest.raises(RuntimeError),
        whole_folder(tmp_path / "out", {"a": None}) as folder,
    ):
        (folder / "a").write_text("2")
        raise RuntimeError
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_of_somebody_else_s_is_left_as_it_was(tmp_path, link):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years")
    path = theirs
    if link:
        path = tmp_path / "link"
        path.symlink_to(theirs)
    with (
        pytest.raises(ToolkitError) as error,
        whole_folder(path, {"record.json": None}),
    ):
        pass
    assert error.value.status == 4
    assert (theirs / "thesis.txt").read_text() == "years"


def test_a_folder_of_ours_is_replaced_as_a_whole(tmp_path):
    for name in ("a", "b"):
        with whole_folder(tmp_path / "out", {"a": None}) as folder:
            (folder / name).write_text(name)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
