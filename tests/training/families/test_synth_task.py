"""The task of GANSynth; the training loop itself is tested in test_loop."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from explorer.generators.gansynth import GANSynth, GANSynthConfig
from explorer.sound.spectrum import SpectrumRepresentation
from training.data.audio import Waveforms
from training.data.pitched import KEYS
from training.families.gansynth import (
    BANDS,
    Critic,
    Encoder,
    SynthTask,
    _tensors,
    audible,
    deviation,
    envelopes,
    view,
)
from training.networks import GROUP
from training.runs import TrainingError
from training.task import Prepared
from training.wgan_gp import Networks

CONFIG = GANSynthConfig(latent=8, channels=(8, 8, 8, 8, 8), style=8)
SPECTRUM = SpectrumRepresentation(CONFIG.spectrum)
SOURCES = ["organ: a", "organ: b", "reed: c"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(pitch: float) -> Tensor:
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    t = torch.arange(16_384, dtype=torch.float64) / 16_000
    return sum(torch.sin(2 * math.pi * frequency * k * t) / k for k in range(1, 6)).float() * 0.2  # type: ignore[union-attr]


def prepared() -> Prepared:
    """Twelve notes of three instruments, not sorted: keys 60 to 63 of each."""
    labels, sources = torch.arange(12) % 4, torch.tensor([2, 0, 1]).repeat(4)
    x = torch.stack([tone(60 + int(label)) for label in labels]).half()
    meta = {"labels": ["60", "61", "62", "63"], "sources": SOURCES}
    clips = Waveforms(x, labels, x, labels, meta, sources, sources)
    tensors = _tensors(clips, "train", KEYS)
    return Prepared(tensors, tensors, {"lowest": 36, "highest": 84, "sample_rate": 16_000})


def key(pitch: int) -> Tensor:
    return torch.eye(49)[pitch - 36][None]


def networks() -> Networks:
    torch.manual_seed(0)
    return Networks(GANSynth(CONFIG), Critic(CONFIG), Encoder(CONFIG))


def test_families_and_their_instruments_are_drawn_equally_often() -> None:
    data = prepared().train
    index = SynthTask().draw(data, 4000, rng())
    family = torch.tensor([2, 0, 1]).repeat(4)[index]
    assert float((family == 2).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float((family == 0).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_each_group_of_a_batch_has_one_pitch() -> None:
    data = prepared().train
    pitches = data["condition"][SynthTask().draw(data, 32, rng())].argmax(1).reshape(-1, GROUP)
    assert bool((pitches == pitches[:, :1]).all())
    assert len(pitches[:, 0].unique()) > 1


def test_the_other_note_is_of_the_same_instrument() -> None:
    task, data = SynthTask(), prepared().train
    sources = torch.tensor([2, 0, 1]).repeat(4)
    index = torch.arange(12).repeat(20)
    batch = task.batch(data, index, rng())
    other_pitch = batch.other_condition.argmax(1)
    there = {(int(s), int(p)) for s, p in zip(sources, data["condition"].argmax(1), strict=True)}
    assert {(int(s), int(p)) for s, p in zip(sources[index], other_pitch, strict=True)} <= there
    assert bool((other_pitch != batch.condition.argmax(1)).any())  # type: ignore[union-attr]


def test_a_tone_in_tune_has_no_deviation_at_any_pitch() -> None:
    for pitch in (40, 60, 80):
        seen = view(SPECTRUM.analyse(tone(pitch)[None]), key(pitch), CONFIG)[0, :, :, 8:56]
        heard = audible(seen[0], CONFIG.spectrum) > 0.95
        assert float(seen[1][heard].mean()) > 0.9
        detuned = view(SPECTRUM.analyse(tone(pitch + 0.5)[None]), key(pitch), CONFIG)[0, :, :, 8:56]
        assert float((detuned[2][heard]).abs().mean()) > 3 * float(seen[2][heard].abs().mean())


def test_frequency_is_masked_where_it_is_nearly_silent() -> None:
    x = torch.stack([torch.full((512, 64), -1.0), torch.rand(512, 64, generator=rng()) * 2 - 1])[None]
    assert float(view(x, key(60), CONFIG)[:, 1:].abs().max()) < 0.05


def test_the_envelope_of_a_tone_is_its_level_and_falls_by_6_db_with_half_of_it() -> None:
    loud, soft = (
        envelopes(view(SPECTRUM.analyse(gain * tone(69)[None]), key(69), CONFIG), CONFIG.spectrum)[0, :, 8:56]
        for gain in (0.5, 0.25)
    )
    per_db = math.log(10) / 10 / -math.log(CONFIG.spectrum.floor)
    torch.testing.assert_close((loud - soft)[-1] / per_db, torch.full((48,), 20 * math.log10(2)), atol=0.2, rtol=0)
    assert float(loud[2:BANDS].max()) < float(loud[0].min()) - 40 * per_db  # its partials are below 4 kHz


def test_an_item_changes_only_the_deviation_of_its_group() -> None:
    x = torch.randn(8, 5, generator=rng())
    y = x.clone()
    y[5] += 1
    changed = deviation(x) != deviation(y)
    assert changed.tolist() == [False] * 4 + [True] * 4
    torch.testing.assert_close(deviation(x)[0], x[:4].var(0, unbiased=False).sqrt().mean(), atol=1e-4, rtol=0)


def test_real_and_generated_notes_do_not_change_each_others_scores() -> None:
    critic, views = networks().critic, torch.randn(8, 3, 512, 64, generator=rng())
    conditions = key(60).repeat(8, 1)
    together = critic(views, conditions)[0]
    apart = torch.cat([critic(half, key(60).repeat(4, 1))[0] for half in views.split(4)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_a_perfect_encoder_has_no_consistency_loss() -> None:
    class Knows(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([drawn[-1], drawn[-1]], dim=1)

    class Remembers(GANSynth):
        def forward(self, z: Tensor, *args: object) -> Tensor:
            drawn.append(z)
            return torch.zeros(len(z), 2, 512, 64)

    drawn: list[Tensor] = []
    task, data = SynthTask(), prepared().train
    recipe = replace(task.defaults, batch_size=8)
    losses = task.matching_loss(Networks(Remembers(CONFIG), Critic(CONFIG), Knows()), data, recipe, rng())
    assert float(losses["consistency_loss"]) == 0
    assert float(task.matching_loss(networks(), data, recipe, rng())["consistency_loss"].detach()) > 0.01


def test_a_batch_that_groups_do_not_divide_is_refused() -> None:
    task = SynthTask()
    with pytest.raises(TrainingError, match="multiple of 4"):
        task.objective(replace(task.defaults, batch_size=6), prepared(), {}, torch.device("cpu"), False)


def test_both_phases_take_a_step() -> None:
    task, data = SynthTask(), prepared()
    recipe = replace(task.defaults, batch_size=4, warm_steps=1, steps=1)
    config = {"latent": 8, "channels": [8, 8, 8, 8, 8], "style": 8}
    objective = task.objective(recipe, data, config, torch.device("cpu"), False)
    before = [p.detach().clone() for p in objective.generator.parameters()]
    for _ in range(2):
        figures = objective.update(data.train)
        objective.step += 1
        assert all(math.isfinite(float(value.detach())) for value in figures.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, objective.generator.parameters(), strict=True))
