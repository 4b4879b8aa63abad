"""DiffWave: the published network, and what the diffusion autoencoder adds to it."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from explorer.checkpoint import config_from_dict, save
from explorer.engine import Engine
from explorer.generators.diffwave import DiffWave, DiffWaveConfig
from explorer.recipe import Recipe
from explorer.sound.mdct import basis, mdct
from explorer.sound.waveform import WaveformConfig

SMALL = DiffWaveConfig(
    WaveformConfig(16_000, 2048), ("kick", "snare"), latent=8, bands=16, channels=8, layers=3, style=8
)


def small() -> DiffWave:
    """With random weights in every layer, also in those that begin at zero."""
    torch.manual_seed(0)
    generator = DiffWave(SMALL)
    for parameter in generator.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    generator.scale.uniform_(0.1, 1)
    return generator.eval().requires_grad_(False)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    save(tmp_path / "small.safetensors", small())
    return Engine(tmp_path)


def test_the_original_for_unconditional_speech_has_the_published_number_of_parameters() -> None:
    """24.1 million, by the paper; to the last one, those of the code that its authors published later."""
    config = DiffWaveConfig(
        WaveformConfig(16_000, 16_000), architecture="original", bands=1, channels=256, layers=36, cycle=12
    )
    with torch.device("meta"):
        generator = DiffWave(config)
    block = (512 * 256 + 256) + (256 * 512 * 3 + 512 + 512) + 2 * (256 * 256 + 256 + 256)
    ends = (256 + 256 + 256) + (128 * 512 + 512) + (512 * 512 + 512) + (256 * 256 + 256 + 256) + (256 + 1)
    assert sum(p.numel() for p in generator.parameters()) == 36 * block + ends == 24_071_681
    dilations = [block.dilated.dilation[1] for block in generator.network.blocks]  # type: ignore[index,union-attr]
    assert dilations == [2**k for k in range(12)] * 3
    assert generator.latent.shape == (16_000,)
    assert generator.settings == {"steps": ("6", "200")}


def test_sounds_are_bands_of_points_and_back() -> None:
    generator = small()
    x = torch.rand(2, 2048, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = x * generator.fades
    x = x * (0.95 / x.abs().amax(1, keepdim=True))
    points = generator.points(x)
    assert points.shape == (2, 16, 1, 128)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(generator.points(x), points)
    inside = generator.fades == 1  # the fades at both ends apply once more
    torch.testing.assert_close(generator.waveform(points)[:, inside], x[:, inside], atol=1e-5, rtol=1e-3)


def test_a_slider_leaves_the_noise_and_a_seed_or_the_grain_changes_it(engine: Engine) -> None:
    model = engine.model("small")
    noise = {
        name: model._inputs(model.complete(recipe))[3]
        for name, recipe in {
            "seed": Recipe("small", seed=3),
            "slider": Recipe("small", seed=3, offsets=(("z0", 2.0),), truncation=0.5),
            "other": Recipe("small", seed=4),
            "end": Recipe("small", seed=3, seed_b=4, t=1.0),
        }.items()
    }
    assert noise["seed"] is not None
    assert torch.equal(noise["seed"], noise["slider"])  # type: ignore[arg-type]
    assert torch.equal(noise["other"], noise["end"])  # type: ignore[arg-type]
    assert abs(float(torch.corrcoef(torch.cat([noise["seed"], noise["other"]]))[0, 1])) < 0.1  # type: ignore[list-item]
    sounds = [
        engine.render(Recipe("small", seed=3, settings=(("grain", grain),))).waveform.tobytes() for grain in "017"
    ]
    assert len(set(sounds)) == 3


def test_the_noise_of_a_seed_is_independent_of_its_latent() -> None:
    generator = small()
    assert generator.noise is not None
    z, noise = generator.latent.from_seed(5), generator.noise.from_seed(5)
    assert not torch.equal(noise[: len(z)], z)
    assert torch.equal(noise, generator.noise.from_seed(5))


def test_a_place_shows_each_step_from_noise_to_its_sound(engine: Engine) -> None:
    place = engine.complete(Recipe("small", seed=1, label="snare", settings=(("steps", "4"),)))
    stages = engine.stages(place)
    assert len(stages) == 1 + 4
    assert stages[-1].waveform.tobytes() == engine.render(place).waveform.tobytes()
    assert len({stage.waveform.tobytes() for stage in stages}) == 5
    noise = engine.model("small")._inputs(place)[3]
    assert noise is not None
    coefficients = mdct(torch.from_numpy(stages[0].waveform)[None], basis(16))[0, 8:64].flatten()  # between the fades
    drawn = noise[0].unflatten(0, (-1, 16))[8:64].flatten()
    loud = drawn.abs() > 0.1
    assert torch.equal(coefficients[loud].sign(), drawn[loud].sign())


def test_the_draft_of_a_place_has_the_same_noise_and_the_fewest_steps(engine: Engine) -> None:
    model, whole = engine.model("small"), engine.complete(Recipe("small", seed=1, settings=(("grain", "3"),)))
    draft = model.draft(whole)
    assert dict(draft.recipe.settings) == {"steps": "2", "guidance": "2", "grain": "3"}
    assert model.draft(draft) == draft
    assert torch.equal(model._inputs(draft)[3], model._inputs(whole)[3])  # type: ignore[arg-type]


def test_a_distilled_network_has_no_guidance_and_is_asked_once_a_step() -> None:
    generator = DiffWave(replace(SMALL, distilled=True))
    assert set(generator.settings) == {"steps", "grain"}
    asked = []
    generator.network.register_forward_hook(lambda *_: asked.append(1))
    generator(torch.zeros(1, 8), torch.eye(2)[:1], {"steps": "4", "grain": "0"}, torch.zeros(1, 2048))
    assert len(asked) == 4


def test_a_checkpoint_from_before_distillation_is_read() -> None:
    before = asdict(SMALL)
    del before["distilled"]
    assert config_from_dict(DiffWaveConfig, before) == SMALL


def test_guidance_moves_away_from_the_sound_without_latent_and_label() -> None:
    generator = small()
    z, condition = generator.latent.from_seed(0)[None], torch.eye(2)[:1]
    plain, guided = (generator(z, condition, {"guidance": k}) for k in ("1", "2"))
    assert not torch.equal(plain, guided)
    generator.describe = torch.nn.Sequential(torch.nn.Linear(10, 8))
    for parameter in generator.describe.parameters():
        parameter.data.zero_()
    generator.nothing.data.zero_()  # type: ignore[union-attr]
    plain, guided = (generator(z, condition, {"guidance": k}) for k in ("1", "2"))
    torch.testing.assert_close(plain, guided, atol=1e-4, rtol=0)  # nothing is said, so there is nothing to move from


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "modern"}, "architecture"),
        ({"waveform": None}, "waveform"),
        ({"bands": 0}, "bands"),
        ({"bands": 48}, "divisible by bands"),
        ({"layers": 2.5}, "layers"),
        ({"cycle": 64}, "cycle"),
        ({"latent": True}, "latent"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **changes)  # type: ignore[arg-type]
