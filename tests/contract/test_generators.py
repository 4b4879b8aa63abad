"""The contract of a generator, tested for every family and every shipped checkpoint.

For a new family, add a line to `SMALL`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import ToyConfig
from toy_keys import KeysToyConfig
from toy_poor import PoorToyConfig

from explorer.checkpoint import CheckpointError, load, save
from explorer.directions import principal
from explorer.engine import Engine
from explorer.generators import FAMILIES
from explorer.generators.base import Generator
from explorer.generators.diffwave import DiffWaveConfig
from explorer.generators.gansynth import GANSynthConfig
from explorer.generators.pianogan import PianoGANConfig
from explorer.generators.spectogan import SpectoGANConfig
from explorer.generators.wavegan import WaveGANConfig
from explorer.recipe import Recipe
from explorer.shelf import DEFAULT_FOLDER, find_checkpoints, read_card
from explorer.sound.spectrum import SpectrumConfig
from explorer.sound.waveform import WaveformConfig
from explorer.tracing import TRACED_AFTER, Traced, trace_when_busy

SPECTRUM = SpectrumConfig(8000, 256, 64, 16)
# Every architecture of every family, as small as possible.
SMALL: dict[str, tuple[str, Any]] = {
    "toy": ("toy", ToyConfig()),
    "toy uniform": ("toy", ToyConfig(labels=(), prior="uniform")),
    "poor toy": ("poor-toy", PoorToyConfig()),
    "toy of keys": ("toy-keys", KeysToyConfig()),
    "diffwave": (
        "diffwave",
        DiffWaveConfig(WaveformConfig(8000, 1024), latent=16, bands=16, channels=8, layers=3, cycle=2, style=8),
    ),
    "diffwave drums": (
        "diffwave",
        DiffWaveConfig(
            WaveformConfig(8000, 1024), ("kick", "snare"), "drum", latent=16, bands=16, channels=8, layers=3, style=8
        ),
    ),
    "diffwave original": (
        "diffwave",
        DiffWaveConfig(WaveformConfig(8000, 1024), architecture="original", bands=1, channels=4, layers=3),
    ),
    "gansynth": ("gansynth", GANSynthConfig(SPECTRUM, 60, 64, latent=16, channels=(8, 8, 8), style=8)),
    "gansynth original": (
        "gansynth",
        GANSynthConfig(SPECTRUM, 60, 64, latent=16, channels=(8, 8, 8), architecture="original"),
    ),
    "pianogan flow": ("pianogan", PianoGANConfig(latent_size=32, code_size=16, width=16, blocks=3, decoder_width=16)),
    "pianogan autoregressive": (
        "pianogan",
        PianoGANConfig(architecture="autoregressive", latent_size=12, width=32, blocks=2, decoder_width=16),
    ),
    "pianogan dcgan": ("pianogan", PianoGANConfig(architecture="dcgan", latent_size=16, dcgan_width=4)),
    "pianogan even": (
        "pianogan",
        PianoGANConfig(architecture="dcgan", latent_size=16, dcgan_width=4, even_rhythm=True),
    ),
    "spectogan": ("spectogan", SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8)),
    "spectogan digits": (
        "spectogan",
        SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("0", "1", "2")),
    ),
    "spectogan dcgan": (
        "spectogan",
        SpectoGANConfig(latent=16, channels=(16, 8, 8, 8), blocks="dcgan", prior="uniform"),
    ),
    "wavegan": ("wavegan", WaveGANConfig(WaveformConfig(8000, 1024), latent=16, channels=(8, 8, 8, 8), style=8)),
    "wavegan drums": (
        "wavegan",
        WaveGANConfig(WaveformConfig(8000, 1024), ("kick", "snare"), "drum", latent=16, channels=(8, 8, 8), style=8),
    ),
    "wavegan original": (
        "wavegan",
        WaveGANConfig(
            WaveformConfig(8000, 1024),
            latent=16,
            prior="uniform",
            architecture="original",
            channels=(8, 8, 8),
            post_filter=16,
        ),
    ),
}
SHIPPED = find_checkpoints(DEFAULT_FOLDER)
ROWS = 5


@dataclass(frozen=True)
class Subject:
    """A generator under test, and a checkpoint of it."""

    generator: Generator
    path: Path

    def latents(self, n: int = ROWS, seed: int = 0) -> Tensor:
        return self.generator.latent.sample(n, np.random.RandomState(seed))

    def conditions(self, n: int = ROWS) -> Tensor | None:
        """(n, labels): one-hot, the labels in turn; the last row is a blend."""
        if self.generator.condition is None:
            return None
        labels = self.generator.condition.labels
        rows = torch.stack([self.generator.condition.encode(labels[i % len(labels)]) for i in range(n)])
        rows[-1] = rows.mean(0)
        return rows

    def outputs(self) -> Tensor:
        output: Tensor = self.generator(self.latents(), self.conditions())
        return output


@pytest.fixture(scope="module", params=[*SMALL, *SHIPPED])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _toy_families: None) -> Subject:
    if request.param in SHIPPED:
        return Subject(load(SHIPPED[request.param])[0], SHIPPED[request.param])
    family, config = SMALL[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = FAMILIES[family](config)
        for parameter in generator.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)  # layers may start at zero
    path = tmp_path_factory.mktemp("small") / f"{request.param.replace(' ', '-')}.safetensors"
    generator.eval().requires_grad_(False)
    save(path, generator, directions=principal(generator, count=2, samples=16))
    return Subject(generator, path)


def test_every_family_is_tested() -> None:
    assert {family for family, _ in SMALL.values()} == {*FAMILIES}


def test_the_same_latents_give_the_same_bits(subject: Subject) -> None:
    first = subject.outputs()
    subject.generator(subject.latents(seed=1), subject.conditions())
    assert torch.equal(first, subject.outputs())


def test_an_item_does_not_depend_on_its_batch(subject: Subject) -> None:
    z, condition, together = subject.latents(), subject.conditions(), subject.outputs()
    for i in range(ROWS):
        alone = subject.generator(z[i : i + 1], None if condition is None else condition[i : i + 1])
        assert torch.equal(alone[0], together[i])


def test_a_condition_is_required_where_there_is_one_and_refused_where_there_is_none(subject: Subject) -> None:
    wrong = None if subject.generator.condition else torch.ones(ROWS, 2) / 2
    with pytest.raises(ValueError, match="condition"):
        subject.generator(subject.latents(), wrong)


def test_an_unknown_setting_is_refused(subject: Subject) -> None:
    with pytest.raises(ValueError, match="no setting reverb = 'hall'"):
        subject.generator(subject.latents(), subject.conditions(), {"reverb": "hall"})
    with pytest.raises(ValueError, match="no setting reverb = 'hall'"):
        subject.generator.representation.decode(subject.outputs()[0], {"reverb": "hall"})


def test_settings_of_generating_and_of_decoding_have_different_names(subject: Subject) -> None:
    assert not set(subject.generator.settings) & set(subject.generator.representation.settings)


def test_the_stages_of_an_output_are_outputs_and_end_with_it(subject: Subject) -> None:
    z, condition, x = subject.latents(1), subject.conditions(1), subject.outputs()[:1]
    stages = subject.generator.stages(z, condition)
    assert torch.equal(stages[-1], x)
    for stage in stages:
        assert stage.shape == x.shape
        assert float(stage.abs().max()) <= 1


def test_the_draft_of_a_generator_is_made_of_its_options_and_only_stages_tell_that_it_emerges(subject: Subject) -> None:
    generator = subject.generator
    assert all(option in generator.settings[name] for name, option in generator.draft.items())
    assert generator.emerges() == (len(generator.stages(subject.latents(1), subject.conditions(1))) > 1)


def test_outputs_have_the_shape_of_the_representation(subject: Subject) -> None:
    assert subject.outputs().shape == (ROWS, *subject.generator.representation.shape)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_outputs_are_finite_and_in_range_wherever_the_latent_lies(subject: Subject, scale: float) -> None:
    x = subject.generator(subject.latents() * scale, subject.conditions())
    assert bool(x.isfinite().all())
    assert float(x.abs().max()) <= 1


def test_other_latents_give_other_outputs(subject: Subject) -> None:
    x = subject.generator(subject.latents(), subject.conditions())
    y = subject.generator(subject.latents(seed=1), subject.conditions())
    assert not torch.equal(x, y)


def test_a_traced_network_gives_the_same_bits(subject: Subject) -> None:
    plain, (traced, _) = subject.generator, load(subject.path)
    if not hasattr(traced, "network"):
        pytest.skip("this family has nothing to trace")
    for module in (traced, *traced.representation.parts().values()):
        trace_when_busy(module, lambda trace, *args: trace(*args))
    condition, scales = subject.conditions(1), (0.0, 1.0, 100.0)
    with torch.inference_mode():
        for seed in range(TRACED_AFTER + 6):
            z = subject.latents(1, seed) * scales[seed % len(scales)]
            x, expected = traced(z, condition), plain(z, condition)
            assert torch.equal(x, expected)
            sound = traced.representation.decode(x[0])
            if sound.played_by is None:
                assert sound.waveform.tobytes() == plain.representation.decode(expected[0]).waveform.tobytes()
    assert isinstance(traced.network, Traced)
    assert traced.network.done


@pytest.fixture
def untouched() -> Iterator[None]:
    """Fails a test that changes the global random states."""
    torch.manual_seed(1)
    np.random.seed(1)
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    yield
    assert torch.equal(before, torch.get_rng_state())
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpy_before).all()


@pytest.mark.usefixtures("untouched")
def test_loading_generating_and_decoding_leave_the_global_random_states_alone(subject: Subject) -> None:
    generator, _ = load(subject.path)
    condition = subject.conditions(1)
    sound = generator.representation.decode(generator(subject.latents(1), condition)[0])
    assert sound.waveform.size > 0


def test_weights_and_configuration_come_back_exactly(subject: Subject, tmp_path: Path) -> None:
    save(tmp_path / "again.safetensors", subject.generator)
    loaded, _ = load(tmp_path / "again.safetensors")
    assert type(loaded) is type(subject.generator)
    assert loaded.config == subject.generator.config
    state = subject.generator.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in state.items())
    assert torch.equal(loaded(subject.latents(), subject.conditions()), subject.outputs())


def test_a_loaded_generator_neither_trains_nor_tracks_gradients(subject: Subject) -> None:
    loaded, _ = load(subject.path)
    assert not any(module.training for module in loaded.modules())
    assert not loaded(subject.latents(), subject.conditions()).requires_grad


def test_loading_is_strict(subject: Subject, tmp_path: Path) -> None:
    generator, _ = load(subject.path)
    generator.register_buffer("superfluous", torch.zeros(1))
    save(tmp_path / "more.safetensors", generator)
    with pytest.raises(CheckpointError, match="superfluous"):
        load(tmp_path / "more.safetensors")


def test_the_card_describes_the_generator(subject: Subject) -> None:
    card, generator = read_card(subject.path), subject.generator
    assert card.family == generator.family
    assert card.labels == (generator.condition.labels if generator.condition else None)
    assert card.latent_shape == generator.latent.shape
    assert (card.sample_rate, card.seconds) == (generator.representation.sample_rate, generator.representation.seconds)


def test_a_sound_is_finite_in_range_and_as_long_as_it_says(subject: Subject) -> None:
    for x in subject.outputs():
        sound = subject.generator.representation.decode(x)
        assert sound.waveform.dtype == np.float32
        assert np.isfinite(sound.waveform).all()
        assert np.abs(sound.waveform).max() <= 1
        assert sound.sample_rate == subject.generator.representation.sample_rate
        assert len(sound.waveform) / sound.sample_rate == pytest.approx(sound.seconds, abs=0.02)


def test_every_setting_makes_a_sound_and_the_first_is_the_default(subject: Subject) -> None:
    representation, x = subject.generator.representation, subject.outputs()[0]
    default = representation.decode(x).waveform
    for name, options in representation.settings.items():
        waveforms = [representation.decode(x, {name: option}).waveform for option in options]
        assert all(np.isfinite(waveform).all() for waveform in waveforms)
        assert waveforms[0].tobytes() == default.tobytes()


def test_a_decoded_sound_can_be_encoded_again(subject: Subject) -> None:
    representation = subject.generator.representation
    x = representation.encode(representation.decode(subject.outputs()[0]))
    assert x.shape == representation.shape
    assert float(x.abs().max()) <= 1


def test_principal_directions_are_unit_vectors_of_the_latent(subject: Subject) -> None:
    directions = principal(subject.generator, count=3, samples=16)
    assert len(directions) == 3
    for direction in directions:
        assert direction.vector.shape == subject.generator.latent.shape
        assert float(direction.vector.norm()) == pytest.approx(1, abs=1e-4)


def test_a_recipe_gives_the_same_bits_in_any_engine_with_any_number_of_threads(subject: Subject) -> None:
    name = subject.path.stem
    recipe = Recipe(name, seed=7, seed_b=8, t=0.5, offsets=(("z0", 1.5),))
    threads, waveforms = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            engine = Engine(subject.path.parent)
            engine.render(Recipe(name, seed=n))
            waveforms.append(engine.render(recipe).waveform.tobytes())
    finally:
        torch.set_num_threads(threads)
    assert waveforms[0] == waveforms[1]
