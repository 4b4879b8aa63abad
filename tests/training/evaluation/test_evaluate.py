"""Evaluation of models as good as real data, of models that repeat themselves, and of bad input."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from torch import Tensor

from explorer import checkpoint, shelf
from explorer.generators.base import Generator
from explorer.generators.pianogan import PianoGAN, PianoGANConfig
from explorer.latent import LatentSpace
from explorer.sound.base import Settings
from explorer.sound.notes import NOTES, NotesRepresentation, encode_notes
from training.__main__ import main
from training.data import midi
from training.evaluation import music, piano
from training.evaluation.evaluate import evaluate
from training.evaluation.piano import Performances, note_windows, piano_tables
from training.evaluation.tables import Column, Table

TINY = PianoGANConfig(latent_size=16, code_size=8, width=16, blocks=1, decoder_width=16, flow_steps=1)
SAMPLES = 40


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Few training windows to search, since there are few pieces, and one baseline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(piano, "TRAINING_WINDOWS", 50)
        patch.setattr(piano, "BASELINES", {"unigram": music.unigram})
        yield


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MIDI: walks up and down the keyboard, each of its own tempo, loudness and register."""
    folder, rng = tmp_path_factory.mktemp("pieces"), np.random.RandomState(0)
    for k in range(30):
        steps = rng.choice([0, 0.1, 0.2, 0.4], size=2 * NOTES, p=[0.4, 0.2, 0.2, 0.2]) * rng.uniform(0.7, 1.4)
        onsets = np.cumsum(steps)
        pitches = np.clip(rng.randint(45, 75) + np.cumsum(rng.randint(-4, 5, 2 * NOTES)), 21, 108)
        loudness = rng.randint(40, 90)
        piano = pretty_midi.Instrument(0)
        piano.notes = [
            pretty_midi.Note(int(loudness + rng.randint(20)), int(p), t, t + rng.uniform(0.1, 0.6))
            for p, t in zip(pitches, onsets, strict=True)
        ]
        midi = pretty_midi.PrettyMIDI(resolution=960)
        midi.instruments.append(piano)
        midi.write(str(folder / f"{k}.mid"))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def _unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told apart as it is played, nor of what form it is: that takes most of the time."""
    monkeypatch.setattr(piano, "HEARD_WINDOWS", 1)


class Player(Generator):
    """A generator that returns one of the recorded windows (n, 91, 256), chosen by the latent."""

    family = "player"

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self, windows: Tensor) -> None:
        super().__init__()
        self.config, self.windows = self.Config(), windows
        self.latent, self.representation = LatentSpace((4,)), NotesRepresentation()

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        chosen = (z.abs().sum(1) * 1000).long() % len(self.windows)
        return self.windows[chosen]


def row(tables: list[Table], name: str) -> dict[str, float]:
    return dict(tables[0].rows[name])


@pytest.fixture(scope="module")
def valid(pieces: Path, cache: Path) -> Tensor:
    windows = midi.windows(midi.prepare(pieces, cache).valid, 200)
    return encode_notes(*windows.unbind(-1)).float()


@pytest.fixture(scope="module")
def real(valid: Tensor, pieces: Path, cache: Path) -> list[Table]:
    return piano_tables(Player(valid), NotesRepresentation(), pieces, cache, SAMPLES)


def test_note_windows_recovers_the_windows_that_were_encoded(valid: Tensor) -> None:
    representation = NotesRepresentation()
    windows = note_windows(representation.decode(x) for x in valid[:5])
    again = encode_notes(*torch.from_numpy(windows).unbind(-1)).float()
    # But for the first step, which decoding makes 0.
    np.testing.assert_allclose(again[:, :, 1:], valid[:5, :, 1:], atol=1e-3)


def test_a_model_that_plays_held_out_pieces_scores_like_real_data(real: list[Table]) -> None:
    assert row(real, "model")["overlap_area"] == pytest.approx(row(real, "validation")["overlap_area"], abs=0.06)
    assert row(real, "model")["chord_rate"] == pytest.approx(row(real, "validation")["chord_rate"], abs=0.03)


@pytest.mark.usefixtures("_unheard")
def test_a_model_that_repeats_one_piece_scores_badly(valid: Tensor, pieces: Path, cache: Path) -> None:
    collapsed = piano_tables(Player(valid[:1]), NotesRepresentation(), pieces, cache, SAMPLES)
    assert row(collapsed, "model")["spread"] == pytest.approx(0, abs=1e-6)
    assert row(collapsed, "model")["two_sample_accuracy"] > 0.9


def test_the_classifier_recognises_notes_drawn_independently(real: list[Table]) -> None:
    assert row(real, "unigram")["two_sample_accuracy"] > 0.9


def test_the_features_table_averages_its_features(real: list[Table]) -> None:
    rows = dict(real[1].rows)
    mean = rows.pop("mean")
    assert len(rows) == 13
    assert mean["model_area"] == pytest.approx(np.mean([r["model_area"] for r in rows.values()]))


def test_held_out_windows_of_the_same_pieces_are_not_told_apart_as_played(real: list[Table]) -> None:
    rows = real[2].rows
    assert rows["validation"]["told_unseen"] < 0.7
    # These chords are struck at once and there is no pedal, so that encoding loses nothing that can be heard.
    for figure in ("at_once", "sounding", "shortest_waits"):
        assert rows["validation, encoded"][figure] == pytest.approx(rows["validation"][figure], rel=0.1, abs=0.03)


def test_the_form_of_real_windows_is_all_of_the_way_to_real(real: list[Table]) -> None:
    assert real[3].title == "Form"
    row = real[3].rows["top line, contour"]
    assert row["apart"] > 0.75
    assert row["way"] == pytest.approx(1, abs=0.35)


def test_windows_as_played_have_touch_and_pedal(tmp_path: Path) -> None:
    music = pretty_midi.PrettyMIDI(resolution=960)
    piano = pretty_midi.Instrument(0)
    for k in range(NOTES):
        start = 0.5 * (k // 2) + 0.01 * (k % 2)
        piano.notes.append(pretty_midi.Note(64, 48 + k // 2 % 24 + 24 * (k % 2), start, start + 0.1))
    # Down all the time but for a moment before each second chord.
    piano.control_changes = [
        pretty_midi.ControlChange(64, value, time)
        for k in range(NOTES // 4)
        for value, time in ((0, k - 0.02 + 1e-3), (127, k + 0.2))
        if time > 0
    ]
    music.instruments.append(piano)
    music.write(str(tmp_path / "one.mid"))
    data = midi.prepare(tmp_path, tmp_path / "cache")
    window = Performances.of(data.train, 1).performed()[0]
    np.testing.assert_allclose(window[1:, 1], np.resize([0.01, 0.49], NOTES - 1), atol=2e-3)
    np.testing.assert_allclose(window[2:4, 2], [0.48, 0.47], atol=3e-3)  # until the pedal is lifted at 0.98


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, PianoGAN(TINY))
    return path


@pytest.mark.usefixtures("_unheard")
def test_the_command_prints_the_tables_and_writes_them_as_json(
    shipped: Path, pieces: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    arguments = ["evaluate", str(shipped), "--data", str(pieces), "--cache", str(cache), "--samples", str(SAMPLES)]
    assert main([*arguments, "--json", str(target)]) == 0
    figures = json.loads(target.read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert figures["sha256"] == shelf.read_card(shipped).sha256
    share = figures["tables"][0]["rows"]["model"]["chord_rate"]
    line = next(line for line in printed.splitlines() if line.startswith("model "))
    assert Column("", "", percent=True).text(share) in line
    assert "targets met" in printed.splitlines()[-1]
    again = evaluate(shipped, [pieces], cache, SAMPLES).to_dict()
    assert figures == again, "the same checkpoint and data give the same figures"


@pytest.mark.usefixtures("_unheard")
def test_snapshots_are_measured_as_the_checkpoint_is_and_kept_for_the_lessons(
    pieces: Path, cache: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    final, early = PianoGAN(TINY), PianoGAN(TINY)
    checkpoint.save(tmp_path / "tiny.safetensors", final, provenance={"step": 9})
    checkpoint.save(tmp_path / "snapshots" / "tiny" / "0.safetensors", early)
    arguments = ["tiny", "--checkpoints", str(tmp_path), "--data", str(pieces), "--cache", str(cache)]
    assert main(["evaluate", *arguments, "--samples", str(SAMPLES), "--snapshots"]) == 0
    figures = json.loads((tmp_path / "snapshots" / "tiny" / "figures.json").read_text(encoding="utf-8"))
    assert list(figures["steps"]) == ["0", "9"]
    (first, *_) = evaluate(tmp_path / "tiny.safetensors", [pieces], cache, SAMPLES).tables
    assert figures["steps"]["9"] == pytest.approx(dict(first.rows["model"]), rel=1e-3)
    assert figures["steps"]["0"] != figures["steps"]["9"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "SHIPPED", "--data", "DATA", "--snapshots"], "has no snapshots"),
        (["evaluate", "nowhere", "--data", "DATA"], "no checkpoint 'nowhere'; there are:"),
        (["evaluate", "SHIPPED", "--data", "nowhere"], "no such folder"),
        (["evaluate", "SHIPPED", "--data", "DATA", "--samples", "3"], "too few"),
        (["evaluate", "SHIPPED", "--data", "DATA", "--json", "no/folder/x.json"], "no/folder"),
    ],
)
def test_bad_input_gives_one_clear_line(
    arguments: list[str], message: str, shipped: Path, pieces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"SHIPPED": str(shipped), "DATA": str(pieces)}
    assert main([places.get(a, a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
