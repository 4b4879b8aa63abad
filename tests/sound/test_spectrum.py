"""Log-magnitude and instantaneous frequency, of tones whose frequencies, levels and phases are known."""

import math

import numpy as np
import pytest
import torch

from explorer.sound.base import Sound
from explorer.sound.spectrum import SpectrumConfig, SpectrumRepresentation, wrapped

RATE = 16_000
REPRESENTATION = SpectrumRepresentation(SpectrumConfig())
C = REPRESENTATION.config


def sound(waveform: np.ndarray) -> Sound:
    return Sound(lambda: waveform.astype(np.float32), RATE, len(waveform) / RATE)


def sine(frequency: float, level: float = 1.0) -> np.ndarray:
    return level * np.cos(2 * np.pi * frequency / RATE * np.arange(C.samples) + 1)


def note(pitch: int) -> np.ndarray:
    """A tone of falling partials with an attack, a decay and a release."""
    t, frequency = np.arange(C.samples) / RATE, 440 * 2 ** ((pitch - 69) / 12)
    partials = np.arange(1, min(30, int(7000 / frequency)) + 1)
    phases = np.random.RandomState(pitch).rand(len(partials))
    waves = np.sin(2 * np.pi * (frequency * partials * t[:, None] + phases)) / partials
    envelope = np.minimum(t / 0.01, 1) * np.exp(-t) * np.exp(-20 * (t - 0.75).clip(0))
    return 0.3 * waves.sum(1) * envelope


def cents_off(waveform: np.ndarray, pitch: int) -> float:
    """Distance of the strongest period near that of a pitch, from the autocorrelation between 0.1 and 0.7 s."""
    held, fine = waveform[RATE // 10 : 7 * RATE // 10], 8
    power = np.abs(np.fft.rfft(held * np.hanning(len(held)), 4 * len(held))) ** 2
    correlation = np.fft.irfft(np.pad(power, (0, len(power) * (fine - 1))))
    period = fine * RATE / (440 * 2 ** ((pitch - 69) / 12))
    low = int(period * 0.96)
    at = low + int(np.argmax(correlation[low : int(period * 1.04) + 2]))
    a, b, c = correlation[at - 1 : at + 2]
    return float(1200 * np.log2(period / (at + (a - c) / (2 * (a - 2 * b + c)))))


@pytest.mark.parametrize("pitch", range(36, 85, 6))
def test_a_note_comes_back_in_tune_and_at_40_db_above_the_error(pitch: int) -> None:
    before = note(pitch)
    after = REPRESENTATION.decode(REPRESENTATION.encode(sound(before))).waveform
    assert abs(cents_off(before, pitch)) < 1  # so that the measure can be trusted
    assert abs(cents_off(after, pitch)) < 5
    assert 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum()) > 40


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_errors_as_a_generator_makes_them_move_the_pitch_by_less_than_20_cents(pitch: int) -> None:
    x, rng = REPRESENTATION.encode(sound(note(pitch))), torch.Generator().manual_seed(0)
    error = torch.randn(x.shape, generator=rng) * torch.tensor([0.03, 0.1])[:, None, None]
    assert abs(cents_off(REPRESENTATION.decode(x + error).waveform, pitch)) < 20


@pytest.mark.parametrize("frequency", [500.0, 1234.5, 3210.0])
def test_a_sines_frequency_and_level_can_be_read_at_its_bin(frequency: float) -> None:
    x = REPRESENTATION.encode(sound(sine(frequency)))
    row = round(frequency * C.n_fft / RATE) - 1  # 0 Hz is left out
    turns = frequency * C.hop_length / RATE
    expected = 2 * (turns - round(turns))
    held = slice(4, -4)
    torch.testing.assert_close(x[1, row, held], torch.full((C.frames - 8,), expected), atol=1e-3, rtol=0)
    distance = frequency * C.n_fft / RATE - row - 1  # in bins, from the bin's centre
    lobe = np.sinc(distance) / (1 - distance**2)  # of a Hann window
    assert REPRESENTATION.magnitude(x[0])[row, 8] == pytest.approx(lobe, abs=1e-3)


def test_the_first_frame_holds_the_phase_itself() -> None:
    shifted = [REPRESENTATION.encode(sound(np.roll(sine(500), n)))[1, 31, 0] for n in (0, 4)]
    assert float(wrapped(shifted[0] - shifted[1])) == pytest.approx(2 * 500 * 4 / RATE, abs=1e-2)


def test_silence_is_the_lowest_level_and_comes_back() -> None:
    x = REPRESENTATION.encode(sound(np.zeros(C.samples)))
    torch.testing.assert_close(x[0], torch.full_like(x[0], -1.0))
    assert np.abs(REPRESENTATION.decode(x).waveform).max() < 1e-6


def test_no_waveform_exceeds_the_range() -> None:
    square = np.sign(sine(500))
    x = REPRESENTATION.encode(sound(square))
    assert float(x[0].max()) < 1
    assert float(x.abs().max()) <= 1


def test_a_sound_that_would_clip_is_scaled_down() -> None:
    x = torch.ones(REPRESENTATION.shape)
    assert np.abs(REPRESENTATION.decode(x).waveform).max() <= 0.99 + 1e-6


def test_a_spectrum_that_does_not_begin_or_end_softly_clicks_at_neither_edge() -> None:
    waveform = REPRESENTATION.decode(REPRESENTATION.encode(sound(sine(440)))).waveform
    assert np.abs(waveform[[0, -1]]).max() < 10 ** (-50 / 20)
    assert np.abs(np.diff(waveform)).max() < 1.1 * 2 * np.pi * 440 / RATE


def test_a_short_sound_is_followed_by_silence_and_a_long_one_loses_its_end() -> None:
    wave = sine(440, 0.5)
    short = REPRESENTATION.decode(REPRESENTATION.encode(sound(wave[:8000]))).waveform
    assert np.abs(short[8600:]).max() < 1e-2
    longer = REPRESENTATION.encode(sound(np.concatenate([wave, np.zeros(1000)])))
    assert longer.shape == REPRESENTATION.shape


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="8000 Hz"):
        REPRESENTATION.encode(Sound(lambda: np.zeros(8, np.float32), 8000, 0.001))


@pytest.mark.parametrize(
    "changes",
    [{"n_fft": 1023}, {"hop_length": 513}, {"frames": 0}, {"floor": 0.0}, {"floor": math.nan}, {"sample_rate": 1.5}],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)).split("_")[0]):
        SpectrumConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("angle", "expected"), [(0.25, 0.25), (1.5, -0.5), (-1.25, 0.75), (4.0, 0.0)])
def test_angles_are_wrapped_into_one_turn(angle: float, expected: float) -> None:
    assert float(wrapped(torch.tensor(angle))) == pytest.approx(expected)
