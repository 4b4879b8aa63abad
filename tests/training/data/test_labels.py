"""Label and split of a recording, from the names of folders and files alone."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.labels import Assignment, assign, read_lists, repair


def roles(*names: str, folder: Path | None = None) -> dict[str, tuple[str | None, str] | str]:
    assigned = assign([PurePosixPath(name) for name in names], read_lists(folder) if folder else None)
    return {str(n): role if isinstance(role, str) else (role.label, role.split) for n, role in assigned.items()}


@pytest.mark.parametrize("folder", ["", "recordings/"])
def test_the_free_spoken_digit_dataset_validates_on_takes_5_to_9_and_keeps_its_test_set_out(folder: str) -> None:
    found = roles(*(f"{folder}3_theo_{take}.wav" for take in range(50)))
    assert [found[f"{folder}3_theo_{take}.wav"] for take in (0, 4, 5, 9, 10, 49)] == [
        ("3", "test"),
        ("3", "test"),
        ("3", "valid"),
        ("3", "valid"),
        ("3", "train"),
        ("3", "train"),
    ]


def test_sub_folders_win_over_names_that_look_like_spoken_digits() -> None:
    found = roles(*(f"{label}/{k}_hit_{take}.wav" for label in ("kick", "snare") for k in (1, 2) for take in range(5)))
    assert {role[0] for role in found.values()} == {"kick", "snare"}
    assert {role[1] for role in found.values()} <= {"train", "valid"}


def test_one_sub_folder_wins_too() -> None:
    assert {role[0] for role in roles(*(f"kick/1_hit_{take}.wav" for take in range(30))).values()} == {"kick"}


def test_takes_are_no_splits_if_they_leave_too_little_to_train_on() -> None:
    found = roles(*(f"1_kick_{take}.wav" for take in range(10)))
    assert "test" not in {role[1] for role in found.values()}


def test_one_file_with_another_name_makes_a_folder_no_spoken_digit_set() -> None:
    found = roles("808.wav", *(f"3_theo_{take}.wav" for take in range(50)))
    assert {role[0] for role in found.values()} == {None}


def test_sc09_keeps_its_own_splits_and_its_words_become_digits() -> None:
    names = {
        f"{s}/{word}_004ae714_nohash_0.wav" for s, word in (("train", "Eight"), ("valid", "Zero"), ("test", "Nine"))
    }
    assert roles(*names) == {
        "train/Eight_004ae714_nohash_0.wav": ("8", "train"),
        "valid/Zero_004ae714_nohash_0.wav": ("0", "valid"),
        "test/Nine_004ae714_nohash_0.wav": ("9", "test"),
    }


def test_speech_commands_uses_its_lists_and_leaves_out_background_noise(tmp_path: Path) -> None:
    (tmp_path / "validation_list.txt").write_text("one/00000001_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("cat/00000002_nohash_0.wav\n")
    names = ["one/00000000_nohash_0.wav", "one/00000001_nohash_0.wav", "cat/00000002_nohash_0.wav"]
    assert roles(*names, "_background_noise_/pink_noise.wav", folder=tmp_path) == {
        "one/00000000_nohash_0.wav": ("1", "train"),
        "one/00000001_nohash_0.wav": ("1", "valid"),
        "cat/00000002_nohash_0.wav": ("cat", "test"),
        "_background_noise_/pink_noise.wav": "background noise of Speech Commands",
    }


def test_without_lists_no_speaker_is_in_two_splits() -> None:
    found = roles(*(f"five/{speaker:08x}_nohash_{take}.wav" for speaker in range(40) for take in range(2)))
    sides: dict[str, set[str]] = {}
    for name, role in found.items():
        sides.setdefault(PurePosixPath(name).stem[:8], set()).add(role[1])
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "valid"} == set.union(*sides.values())


def test_in_any_other_folder_the_sub_folder_of_a_file_is_its_label() -> None:
    found = roles("Bark/a.wav", "meow/b.flac", "pets/Neigh/c.wav", "stray.wav")
    assert [role if isinstance(role, str) else role[0] for role in found.values()] == [
        "bark",
        "meow",
        "neigh",
        "not in a sub-folder, while others are, so it has no label",
    ]


def test_folders_named_after_splits_are_no_labels() -> None:
    assert roles("train/kick/a.wav", "Validation/kick/b.wav", "test/kick/c.wav") == {
        "train/kick/a.wav": ("kick", "train"),
        "Validation/kick/b.wav": ("kick", "valid"),
        "test/kick/c.wav": ("kick", "test"),
    }


def test_files_keep_their_split_when_others_are_added() -> None:
    few = [f"{k}.wav" for k in range(40)]
    before, after = roles(*few), roles(*few, *(f"new{k}.wav" for k in range(40)))
    assert before.items() <= after.items()


def test_names_give_labels_only_where_folders_give_none() -> None:
    names = [PurePosixPath("kick/BD01.wav"), PurePosixPath("snare/BD02.wav")]
    assert [a.label for a in assign(names, label_of=lambda _: "x").values() if isinstance(a, Assignment)] == [
        "kick",
        "snare",
    ]


@given(
    st.lists(
        st.builds(
            Assignment,
            st.sampled_from([None, "a", "b", "c"]),
            st.sampled_from(["train", "valid"]),
            st.sampled_from("stuvw"),
        )
    )
)
def test_repair_gives_every_label_training_files_and_moves_none_out_of_training(
    before: list[Assignment],
) -> None:
    after = repair(before)
    assert [(a.label, a.group) for a in after] == [(a.label, a.group) for a in before]
    assert {a.label for a in after} == {a.label for a in after if a.split == "train"}
    assert all(b.split == "train" for a, b in zip(before, after, strict=True) if a.split == "train")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from("stuvw"))))
def test_repair_never_splits_a_speaker(pairs: list[tuple[str, str]]) -> None:
    before = [Assignment(label, "valid" if speaker in "stu" else "train", speaker) for label, speaker in pairs]
    sides: dict[str, set[str]] = {}
    for assignment in repair(before):
        sides.setdefault(assignment.group, set()).add(assignment.split)
    assert all(len(side) == 1 for side in sides.values())
