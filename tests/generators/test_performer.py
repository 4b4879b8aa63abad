"""How pieces are written note by note: by the network's own distributions, and from the past alone."""

import math

import pytest
import torch
from torch import Tensor

from explorer.generators.note_tokens import ATTRIBUTES, BINS, DURATION, PITCH, STEP, notes_at, tokens
from explorer.generators.performer import TEMPERATURE, Course, Performer, chances, draw
from explorer.generators.pianogan import PianoGAN, PianoGANConfig
from explorer.sound.notes import KEYS, decode_notes, encode_notes


@pytest.fixture(scope="module")
def performer() -> Performer:
    """A network with sharp distributions that no two notes share."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        performer = Performer(width=32, blocks=2, note_width=16)
        for parameter in performer.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
        performer.step.bias.data[0] += 4  # many chords
        for name, weight in performer.named_parameters():  # as they are drawn from: whole numbers of 8 bits
            if weight.dim() == 2 and name.endswith("weight"):
                scale = weight.abs().amax(1, keepdim=True) / 127
                weight.data = (weight / scale).round() * scale
    return performer.eval().requires_grad_(False)


def drawn(performer: Performer, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A piece (1, 92, 256), and the noise (1, 92, 256) and the course (12,) that it is a function of."""
    rng = torch.Generator().manual_seed(seed)
    noise, course = torch.randn(1, 92, 256, generator=rng), torch.randn(Course.SIZE, generator=rng)
    return draw(performer, chances(noise)[0].numpy(), course.numpy()), noise, course


def test_each_number_is_drawn_from_its_distribution_by_its_noise(performer: Performer) -> None:
    piece, noise, course = drawn(performer)
    bins = tokens(piece)
    step, pitch, rest = performer(bins, course[None])
    parts = [step, pitch, *rest.split(BINS[DURATION:], dim=2)]
    scaled = [logits[0].double() / temperature for logits, temperature in zip(parts, TEMPERATURE, strict=True)]
    chord, keys = bins[0, :, STEP] == 0, bins[0, :, PITCH]
    before = torch.cat([torch.tensor([-1]), keys[:-1]])
    likely = step[0].double().clone()
    likely[before == KEYS - 1, 0] = -math.inf  # no key is left
    first = likely.softmax(1)[:, :1]  # whether a note is in the chord is not sharpened
    sharp = scaled[STEP][:, 1:].softmax(1) * (1 - first)
    scaled[STEP] = torch.cat([first, sharp], dim=1).log()
    scaled[PITCH][chord[:, None] & (torch.arange(KEYS) <= before[:, None])] = -math.inf
    uniform = torch.special.ndtr(noise[0].double())
    assert torch.equal((scaled[PITCH].T - (-uniform[:KEYS].log()).log()).argmax(0), keys)
    for k, row in ((STEP, 0), (DURATION, 1), (3, 2), (4, 3)):
        up_to = scaled[k].softmax(1).cumsum(1)
        up_to = torch.nn.functional.pad(up_to, (1, 0)).gather(1, bins[0, :, k, None] + torch.arange(2))
        share = uniform[KEYS + row]
        assert ((up_to[:, 0] - 1e-4 < share) & (share < up_to[:, 1] + 1e-4)).all(), ATTRIBUTES[k]


def test_chords_ascend(performer: Performer) -> None:
    bins = tokens(drawn(performer)[0])[0]
    chord = bins[1:, STEP] == 0
    assert 20 < chord.sum() < 250
    assert (bins[:, PITCH].diff()[chord] > 0).all()


def test_a_note_follows_from_the_notes_before_it_alone(performer: Performer) -> None:
    bins = torch.stack([torch.randint(0, n, (256,), generator=torch.Generator().manual_seed(n)) for n in BINS], 1)[None]
    course = torch.zeros(1, Course.SIZE)
    changed = bins.clone()
    changed[:, 100:] = (changed[:, 100:] + 1) % torch.tensor(BINS)
    found, other = performer(bins, course), performer(changed, course)
    for logits, others, known in zip(found, other, (101, 100, 100), strict=True):  # the step of a note is before it
        torch.testing.assert_close(logits[:, :known], others[:, :known])
    assert not torch.allclose(found[0][:, 101], other[0][:, 101])


def test_noise_of_a_note_changes_nothing_before_it(performer: Performer) -> None:
    piece, noise, course = drawn(performer)
    key = 20
    noise[0, key, 100] += 9
    moved = draw(performer, chances(noise)[0].numpy(), course.numpy())
    assert torch.equal(moved[..., :100], piece[..., :100])
    assert moved[0, :KEYS, 100].argmax() == key != piece[0, :KEYS, 100].argmax()


def test_bins_are_those_of_the_notes_and_back() -> None:
    rng = torch.Generator().manual_seed(0)
    pitch = torch.randint(21, 109, (1, 256), generator=rng)
    step, duration, touch = torch.rand(3, 1, 256, generator=rng).double()
    step = torch.where(step < 0.3, 0.0, 0.03 + 2 * step)
    velocity = torch.randint(1, 128, (1, 256), generator=rng)
    x = encode_notes(pitch, step, 0.02 + 7 * duration, velocity, 0.03 * touch).float()
    notes = decode_notes(notes_at(tokens(x)[0].numpy() + 0.5)[0])
    wanted = decode_notes(x[0])
    assert torch.equal(notes[:, 0], wanted[:, 0])
    assert torch.equal(notes[1:, 1] == 0, wanted[1:, 1] == 0)
    timed = wanted[:, 1] > 0
    assert (notes[timed, 1] / wanted[timed, 1]).log().abs().max() < 0.02  # half of a bin of 3 %
    assert (notes[:, 2] / wanted[:, 2]).log().abs().max() < 0.035
    assert (notes[:, 3] - wanted[:, 3]).abs().max() <= 2


def test_courses_of_the_pieces_measured_are_normal() -> None:
    rng = torch.Generator().manual_seed(0)
    level = torch.rand(2000, 1, 5, generator=rng)
    bins = ((level + torch.rand(2000, 256, 5, generator=rng)) / 2 * torch.tensor(BINS)).long()
    course = Course()
    course.measure(bins)
    found = course(bins)
    torch.testing.assert_close(found.mean(0), torch.zeros(Course.SIZE), atol=0.02, rtol=0)
    torch.testing.assert_close(found.T.cov(), torch.eye(Course.SIZE), atol=0.12, rtol=0)


def test_a_latent_is_a_course_and_the_seed_gives_the_noise() -> None:
    config = PianoGANConfig(architecture="autoregressive", latent_size=12, width=32, blocks=1, decoder_width=16)
    generator = PianoGAN(config).eval().requires_grad_(False)
    z = generator.latent.from_seed(0)[None]
    assert generator.noise is not None
    noise = generator.noise.from_seed(1)[None]
    assert not torch.equal(generator(z), generator(z, noise=noise))
    generator.performer.course.weight.zero_()
    assert torch.equal(generator(z), generator(z + 1))


def test_a_latent_that_is_no_course_is_refused() -> None:
    with pytest.raises(ValueError, match="latent_size is 12"):
        PianoGAN(PianoGANConfig(architecture="autoregressive"))
