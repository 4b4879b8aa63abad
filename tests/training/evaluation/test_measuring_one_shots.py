"""The measures of one-shots: real hits are real, noise is not, and every fault is counted."""

import json
from collections.abc import Callable
from dataclasses import dataclass
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
from explorer.sound.base import Representation, Settings, Sound, chosen
from training.__main__ import main
from training.data.drum_synth import SAMPLE_RATE, draw, synthesise
from training.data.one_shots import shape_hit
from training.evaluation.one_shots import OneShots, faults, features, one_shot_tables, two_sample_accuracy
from training.task import DataError

RATE, SAMPLES = 16_000, 8192
LABELS = ("closed-hat", "kick")


def hits(label: str, count: int, seed: int) -> np.ndarray:
    values = draw(label, count, np.random.RandomState(seed))
    return np.stack(
        [shape_hit(synthesise(label, v, 100 * seed + k), SAMPLE_RATE, RATE, SAMPLES) for k, v in enumerate(values)]
    )


def measured(waveforms: np.ndarray) -> OneShots:
    return OneShots(waveforms, np.zeros(len(waveforms), int), features(waveforms, RATE))


class Samples(Representation):
    """The samples themselves."""

    sample_rate, seconds, shape = RATE, SAMPLES / RATE, (SAMPLES,)

    def encode(self, sound: Sound) -> Tensor:
        return torch.from_numpy(sound.waveform)

    def decode(self, x: Tensor, settings: Settings | None = None) -> Sound:
        chosen(self.settings, settings)
        waveform = x.numpy()
        return Sound(lambda: waveform, RATE, self.seconds)


