"""What is on stable storage is tried by power cuts, in `tests/test_runs_power.py`; here is the rest."""

from pathlib import Path

import pytest

from dr.audit.disk import create_whole, sync_tree


def test_a_file_that_is_there_is_never_written_over_even_where_it_points_to_nothing(tmp_path: Path) -> None:
    new, old, dangling = tmp_path / "new", tmp_path / "old", tmp_path / "dangling"
    old.write_bytes(b"old")
    dangling.symlink_to("nowhere")
    create_whole(new, b"new")
    for there in (new, old, dangling):
        with pytest.raises(FileExistsError):
            create_whole(there, b"newer")
    assert (new.read_bytes(), old.read_bytes(), dangling.is_symlink()) == (b"new", b"old", True)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old", "dangling"}


def test_a_tree_is_synced_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    sync_tree(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        sync_tree(tmp_path / "none")
