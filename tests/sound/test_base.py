"""Names of notes, and sizes in configurations."""

import pretty_midi
import pytest

from explorer.sound.base import check_size, note_name, note_pitch


def test_notes_have_the_names_that_midi_programs_give_them() -> None:
    names = [note_name(pitch) for pitch in range(128)]
    assert names == [pretty_midi.note_number_to_name(pitch) for pitch in range(128)]
    assert [note_pitch(name) for name in names] == list(range(128))


@pytest.mark.parametrize("name", ["H4", "C4x", "c4", "60", ""])
def test_other_names_are_no_notes(name: str) -> None:
    assert note_pitch(name) is None


@pytest.mark.parametrize("value", [0, -1, 9, 2.0, True, "3", None, (3,)])
def test_a_size_is_a_whole_number_within_its_limit(value: object) -> None:
    check_size("layers", 8, 8)
    with pytest.raises(ValueError, match="layers is a whole number from 1 to 8"):
        check_size("layers", value, 8)