class Player(Generator):
    """Plays one of the given sounds of the label, chosen by the latent."""

    family, Config = "player", dict

    def __init__(self, sounds: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.latent = LatentSpace((4,), "normal")
        self.representation, self.condition = Samples(), Condition("drum", tuple(sounds))
        self.sounds = sounds
        self.eval()

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        assert condition is not None
        label = LABELS[int(condition[0].argmax())]
        own = self.sounds[label]
        return torch.from_numpy(own[int(torch.distributions.Normal(0.0, 1.0).cdf(z[0, 0]) * len(own))])[None]


@dataclass(frozen=True)
class TicksConfig:
    labels: tuple[str, ...] = LABELS


class Ticks(Generator):
    """Short decays whose length is drawn from the latent, whatever the label."""

    family, Config = "ticks", TicksConfig

    def __init__(self, config: TicksConfig) -> None:
        super().__init__()
        self.config = config
        self.latent = LatentSpace((4,), "normal")
        self.representation, self.condition = Samples(), Condition("drum", config.labels)
        self.loudness = torch.nn.Parameter(torch.tensor(0.9))

    def generate(self, z: Tensor, condition: Tensor | None, settings: Settings) -> Tensor:
        rate = 0.01 * z[:, :1].exp()
        return self.loudness.clamp(0, 1) * (-rate * torch.arange(SAMPLES)).exp()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    for split, count, seed in (("train", 40, 0), ("valid", 10, 1)):
        for label in LABELS:
            place = folder / split / label
            place.mkdir(parents=True)
            for k, hit in enumerate(hits(label, count, seed)):
                soundfile.write(place / f"{k}.wav", hit, RATE)
    return folder


def figures(
    sounds: Callable[[str], np.ndarray], recordings: Path, cache: Path
) -> tuple[dict[str, dict[str, float]], ...]:
    tables = one_shot_tables(Player({label: sounds(label) for label in LABELS}), recordings, cache, samples=80)
    return tuple({name: dict(row) for name, row in table.rows.items()} for table in tables)


def test_hits_as_real_as_the_recordings_meet_every_target(recordings: Path, tmp_path: Path) -> None:
    rows, by_label, found, _ = figures(lambda label: hits(label, 60, 2), recordings, tmp_path)
    model = rows["model"]
    assert model["accuracy"] == model["worst"] == 1
    assert model["told"] < 0.75
    assert 0.7 < model["spread"] < 1.3
    assert min(model["precision"], model["recall"]) > 0.6
    assert by_label["model"] == dict.fromkeys(LABELS, 1.0)
    assert found["model"] == {"sounds": 80, "silent": 0, "clipped": 0, "clicking": 0}


def test_one_sound_for_each_label_has_no_spread_and_no_recall(recordings: Path, tmp_path: Path) -> None:
    model = figures(lambda label: hits(label, 1, 2), recordings, tmp_path)[0]["model"]
    assert model["accuracy"] == 1
    assert model["spread"] == pytest.approx(0, abs=1e-6)
    assert model["recall"] < 0.2
    assert model["told"] > 0.9


def test_shuffled_names_and_a_gaussian_are_told_for_what_they_are(recordings: Path, tmp_path: Path) -> None:
    rows = figures(lambda label: hits(label, 60, 2), recordings, tmp_path)[0]
    assert 0.3 < rows["names shuffled"]["accuracy"] < 0.7
    assert rows["Gaussian"]["told"] > 0.9


def test_other_libraries_are_measured_by_the_labels_that_they_have(recordings: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    (others / "kick").mkdir(parents=True)
    for k, hit in enumerate(hits("kick", 8, 5)):
        soundfile.write(others / "kick" / f"{k}.wav", hit, RATE)
    player = Player({label: hits(label, 4, 2) for label in LABELS})
    table = one_shot_tables(player, recordings, tmp_path / "cache", samples=40, others=others)[0]
    assert table.rows["other libraries"]["accuracy"] == 1


def test_too_few_recordings_are_an_error_in_one_sentence(recordings: Path, tmp_path: Path) -> None:
    player = Player({label: hits(label, 2, 2) for label in LABELS})
    with pytest.raises(DataError, match=r"too few one-shots to measure anything: [0-4] held out"):
        one_shot_tables(player, recordings / "valid", tmp_path)


def test_a_checkpoint_of_labelled_waveforms_is_measured_from_the_command_line(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FAMILIES, "ticks", Ticks)
    path = tmp_path / "ticks.safetensors"
    checkpoint.save(path, Ticks(TicksConfig()))
    command = ["evaluate", str(path), "--data", str(recordings), "--cache", str(tmp_path / "cache"), "--samples", "40"]
    assert main([*command, "--json", str(tmp_path / "figures.json")]) == 0
    tables = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["tables"]
    assert [table["title"] for table in tables][:3] == ["One-shots", "Right by label", "Faults"]
    assert tables[0]["rows"]["model"]["told"] > 0.9  # clicks are no drums
    assert "targets met" in capsys.readouterr().out


def test_two_halves_of_the_same_hits_cannot_be_told_apart_and_noise_can() -> None:
    kicks = hits("kick", 120, 0)
    noise = np.random.RandomState(0).uniform(-0.9, 0.9, (60, SAMPLES)).astype(np.float32)
    assert two_sample_accuracy(measured(kicks[::2]), measured(kicks[1::2])) == pytest.approx(0.5, abs=0.15)
    assert two_sample_accuracy(measured(kicks[:60]), measured(noise)) == pytest.approx(1, abs=0.05)


def test_features_do_not_depend_on_the_level() -> None:
    kick = hits("kick", 1, 0)
    np.testing.assert_allclose(features(kick / 64, RATE), features(kick, RATE), atol=1e-3)


def test_every_fault_is_counted_once_for_each_sound() -> None:
    sine = 0.5 * np.sin(np.linspace(0, 200, 4000))
    sine[0] = sine[-1] = 0
    click, clipped, overshooting = sine.copy(), (3 * sine).clip(-1, 1), sine.copy()
    click[-1] = 0.004
    overshooting[100:102] = 1  # two samples at full scale are no clipping
    waveforms = np.stack([sine, click, clipped, overshooting, sine / 100])
    assert faults(waveforms) == {"silent": 1, "clipped": 1, "clicking": 1}
