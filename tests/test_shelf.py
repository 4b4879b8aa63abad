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


@pytest.mark.parametrize(
    "name", ["../secret", "sub/secret", "lessons/../../secret", "{}/secret", "../models/digits", "../secret@3"]
)
def test_a_name_leads_to_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    models = write(tmp_path / "models", "digits").parent
    write(models / "snapshots" / "digits", "3")
    write(models / "lessons", "tune")
    for folder, other in ((tmp_path, "secret"), (models / "sub", "secret"), (models / "secret", "3")):
        write(folder, other)
    assert shelf.locate(models, "digits@3") is not None
    assert shelf.locate(models, name.format(tmp_path)) is None
