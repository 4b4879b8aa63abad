"""Figures of speech for models that are known to be as good as real data, or as bad as possible."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tones import tones
from torch import Tensor

from explorer.directions import Direction
from explorer.generators.base import Condition, Generator
from explorer.judge import save_judge
from explorer.latent import LatentSpace
from explorer.sound.base import Settings
from explorer.sound.mel import MelConfig, MelRepresentation
from training.data.audio import load_waveforms
from training.evaluation import speech
from training.evaluation.judge import train_judge
from training.evaluation.speech import JudgedSounds, blended, gaussian, speech_tables
from training.evaluation.tables import Table
from training.task import DataError

SAMPLES = 24
UP = Direction("up", torch.tensor([1.0, 0, 0, 0]))


class Speaker(Generator):
    """A generator that returns a recorded spectrogram of the label, of (labels, n, 1, 64, 64); the latent chooses."""

    family = "speaker"

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self, spectrograms: Tensor, conditional: bool = True) -> None:
        super().__init__()
        self.config, self.spectrograms = self.Config(), spectrograms
        self.latent, self.representation = LatentSpace((4,)), MelRepresentation(MelConfig())
        self.condition = Condition("digit", ("0", "1")) if conditional else None

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        label = torch.zeros(len(z), dtype=torch.long) if condition is None else condition.argmax(1)
        chosen = (z.abs().sum(1) * 1000).long() % self.spectrograms.shape[1]
        return self.spectrograms[label, chosen]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings named as the Free Spoken Digit Dataset names them: takes 5-9 validate."""
    folder = tmp_path_factory.mktemp("digits")
    for k, (waveform, label) in enumerate(zip(*tones(60, 0), strict=True)):
        soundfile.write(folder / f"{label}_ann_{5 + k // 2}.wav", waveform.numpy(), 8000)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def judge_file(folder: Path, cache: Path) -> Path:
    path = cache / "judge.safetensors"
    save_judge(path, train_judge(load_waveforms(folder, cache, {}), epochs=30))
    return path


@pytest.fixture(scope="module")
def spectrograms() -> Tensor:
    """(2, 20, 1, 64, 64): tones that are in no folder."""
    waveforms, labels = tones(40, 9)
    representation = MelRepresentation(MelConfig())
    x = representation.normalize(representation.log_mel(waveforms))
    return torch.stack([x[labels == 0], x[labels == 1]])


@pytest.fixture(scope="module")
def good(spectrograms: Tensor, folder: Path, cache: Path, judge_file: Path) -> list[Table]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "DIRECTION_SEEDS", 4)
        return speech_tables(Speaker(spectrograms), (UP,), folder, cache, judge_file, SAMPLES)


@pytest.fixture(scope="module")
def stuck(spectrograms: Tensor, folder: Path, cache: Path, judge_file: Path) -> list[Table]:
    """A model that always makes the same sound."""
    same = spectrograms[:1, :1].expand(2, 1, -1, -1, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "DIRECTION_SEEDS", 4)
        return speech_tables(Speaker(same), (UP,), folder, cache, judge_file, SAMPLES)


def test_a_model_that_speaks_the_given_label_is_always_right(good: list[Table]) -> None:
    assert good[0].rows["model"]["accuracy"] == 1
    assert good[0].rows["model"]["is"] > 1.5  # of two words


def test_the_training_recordings_have_distance_zero_from_themselves(good: list[Table]) -> None:
    row = good[0].rows["training, recordings"]
    assert row["frechet"] == pytest.approx(0, abs=1e-4)
    assert (row["precision"], row["recall"], row["ndb"]) == (1, 1, 0)
    assert row["spread"] == row["mel_spread"] == pytest.approx(1)


def test_nearest_distances_are_relative_to_validation(good: list[Table]) -> None:
    assert good[0].rows["validation, inverted"]["nearest"] == pytest.approx(1)


def test_a_model_with_one_sound_is_half_right_and_has_no_spread(stuck: list[Table]) -> None:
    row = stuck[0].rows["model"]
    assert row["accuracy"] == 0.5
    assert row["is"] == pytest.approx(1, abs=1e-3)
    assert row["recall"] == 0
    assert row["spread"] == row["mel_spread"] == pytest.approx(0, abs=1e-3)


def test_noise_is_not_named(folder: Path, cache: Path, judge_file: Path) -> None:
    noise = torch.rand(2, 20, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = speech_tables(Speaker(noise), (), folder, cache, judge_file, SAMPLES)[0].rows
    assert rows["model"]["named"] == 0
    assert rows["training, recordings"]["named"] >= 0.97


def test_a_model_with_one_sound_is_told_from_real(good: list[Table], stuck: list[Table]) -> None:
    assert stuck[0].rows["model"]["told"] > good[0].rows["validation, recordings"]["told"]
    assert "told" not in good[0].rows["validation, inverted"]


def test_targets_follow_what_validation_reaches(good: list[Table]) -> None:
    table = good[0]
    assert table.targets["is"].low == pytest.approx(0.9 * table.rows["validation, inverted"]["is"])


def test_a_label_that_no_move_changes_is_kept_along_all_directions(stuck: list[Table]) -> None:
    assert {name: row["up"] for name, row in stuck[3].rows.items()} == {"-2 sigma": 1, "+2 sigma": 1}


def test_a_model_without_labels_has_no_accuracy(
    spectrograms: Tensor, folder: Path, cache: Path, judge_file: Path
) -> None:
    tables = speech_tables(Speaker(spectrograms, conditional=False), (), folder, cache, judge_file, SAMPLES)
    assert "accuracy" not in tables[0].rows["model"]
    assert tables[0].rows["model"]["is"] < 1.2  # it only ever says one of two words


def test_a_folder_without_validation_is_an_error(spectrograms: Tensor, tmp_path: Path) -> None:
    for k, (waveform, label) in enumerate(zip(*tones(6, 0), strict=True)):
        soundfile.write(tmp_path / f"{label}_ann_{20 + k}.wav", waveform.numpy(), 8000)
    with pytest.raises(DataError, match="validation"):
        speech_tables(Speaker(spectrograms), (), tmp_path, tmp_path / "cache", None, SAMPLES)


def test_a_stratified_subsample_has_equally_many_of_each_label() -> None:
    labels = np.arange(400) % 10
    sounds = JudgedSounds(labels, np.eye(10)[labels], np.arange(400.0)[:, None], np.zeros((400, 1)))
    part = sounds.stratified_subsample(300)
    assert np.bincount(part.classes).tolist() == [30] * 10
    assert len(np.unique(part.features)) == 300


def test_gaussian_draws_have_the_mean_and_covariance_of_their_label() -> None:
    rng = np.random.RandomState(0)
    mel = torch.from_numpy(0.1 * rng.standard_normal((50, 1, 2, 2))).float()
    labels = np.repeat([0, 1], 25)
    made = gaussian(mel, labels, np.ones(20000, dtype=int), rng).flatten(1).numpy()
    own = mel[25:].flatten(1).numpy()
    np.testing.assert_allclose(made.mean(0), own.mean(0), atol=5e-3)
    np.testing.assert_allclose(np.cov(made.T), np.cov(own.T), atol=5e-4)


def test_blends_stay_within_their_label() -> None:
    mel = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(4, 1, 1, 1)
    made = blended(mel, np.array([0, 0, 1, 1]), np.array([1, 0, 1]), np.random.RandomState(0))
    assert made.flatten().tolist() == [1, 0, 1]
