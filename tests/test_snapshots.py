"""Snapshots of training: played as NAME@STEP, stored in 8 bit, and looked up only inside the folder of checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from toy import make, write

from explorer import checkpoint, shelf
from explorer.__main__ import main
from explorer.checkpoint import CheckpointError
from explorer.directions import principal
from explorer.engine import Engine
from explorer.generators.spectogan import SpectoGAN
from explorer.recipe import Recipe
from explorer.ui import handlers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of the toy, and its snapshots at steps 0 and 1200."""
    checkpoint.save(tmp_path / "toy.safetensors", make(3), directions=principal(make(3), count=2, samples=64))
    for step in (1200, 0):
        checkpoint.save(tmp_path / "snapshots" / "toy" / f"{step}.safetensors", make(step), dtype=torch.int8)
    return tmp_path


@pytest.mark.parametrize("step", [0, 1200])
def test_a_snapshot_plays_the_weights_of_its_step(folder: Path, step: int) -> None:
    write(folder, "then", seed=step)
    engine = Engine(folder)
    played = engine.output(Recipe(f"toy@{step}", seed=7, label="high"))
    torch.testing.assert_close(played, engine.output(Recipe("then", seed=7, label="high")), atol=0.02, rtol=0)


def test_a_snapshot_has_the_directions_of_its_checkpoint(folder: Path) -> None:
    engine = Engine(folder)
    assert engine.model("toy@1200").directions is engine.model("toy").directions
    moved = Recipe("toy@1200", offsets=(("pc1", 2.0),))
    assert torch.equal(engine.latent(moved), engine.latent(Recipe("toy", offsets=(("pc1", 2.0),))))


def test_snapshots_are_listed_by_step_and_not_among_the_checkpoints(folder: Path) -> None:
    assert shelf.snapshots(folder, "toy") == [0, 1200]
    assert Engine(folder).names() == ["toy"]
    assert shelf.snapshots(folder, "toy@1200") == shelf.snapshots(folder, "../toy") == []


def test_a_link_to_a_snapshot_is_refused_once_the_checkpoint_is_replaced(folder: Path) -> None:
    place = Engine(folder).complete(Recipe("toy@1200"))
    assert Engine(folder).complete(Recipe.from_url(place.recipe.to_url())) == place
    write(folder, "toy", seed=4)  # the final checkpoint's vocoder might be another
    with pytest.raises(CheckpointError, match="made with weights"):
        Engine(folder).complete(place.recipe)


@pytest.mark.parametrize(
    "name",
    [
        "toy@7",
        "toy@",
        "@0",
        "toy@00",
        "toy@-0",
        "toy@0.safetensors",
        "../toy@0",
        "toy@../0",
        "..@0",
        ".@0",
        "toy@0@0",
        "snapshots/toy/0",
        "toy@" + "9" * 5000,
        "to\0y@0",
    ],
)
def test_names_of_no_snapshot_are_refused(folder: Path, name: str) -> None:
    (folder / "snapshots" / "0.safetensors").write_bytes((folder / "toy.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Engine(folder).model(name)


def test_a_snapshot_from_before_a_network_grew_is_played(tmp_path: Path) -> None:
    small: dict[str, Any] = {"labels": ("0", "1"), "latent": 8, "channels": (8,) * 5, "style": 8}
    before = SpectoGAN(SpectoGAN.Config(**small)).eval()
    checkpoint.save(tmp_path / "digits.safetensors", SpectoGAN(SpectoGAN.Config(**small, voices=("ann", "bob"))))
    checkpoint.save(tmp_path / "snapshots" / "digits" / "5.safetensors", before)
    output = Engine(tmp_path).output(Recipe("digits@5", seed=3, label="1"))
    with torch.inference_mode():
        expected = before(before.latent.from_seeds([3]), torch.eye(2)[1:])
    torch.testing.assert_close(output, expected[0])


def test_a_snapshot_of_other_sounds_is_refused(folder: Path) -> None:
    checkpoint.save(folder / "snapshots" / "toy" / "0.safetensors", make(notes=5))
    with pytest.raises(CheckpointError, match="its latent, labels or sounds are not those of 'toy'"):
        Engine(folder).model("toy@0")


def test_a_snapshot_is_rendered_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["--checkpoints", str(folder), "render", "toy@1200", "--seeds", "5", "--out", str(out)]) == 0
    assert [path.suffix for path in out.iterdir()] == [".wav"]


def test_8_bit_weights_are_off_by_no_more_than_half_a_step_of_their_channel(tmp_path: Path) -> None:
    toy = make()
    checkpoint.save(tmp_path / "small.safetensors", toy, dtype=torch.int8)
    weight, loaded = toy.layer.weight, checkpoint.load(tmp_path / "small.safetensors")[0].state_dict()["layer.weight"]
    largest = weight.abs().amax(dim=1, keepdim=True)
    assert ((loaded - weight).abs() <= largest / 127 / 2 * 1.001).all()


def test_8_bit_weights_take_one_byte_each(tmp_path: Path) -> None:
    sizes = {}
    for dtype in (torch.int8, torch.float32):
        checkpoint.save(tmp_path / "x.safetensors", make(latent=4000, notes=50), dtype=dtype)
        sizes[dtype] = (tmp_path / "x.safetensors").stat().st_size
    assert sizes[torch.int8] == pytest.approx(sizes[torch.float32] / 4, rel=0.01)


def test_switching_from_a_snapshot_back_to_its_checkpoint_keeps_the_place(folder: Path) -> None:
    engine = Engine(folder)
    view = handlers.make_view(engine, Recipe("toy@1200", seed=7, offsets=(("pc1", 2.0),), label="high"))
    back = handlers.make_view(engine, handlers.change_model(engine, view.recipe, "toy"))
    assert back == handlers.make_view(engine, Recipe("toy", seed=7, offsets=(("pc1", 2.0),), label="high"))
