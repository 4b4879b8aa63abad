"""Checkpoints by name or by file, in several folders."""

from pathlib import Path

import pytest
from toy import write

from explorer import shelf
from explorer.checkpoint import CheckpointError


def test_a_checkpoint_is_found_by_name_in_the_first_folder_that_has_it_or_by_its_file(tmp_path: Path) -> None:
    own, shipped = write(tmp_path / "own", "digits"), write(tmp_path / "shipped", "digits")
    other = write(tmp_path / "shipped", "drums")
    folders = own.parent, shipped.parent
    assert shelf.resolve("digits", *folders) == own
    assert shelf.resolve("drums", *folders) == other
    assert shelf.resolve(str(shipped), *folders) == shipped


@pytest.mark.parametrize(
    ("text", "words"),
    [("drum", "did you mean 'drums'"), ("x", "there are: drums"), ("a/drums", "no such"), ("x" * 999, "there are")],
)
def test_a_name_that_is_nothing_gets_what_was_meant_and_what_there_is(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, "drums")
    with pytest.raises(CheckpointError, match=words):
        shelf.resolve(text, tmp_path)
