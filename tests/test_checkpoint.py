"""The checkpoint format: exact round trips, strict loading, atomic writes, and errors that name the damage."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from test_architecture import ROOT
from torch import Tensor
from toy import Toy, make, write

from explorer import atomic, checkpoint, shelf
from explorer.checkpoint import CheckpointError, config_from_dict, load, load_extra, save
from explorer.directions import Direction
from explorer.generators.base import Condition
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.judge import Judge, find_judge, load_judge, save_judge
from explorer.shelf import find_checkpoints, read_card
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.vocoder import LearnedVocoder, VocoderConfig

Contents = tuple[dict[str, Tensor], dict[str, str]]


@pytest.fixture
def toy() -> Toy:
    return make()


@pytest.fixture
def path(tmp_path: Path, toy: Toy) -> Path:
    save(tmp_path / "toy.safetensors", toy, provenance={"steps": 3})
    return tmp_path / "toy.safetensors"


def contents(path: Path) -> Contents:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata())  # noqa: SIM118


def change(path: Path, edit: Callable[[dict[str, Tensor], dict[str, str]], object]) -> None:
    tensors, metadata = contents(path)
    edit(tensors, metadata)
    save_file(tensors, path, metadata)


def reconfigure(config: dict[str, object], _: dict[str, Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] = json.dumps(config)


def first_weight(toy: Toy) -> str:
    return f"generator.{next(name for name, _ in toy.named_parameters())}"


def test_weights_and_configuration_come_back_exactly(path: Path, toy: Toy) -> None:
    loaded, _ = load(path)
    assert loaded.config == toy.config
    assert loaded.state_dict().keys() == toy.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in toy.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_weights_come_back_as_the_nearest_32_bit_ones(tmp_path: Path, toy: Toy, dtype: torch.dtype) -> None:
    save(tmp_path / "half.safetensors", toy, dtype=dtype)
    loaded, _ = load(tmp_path / "half.safetensors")
    for name, weight in toy.named_parameters():
        assert torch.equal(loaded.state_dict()[name], weight.detach().to(dtype).float())


def test_saving_what_was_loaded_gives_the_same_file(path: Path, tmp_path: Path) -> None:
    loaded, directions = load(path)
    save(tmp_path / "again.safetensors", loaded, directions=directions, provenance=read_card(path).provenance)
    assert contents(tmp_path / "again.safetensors")[1] == contents(path)[1]
    assert read_card(tmp_path / "again.safetensors").parameters == read_card(path).parameters


def test_a_loaded_generator_is_in_eval_mode_without_gradients(path: Path) -> None:
    loaded, _ = load(path)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_directions_are_stored_in_full_precision(tmp_path: Path, toy: Toy) -> None:
    vector = torch.randn(toy.latent.shape, generator=torch.Generator().manual_seed(1))
    wanted = Direction("pc1", vector, "brighter", measures={"explained": 0.5})
    save(tmp_path / "d.safetensors", toy, directions=(wanted,), dtype=torch.float16)
    (found,) = load(tmp_path / "d.safetensors")[1]
    assert found == wanted
    assert torch.equal(found.vector, vector)


def test_extra_tensors_are_stored_apart_from_the_generator(tmp_path: Path, toy: Toy) -> None:
    save(tmp_path / "e.safetensors", toy, extra={"encoder.weight": torch.arange(3.0)})
    assert load_extra(tmp_path / "e.safetensors", "encoder")["weight"].tolist() == [0, 1, 2]
    assert load_extra(tmp_path / "e.safetensors", "vocoder") == {}
    load(tmp_path / "e.safetensors")


def test_a_card_describes_its_generator(path: Path, toy: Toy) -> None:
    card = read_card(path)
    assert (card.name, card.family, card.provenance) == ("toy", "toy", {"steps": 3})
    assert card.labels == (toy.condition.labels if toy.condition else None)
    assert card.latent_shape == toy.latent.shape
    assert (card.sample_rate, card.seconds) == (toy.representation.sample_rate, toy.representation.seconds)
    assert card.sha256 == sha256(path.read_bytes()).hexdigest()


def test_a_card_is_read_anew_when_its_file_is_replaced(path: Path, toy: Toy) -> None:
    before = read_card(path)
    save(path, toy, provenance={"steps": 4, "note": "longer"})
    assert read_card(path).provenance["steps"] == 4
    assert read_card(path).sha256 != before.sha256


def test_find_names_the_generators_of_a_folder(path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path.with_name("vocoder.safetensors"))  # another program's file, without a family
    (path.parent / "notes.txt").write_text("no checkpoint")
    assert find_checkpoints(path.parent) == {"toy": path}


def test_find_lists_a_broken_file_so_that_choosing_it_says_what_is_wrong(path: Path) -> None:
    path.write_bytes(b"nonsense")
    assert find_checkpoints(path.parent) == {"toy": path}


def test_an_error_names_a_missing_file(tmp_path: Path) -> None:
    for read in (load, read_card):
        with pytest.raises(CheckpointError, match=r"none\.safetensors: no such checkpoint"):
            read(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, -1], ids=["empty", "half a length", "half a header", "one byte short"])
def test_an_error_names_a_truncated_file(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    for read in (load, read_card):
        with pytest.raises(CheckpointError, match=r"toy\.safetensors: .*cut short"):
            read(path)


def test_an_error_names_a_missing_tensor(path: Path, toy: Toy) -> None:
    name = first_weight(toy)
    change(path, lambda tensors, _: tensors.pop(name))
    with pytest.raises(CheckpointError, match=name.removeprefix("generator.")):
        load(path)


def test_an_error_names_a_superfluous_tensor(path: Path) -> None:
    change(path, lambda tensors, _: tensors.update({"generator.extra": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="extra"):
        load(path)


def test_an_error_names_a_tensor_of_the_wrong_shape(path: Path, toy: Toy) -> None:
    name = first_weight(toy)
    change(path, lambda tensors, _: tensors.update({name: torch.zeros(1, 1, 1, 1, 1)}))
    with pytest.raises(CheckpointError, match=name.removeprefix("generator.")):
        load(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "latent-explorer/99", "format 'latent-explorer/99'; this program reads 'latent-explorer/1'"),
        (
            "family",
            "progan",
            "family 'progan' is unknown; "
            "known are diffwave, gansynth, pianogan, poor-toy, spectogan, toy, toy-keys, wavegan",
        ),
        ("config", "{}", "the configuration does not fit family 'toy'"),
        ("config", "[]", "the configuration does not fit family 'toy'"),
        ("config", "3", "the configuration does not fit family 'toy'"),
        ("config", "{", "the configuration does not fit family 'toy'"),
        ("provenance", "{", "the provenance in the metadata is not JSON"),
    ],
)
def test_an_error_names_invalid_metadata(path: Path, field: str, value: str, message: str) -> None:
    change(path, lambda _, metadata: metadata.update({field: value}))
    with pytest.raises(CheckpointError, match=message):
        read_card(path)


@pytest.mark.parametrize("field", ["format", "config"])
def test_metadata_that_is_missing_is_an_error(path: Path, field: str) -> None:
    change(path, lambda _, metadata: metadata.pop(field))
    with pytest.raises(CheckpointError):
        load(path)


@pytest.mark.parametrize("value", [-1, "wide", None, 1.5, [3]], ids=repr)
def test_a_configuration_that_builds_no_network_is_an_error(path: Path, toy: Toy, value: object) -> None:
    number = next(name for name, x in asdict(toy.config).items() if isinstance(x, int))
    change(path, lambda _, metadata: metadata.update(config=json.dumps({**asdict(toy.config), number: value})))
    with pytest.raises(CheckpointError):
        load(path)


@pytest.mark.parametrize("directions", ['[{"name": "pc1"}]', "{", "3", '[{"nickname": "pc1"}]', "[1]"])
def test_directions_that_do_not_fit_their_vectors_are_an_error(path: Path, directions: str) -> None:
    change(path, lambda _, metadata: metadata.update(directions=directions))
    with pytest.raises(CheckpointError, match="direction"):
        load(path)


def test_a_direction_of_another_shape_than_the_latent_is_an_error(path: Path, toy: Toy) -> None:
    save(path, toy, directions=(Direction("pc1", torch.ones(toy.latent.size + 1)),))
    with pytest.raises(CheckpointError, match="direction"):
        load(path)


def test_a_failed_save_leaves_the_old_file_unchanged(path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, toy)
    assert path.read_bytes() == before
    assert find_checkpoints(path.parent) == {"toy": path}


def test_a_configuration_must_name_every_field_and_no_other() -> None:
    data = asdict(Toy.Config())
    assert config_from_dict(Toy.Config, json.loads(json.dumps(data))) == Toy.Config()
    with pytest.raises(ValueError, match="has no field colour"):
        config_from_dict(Toy.Config, {**data, "colour": "blue"})
    with pytest.raises(ValueError, match="lacks its field"):
        config_from_dict(Toy.Config, dict(list(data.items())[1:]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(path: Path, toy: Toy, value: float) -> None:
    name = first_weight(toy)

    def spoil(tensors: dict[str, Tensor], _: dict[str, str]) -> None:
        tensors[name].view(-1)[0] = value

    change(path, spoil)
    with pytest.raises(CheckpointError, match=rf"the weights in {name.removeprefix('generator.')} are not all finite"):
        load(path)


def test_a_git_lfs_pointer_is_named_with_what_to_do(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n")
    for read in (load, read_card):
        with pytest.raises(CheckpointError, match=r"toy\.safetensors: a Git LFS pointer .*`git lfs pull`"):
            read(path)


def test_messages_do_not_reveal_the_folder(path: Path) -> None:
    path.write_bytes(b"nonsense")
    for broken in (path, path.with_name("none.safetensors")):
        with pytest.raises(CheckpointError) as error:
            load(broken)
        assert str(path.parent) not in str(error.value)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_with_a_message_that_names_the_file(data: bytes, with_length: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(len(data).to_bytes(8, "little") + data if with_length else data)
        for read in (load, read_card):
            with pytest.raises(CheckpointError, match=r"^x\.safetensors: \S"):
                read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["config", "provenance", "directions", "family", "format", "vocoder"]), JSON, st.booleans())
def test_any_json_in_the_metadata_is_read_or_raises_a_checkpoint_error(field: str, value: object, inside: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        save(path, make())
        if inside and field == "config":
            value = {**asdict(make().config), "notes": value}
        change(path, lambda _, metadata: metadata.update({field: json.dumps(value)}))
        for read in (load, read_card):
            with suppress(CheckpointError):
                read(path)


@pytest.mark.parametrize("field", ["config", "provenance", "directions"])
def test_metadata_nested_too_deep_is_a_checkpoint_error(path: Path, field: str) -> None:
    change(path, lambda _, metadata: metadata.update({field: "[" * 100_000}))
    with pytest.raises(CheckpointError):
        (read_card if field == "provenance" else load)(path)


def test_a_network_too_large_for_its_weights_costs_no_memory(path: Path, toy: Toy) -> None:
    huge = json.dumps({**asdict(toy.config), "latent": 10**9, "notes": 10**4})
    change(path, lambda _, metadata: metadata.update(config=huge))
    with pytest.raises(CheckpointError, match="the weights do not fit"):
        load(path)


def test_a_file_without_a_condition_name_gets_digit_or_word(tmp_path: Path) -> None:
    for labels, name in ((("0", "1"), "digit"), (("yes", "no"), "word")):
        config = SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=labels)
        save(tmp_path / "old.safetensors", SpectoGAN(config))
        old = {key: value for key, value in asdict(config).items() if key != "condition"}
        change(tmp_path / "old.safetensors", partial(reconfigure, old))
        assert load(tmp_path / "old.safetensors")[0].condition == Condition(name, labels)


def test_a_condition_is_named_by_the_configuration(tmp_path: Path) -> None:
    config = SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("1", "2"), condition="drum")
    save(tmp_path / "drums.safetensors", SpectoGAN(config))
    assert load(tmp_path / "drums.safetensors")[0].condition == Condition("drum", ("1", "2"))


@pytest.mark.parametrize("labels", [(), ("a", "a"), ("",), "ab", (1, 2), None])
def test_labels_must_be_a_tuple_of_distinct_texts(labels: object) -> None:
    with pytest.raises(ValueError, match="label"):
        Condition("word", labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("weights.pt",), ("a.ckpt", "b.pth")])
def test_a_folder_of_other_formats_is_told_which_format_is_read(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    message = shelf.nothing_found(tmp_path)
    assert all(Path(name).suffix in message for name in names)
    assert ".safetensors" in message
    assert str(tmp_path) not in message


def test_unreadable_files_do_not_hide_judges_or_parts_beside_them(tmp_path: Path, toy: Toy) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"cut short")
    (tmp_path / "b.safetensors").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors", {"format": "word-judge/1", "mel": "3", "labels": "3"})
    save_file({"x": torch.zeros(1)}, tmp_path / "d.safetensors", {"vocoder": "[" * 5000})
    representation = MelRepresentation(MelConfig())
    vocoder = LearnedVocoder(VocoderConfig(channels=16, blocks=2, rounds=2))
    checkpoint.save_part(tmp_path / "e.safetensors", "vocoder", vocoder, {})
    judge = Judge(MelConfig(), ("low", "high"))
    save_judge(tmp_path / "f.safetensors", judge)
    assert set(shelf.find_parts(tmp_path, representation)) == {"vocoder"}
    assert find_judge(tmp_path, ("low", "high"), 8000) is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_among_checkpoints_is_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path)
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert shelf.read_card(tmp_path / "toy.safetensors").name == "toy"
    assert sorted(shelf.find_checkpoints(tmp_path)) == ["pipe", "toy"]
    for read in (shelf.read_card, load, load_judge):
        with pytest.raises(CheckpointError, match=r"pipe\.safetensors: not a file"):
            read(tmp_path / "pipe.safetensors")


READING = """
import sys
from pathlib import Path
from explorer.checkpoint import CheckpointError, read_metadata
from explorer.judge import load_judge
print("begun", flush=True)
while Path(sys.argv[1]).stat():
    for read in (*[read_metadata] * 20, load_judge):
        try:
            read(Path(sys.argv[1]))
        except CheckpointError:
            pass
"""


@pytest.mark.skipif(os.name != "posix", reason="a file that is being read cannot be cut")
def test_a_file_that_is_cut_again_and_again_while_it_is_read_ends_no_process(tmp_path: Path) -> None:
    # Where a file is mapped into memory, the process mostly ends by SIGBUS within a hundred times.
    path = tmp_path / "judge.safetensors"
    save_judge(path, Judge(MelConfig(), ("low", "high")))
    data = path.read_bytes()
    with subprocess.Popen([sys.executable, "-c", READING, path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as reads:
        assert reads.stdout is not None
        assert reads.stdout.readline() == "begun\n"
        for _ in range(400):
            path.write_bytes(data)
        assert reads.poll() is None
        reads.kill()


def test_a_checkpoint_without_its_weights_has_no_card(tmp_path: Path) -> None:
    path = write(tmp_path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match="the weights do not fit family 'toy'"):
        shelf.read_card(path)
