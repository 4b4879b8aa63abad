"""The judge, on two labels that are easy to distinguish: low tones and high tones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tones import tones

from explorer.checkpoint import CheckpointError
from explorer.judge import MEASURED, Judge, load_judge, save_judge
from training.data.audio import Waveforms
from training.evaluation.judge import accuracy, find_judge, mask, train_judge


@pytest.fixture(scope="module")
def clips() -> Waveforms:
    return Waveforms(*tones(64, 0), *tones(20, 1), {"sample_rate": 8000, "labels": ["0", "1"]})


@pytest.fixture(scope="module")
def judge(clips: Waveforms) -> Judge:
    return train_judge(clips, epochs=6)


def test_the_judge_recognises_two_very_different_sounds(judge: Judge, clips: Waveforms) -> None:
    assert accuracy(judge, clips) == 1


def test_probabilities_sum_to_one_and_rows_do_not_depend_on_their_batch(judge: Judge, clips: Waveforms) -> None:
    probabilities, features = judge.hear(clips.train.numpy())
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(features[3], judge.hear(clips.train[3:4].numpy())[1][0], atol=1e-4)


def test_training_is_repeatable_and_leaves_the_global_random_state_alone(judge: Judge, clips: Waveforms) -> None:
    before = torch.random.get_rng_state()
    again = train_judge(clips, epochs=6)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(judge.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_judge_knows_recordings_like_its_own_and_no_noise(judge: Judge, clips: Waveforms) -> None:
    loudness = 10 ** np.random.RandomState(0).uniform(-3, -0.5, (40, 1))
    noise = (np.random.RandomState(1).randn(40, clips.train.shape[1]) * loudness).astype(np.float32)
    assert judge.knows(judge.hear(clips.train.numpy())[1]).mean() >= 0.97
    assert not judge.knows(judge.hear(noise)[1]).any()


def test_a_judge_without_measured_features_names_everything(judge: Judge, clips: Waveforms, tmp_path: Path) -> None:
    older = {name: tensor for name, tensor in judge.state_dict().items() if name not in MEASURED}
    save_judge(tmp_path / "judge.safetensors", judge)
    with safe_open(tmp_path / "judge.safetensors", framework="pt") as file:
        metadata = file.metadata()
    save_file(older, tmp_path / "judge.safetensors", metadata)
    assert load_judge(tmp_path / "judge.safetensors").knows(judge.hear(clips.valid.numpy())[1]).all()


def test_a_judge_is_the_same_after_saving_and_loading(judge: Judge, clips: Waveforms, tmp_path: Path) -> None:
    save_judge(tmp_path / "judge.safetensors", judge)
    again = load_judge(tmp_path / "judge.safetensors")
    assert again.labels == judge.labels
    np.testing.assert_array_equal(again.hear(clips.valid.numpy())[0], judge.hear(clips.valid.numpy())[0])


def test_a_judge_with_other_labels_is_refused(judge: Judge, clips: Waveforms, tmp_path: Path) -> None:
    save_judge(tmp_path / "judge.safetensors", judge)
    others = Waveforms(
        clips.train, clips.train_labels, clips.valid, clips.valid_labels, {"sample_rate": 8000, "labels": ["7", "8"]}
    )
    with pytest.raises(CheckpointError, match="judges 0 1 at 8000 Hz, not 7 8"):
        find_judge(others, tmp_path, tmp_path / "judge.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"no judge at all"], ids=["missing", "empty", "foreign"])
def test_a_file_that_is_no_judge_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"judge\.safetensors"):
        load_judge(path)


def test_the_mask_silences_only_a_small_part() -> None:
    hidden = (mask(torch.ones(50, 1, 64, 64), torch.Generator().manual_seed(0)) == -1).float().mean((1, 2, 3))
    assert hidden.max() <= (10 + 10) / 64
    assert hidden.mean() > 0.05
