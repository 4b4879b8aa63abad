"""The measures of pitched notes: instruments are in tune and keep their timbre, and what is wrong is found out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from explorer import checkpoint
from explorer.generators import FAMILIES
from explorer.generators.base import Condition, Generator
from explorer.latent import LatentSpace
from explorer.sound.base import Representation, Settings, Sound, chosen, note_name
from training.__main__ import main
from training.data.pitched import released, shape_note
from training.evaluation.distribution_metrics import precision_recall
from training.evaluation.pitched import _precision_recall, features, note_tables, over_keys
from training.task import DataError

RATE, SAMPLES = 16_000, 16_384
KEYS = (50, 57, 64, 71)
Play = Callable[[int, int], np.ndarray]  # (seed, key): a note


@lru_cache(maxsize=1000)
def instrument(seed: int, key: float) -> np.ndarray:
    """A note (samples,) of an instrument that the seed draws: levels of its partials, how they fade, and a breath."""
    rng = np.random.RandomState(seed)
    tilt, odd, fade = rng.uniform(-2.5, -0.5), rng.uniform(0.05, 1), rng.uniform(0, 8)
    attack, breath = rng.uniform(0.003, 0.1), 10 ** rng.uniform(-4, -2.5)
    lowest, t = 440 * 2 ** ((key - 69) / 12), np.arange(SAMPLES) / RATE
    partials = np.arange(1, int(RATE / 2 / lowest))
    level = partials**tilt * np.where(partials % 2, 1, odd)
    waves = level[:, None] * np.sin(
        2 * np.pi * lowest * partials[:, None] * t + rng.uniform(0, 6, len(partials))[:, None]
    )
    note = waves.sum(0) * np.exp(-fade * t) * (t / attack).clip(0, 1) * ((1 - t) / 0.2).clip(0, 1)
    hiss = breath * np.random.RandomState(round(100 * key)).standard_normal(SAMPLES)
    return (0.5 * (note / np.abs(note).max() + hiss)).astype(np.float32)


@lru_cache(maxsize=1000)
def as_prepared(play: Play, seed: int, key: int) -> np.ndarray:
    return shape_note(released(play(seed, key), RATE), RATE, RATE, SAMPLES)


class Samples(Representation):
    """The samples themselves."""

    sample_rate, seconds, shape = RATE, SAMPLES / RATE, (SAMPLES,)

    def encode(self, sound: Sound) -> Tensor:
        return torch.from_numpy(sound.waveform)

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        chosen(self.settings, settings)
        waveform = x.numpy()
        return Sound(lambda: waveform, RATE, self.seconds)


@dataclass(frozen=True)
class PlayerConfig:
    keys: tuple[int, ...] = KEYS


class Player(Generator):
    """Plays an instrument that the latent chooses of fifty, as prepared data holds it."""

    family, Config = "player", PlayerConfig

    def __init__(self, config: PlayerConfig, play: Play = instrument) -> None:
        super().__init__()
        self.config, self.play = config, play
        self.latent = LatentSpace((4,), "normal")
        self.representation = Samples()
        self.condition = Condition("pitch", tuple(map(note_name, config.keys)), "pitch")
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.eval()

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        assert condition is not None
        # The third number of the latent, which makes different instruments of the first twelve seeds.
        seed = 100 + int(50 * torch.distributions.Normal(0.0, 1.0).cdf(z[0, 2]))
        return torch.from_numpy(as_prepared(self.play, seed, self.config.keys[int(condition[0].argmax())]))[None]


@pytest.fixture(scope="module")
def instruments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instruments")
    for split, seeds in (("train", range(24)), ("valid", range(24, 36))):
        for seed in seeds:
            place = folder / split / f"family{seed % 2}" / f"instrument{seed}"
            place.mkdir(parents=True)
            for key in KEYS:
                soundfile.write(place / f"{key:03}.wav", instrument(seed, key), RATE)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def figures(play: Play, instruments: Path, cache: Path) -> dict[str, dict[str, float]]:
    table = note_tables(Player(PlayerConfig(), play), instruments, cache, samples=12 * len(KEYS))[0]
    return {name: dict(row) for name, row in table.rows.items()}


def test_instruments_as_real_as_those_to_learn_from_meet_every_target_and_shuffled_keys_do_not(
    instruments: Path, cache: Path
) -> None:
    rows = figures(instrument, instruments, cache)
    for name in ("training, instruments", "held out, instruments", "model"):
        assert rows[name]["kept"] == rows[name]["tuned"] == 1
        assert rows[name]["keys"] < 0.75
    assert rows["model"]["told"] < 0.8
    assert 0.7 < rows["model"]["spread"] < 1.3
    assert min(rows["model"]["precision"], rows["model"]["recall"]) > 0.5
    assert rows["keys shuffled"]["kept"] < 0.6
    assert rows["training, with noise"]["kept"] == 1
    assert rows["Gaussian"]["told"] > 0.8


def test_one_timbre_for_all_latents_and_a_wrong_tuning_are_found(instruments: Path, cache: Path) -> None:
    model = figures(lambda seed, key: instrument(0, key + 0.35), instruments, cache)["model"]
    assert model["spread"] == pytest.approx(0, abs=1e-6)
    assert model["recall"] < 0.3
    assert (model["kept"], model["tuned"]) == (1, 0)  # 35 cents sharp


def test_the_distance_over_keys_is_zero_for_one_point_a_timbre_and_one_for_points_without_any() -> None:
    keys, timbres = np.tile(np.arange(24), 20), np.repeat(np.arange(20), 24)
    points = np.random.RandomState(0).standard_normal((20, 3))
    assert over_keys(points[timbres], keys, timbres) == 0
    cloud = np.random.RandomState(1).standard_normal((480, 3))
    assert over_keys(cloud, keys, timbres) == pytest.approx(1, abs=0.05)


def test_precision_and_recall_compare_timbres_though_each_is_nearest_to_itself_on_other_keys() -> None:
    rng, keys = np.random.RandomState(0), np.tile(np.arange(24), 40)

    def on_keys(timbres: np.ndarray) -> np.ndarray:
        points: np.ndarray = timbres.repeat(24, axis=0) + 0.01 * rng.standard_normal((len(keys), 2))
        return points

    theirs, alike = (on_keys(rng.standard_normal((40, 2))) for _ in range(2))
    found = _precision_recall(theirs, alike, keys, keys)
    assert min(found.values()) > 0.7
    assert max(precision_recall(theirs, alike)) < 0.3  # of all keys at once
    assert _precision_recall(theirs, on_keys(np.zeros((40, 2))), keys, keys)["recall"] == 0
    assert _precision_recall(theirs, on_keys(np.full((40, 2), 9.0)), keys, keys)["precision"] == 0


def test_features_do_not_depend_on_the_level() -> None:
    note = instrument(0, 60)[None]
    np.testing.assert_allclose(
        features(note / 64, np.array([60]), RATE), features(note, np.array([60]), RATE), atol=0.1
    )


def test_too_few_instruments_are_an_error_in_one_sentence(instruments: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"too few instruments to measure anything: \d for training"):
        note_tables(Player(PlayerConfig()), instruments / "train" / "family0" / "instrument0", tmp_path)


def test_a_checkpoint_of_notes_is_measured_from_the_command_line(
    instruments: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FAMILIES, "player", Player)
    path = tmp_path / "player.safetensors"
    checkpoint.save(path, Player(PlayerConfig()))
    others = instruments / "valid"
    command = ["evaluate", str(path), "--data", str(instruments), "--cache", str(cache), "--samples", "30"]
    assert main([*command, "--others", str(others), "--json", str(tmp_path / "figures.json")]) == 0
    tables = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["tables"]
    assert [table["title"] for table in tables][:2] == ["Notes", "In tune by octave"]
    assert tables[0]["rows"]["other library"]["kept"] == 1
    assert "targets met" in capsys.readouterr().out
