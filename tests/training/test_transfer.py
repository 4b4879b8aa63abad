"""Fine-tuning a checkpoint on another folder, by the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from explorer import checkpoint
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.shelf import read_card
from training.__main__ import main
from training.data.audio import prepare
from training.families.spectogan import Encoder
from training.runs import last_state
from training.task import DataError

CONFIG = SpectoGANConfig(labels=("0", "1", "2"), latent=8, channels=(8, 8, 8, 8, 8), style=8)
FEW = ["--steps", "2", "--head-start", "1", "--batch-size", "2", "--critic-steps", "1", "--threads", "1"]

Train = Callable[..., int]


def tone(path: Path, frequency: float = 300.0) -> None:
    """A second of a swelling tone at 16 kHz."""
    time = np.arange(16000) / 16000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * frequency * time) * np.hanning(len(time)), 16000)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """An untrained checkpoint that says 0, 1 and 2 at 8 kHz."""
    torch.manual_seed(0)
    path = tmp_path / "origin.safetensors"
    checkpoint.save(path, SpectoGAN(CONFIG))
    return path


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Four recordings of 2, and four of 1."""
    for k in range(4):
        tone(tmp_path / "voice" / "two" / f"{k}.wav", 300 + 50 * k)
        tone(tmp_path / "voice" / "1" / f"{k}.wav", 900 + 50 * k)
    return tmp_path / "voice"


@pytest.fixture
def train(tmp_path: Path, origin: Path, voice: Path) -> Train:
    def run(*argv: str, data: Path = voice, start: Path = origin, steps: list[str] = FEW) -> int:
        return main(
            ["spectogan", "--data", str(data), "--out", str(tmp_path / "run"), "--init-from", str(start), *steps, *argv]
        )

    return run


def test_the_generator_keeps_the_checkpoint_s_weights_during_the_head_start(
    train: Train, origin: Path, tmp_path: Path
) -> None:
    assert train(steps=[*FEW, "--steps", "1"]) == 0
    kept = last_state(tmp_path / "run")["modules"]
    for name, weight in checkpoint.load(origin)[0].state_dict().items():
        assert torch.equal(kept["generator"][name], weight)
        assert torch.equal(kept["ema"][name], weight)


def test_after_the_head_start_the_generator_learns_and_the_run_records_its_origin(
    train: Train, origin: Path, tmp_path: Path
) -> None:
    assert train("--state-every", "1") == 0
    assert main(["spectogan", "--out", str(tmp_path / "run"), "--resume", "--steps", "3", "--threads", "1"]) == 0
    state = last_state(tmp_path / "run")
    assert state["step"] == 3
    before = checkpoint.load(origin)[0].state_dict()
    assert not torch.equal(state["modules"]["generator"]["to_mel.weight"], before["to_mel.weight"])
    about = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert about["init_from"] == {"name": "origin", "sha256": read_card(origin).sha256}
    assert about["config"]["labels"] == ["0", "1", "2"]
    assert about["data"]["labels"] == ["1", "2"]


def test_a_stranger_s_recordings_fine_tune_a_checkpoint_of_several_voices(train: Train, tmp_path: Path) -> None:
    start = tmp_path / "voices.safetensors"
    checkpoint.save(start, SpectoGAN(replace(CONFIG, voices=("ann", "bob"))))
    assert train("--warm-steps", "1", start=start) == 0
    state, before = last_state(tmp_path / "run"), checkpoint.load(start)[0].state_dict()
    assert state["step"] == 3
    assert not torch.equal(state["modules"]["generator"]["to_mel.weight"], before["to_mel.weight"])


def test_spectrogram_format_and_label_order_are_the_checkpoint_s(voice: Path, tmp_path: Path) -> None:
    data = prepare(voice, tmp_path / "cache", {}, CONFIG.mel, CONFIG.labels)
    assert data.meta["mel"]["sample_rate"] == 8000  # not the files' 16,000
    assert tuple(data.meta["mel"]["mean"]) == CONFIG.mel.mean
    assert data.train["condition"].sum(0).tolist() == [0, 4, 4]


def test_unlabelled_clips_are_used_for_every_label(tmp_path: Path) -> None:
    for k in range(3):
        tone(tmp_path / "flat" / f"{k}.wav")
    data = prepare(tmp_path / "flat", tmp_path / "cache", {}, CONFIG.mel, CONFIG.labels)
    n = len(data.train["x"]) // 3
    assert data.train["condition"].sum(0).tolist() == [n, n, n]
    assert torch.equal(data.train["x"][:n], data.train["x"][n : 2 * n])


def test_a_checkpoint_without_labels_ignores_those_of_the_folder(voice: Path, tmp_path: Path) -> None:
    assert "condition" not in prepare(voice, tmp_path / "cache", {}, CONFIG.mel, ()).train


def test_a_label_that_the_checkpoint_does_not_know_is_named_and_can_be_left_out(voice: Path, tmp_path: Path) -> None:
    tone(voice / "cat" / "0.wav")
    with pytest.raises(DataError, match="the checkpoint knows 0, 1, 2, not cat; leave them out"):
        prepare(voice, tmp_path / "cache", {}, CONFIG.mel, CONFIG.labels)
    assert prepare(voice, tmp_path / "cache", {"labels": "1,2"}, CONFIG.mel, CONFIG.labels).meta["labels"] == ["1", "2"]


def test_an_option_that_contradicts_the_checkpoint_is_an_error(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--prepare", "sample_rate=16000") == 2
    assert "these sounds have sample_rate=8000" in capsys.readouterr().err


def test_a_checkpoint_of_another_family_or_none_at_all_is_an_error(
    train: Train, origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pianogan", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--init-from", str(origin)]) == 2
    assert "is a checkpoint of spectogan, not of pianogan" in capsys.readouterr().err
    assert train(start=tmp_path / "nothing") == 2
    assert "no such checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("extra", ["--resume", "--config=latent=4"])
def test_flags_that_contradict_init_from_are_refused(
    train: Train, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(extra) == 2
    assert "leave out --resume and --config" in capsys.readouterr().err


def test_an_encoder_in_the_checkpoint_is_copied_into_the_run(train: Train, origin: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = Encoder((1, 64, 64), CONFIG.latent)
    checkpoint.save(origin, SpectoGAN(CONFIG), extra={f"encoder.{k}": v for k, v in encoder.state_dict().items()})
    assert train("--steps", "1") == 0
    kept = last_state(tmp_path / "run")["modules"]["encoder"]
    assert all(torch.equal(kept[name], weight) for name, weight in encoder.state_dict().items())


def test_an_encoder_of_another_shape_is_an_error(
    train: Train, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(origin, SpectoGAN(CONFIG), extra={"encoder.head.weight": torch.zeros(2, 2)})
    assert train() == 2
    assert "its encoder does not fit" in capsys.readouterr().err
