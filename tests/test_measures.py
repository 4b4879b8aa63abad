"""Measures of sounds for which they are known by construction."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from explorer.measures import MEASURES, measure
from explorer.sound.base import LogMel, Note, Sound
from explorer.sound.mel import MelConfig, MelRepresentation

SAMPLE_RATE = 8000
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)


def sound(waveform: np.ndarray) -> Sound:
    return Sound(lambda: waveform, SAMPLE_RATE, len(waveform) / SAMPLE_RATE)


def as_log_mel(waveform: np.ndarray) -> Sound:
    """The sound as a mel generator would make it: with a log-mel, and an estimated phase."""
    representation = MelRepresentation(MelConfig(mean=(-3.0,) * 64, scale=(12.0,) * 64, floor=1e-5))
    return representation.decode(representation.encode(sound(waveform)))


def sine(frequency: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype("f4")


def voice(fundamental: float) -> np.ndarray:
    """Twelve harmonics, the fourth and fifth strongest, as in a vowel."""
    harmonics = [sine(fundamental * k, amplitude=0.1 * math.exp(-((k - 4.5) ** 2) / 8)) for k in range(1, 13)]
    return np.sum(harmonics, axis=0)


def midi(frequency: float) -> float:
    return 69 + 12 * math.log2(frequency / 440)


def piece(pitches: tuple[int, ...], onsets: list[float], duration: float = 0.5, velocity: int = 64) -> Sound:
    notes = tuple(Note(p, t, duration, velocity) for p, t in zip(pitches, onsets, strict=True))
    return Sound(lambda: np.zeros(1, dtype="f4"), SAMPLE_RATE, 1.0, notes=notes)


@pytest.mark.parametrize("make", [sound, as_log_mel])
def test_a_sine_has_its_brightness_at_its_frequency(make: Callable[[np.ndarray], Sound]) -> None:
    assert measure(make(sine(220)))["brightness"] == pytest.approx(220, abs=10)


@pytest.mark.parametrize("make", [sound, as_log_mel])
@pytest.mark.parametrize("frequency", [110.0, 220.0, 350.0])
def test_a_sine_has_the_pitch_of_its_frequency(make: Callable[[np.ndarray], Sound], frequency: float) -> None:
    assert measure(make(sine(frequency)))["pitch"] == pytest.approx(midi(frequency), abs=0.5)


@pytest.mark.parametrize("make", [sound, as_log_mel])
@pytest.mark.parametrize("frequency", [90.0, 140.0, 250.0])
def test_a_voice_has_the_pitch_of_its_fundamental_and_not_of_its_strongest_harmonic(
    make: Callable[[np.ndarray], Sound], frequency: float
) -> None:
    assert measure(make(voice(frequency)))["pitch"] == pytest.approx(midi(frequency), abs=0.5)


def test_silence_has_no_pitch_no_brightness_and_no_loudness() -> None:
    found = measure(sound(np.zeros(SAMPLE_RATE, dtype="f4")))
    assert all(math.isnan(found[name]) for name in ("pitch", "brightness", "loudness"))
    assert found["duration"] == 0


@pytest.mark.parametrize("make", [sound, as_log_mel])
def test_twice_the_amplitude_is_6_dB_louder(make: Callable[[np.ndarray], Sound]) -> None:
    loud, soft = measure(make(sine(220, amplitude=0.5))), measure(make(sine(220, amplitude=0.25)))
    assert loud["loudness"] - soft["loudness"] == pytest.approx(20 * math.log10(2), abs=0.02)


def test_silence_around_a_sound_makes_it_neither_longer_nor_softer() -> None:
    short = sine(220, seconds=0.4)
    alone, padded = measure(sound(short)), measure(sound(np.pad(short, 2000)))
    assert padded["duration"] == pytest.approx(alone["duration"], abs=0.04)
    assert padded["loudness"] == pytest.approx(alone["loudness"], abs=0.5)


@pytest.mark.parametrize("make", [sound, as_log_mel])
def test_duration_is_that_of_the_active_part(make: Callable[[np.ndarray], Sound]) -> None:
    assert measure(make(np.pad(sine(300, seconds=0.5), 1500)))["duration"] == pytest.approx(0.5, abs=0.08)


def test_the_brightness_of_white_noise_is_half_of_its_band() -> None:
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, SAMPLE_RATE).astype("f4")
    assert measure(sound(noise))["brightness"] == pytest.approx(SAMPLE_RATE / 4, rel=0.02)


@pytest.mark.parametrize("amplitude", [0.5, 0.005])
def test_the_floor_of_a_log_mel_does_not_count_as_sound(amplitude: float) -> None:
    representation = MelRepresentation(MelConfig())
    short = sound(np.pad(sine(300, 0.5, amplitude), 1500))
    found = measure(representation.decode(representation.encode(short)))
    assert found["duration"] == pytest.approx(0.5, abs=0.08)


def test_a_log_mel_is_measured_without_synthesising_the_waveform() -> None:
    def fail() -> np.ndarray:
        raise AssertionError("the waveform was asked for")

    picture = LogMel(np.zeros((8, 10)), np.linspace(100, 1000, 8), 128, SAMPLE_RATE)
    assert measure(Sound(fail, SAMPLE_RATE, 1.0, log_mel=picture))["duration"] == pytest.approx(10 * 128 / SAMPLE_RATE)


def struck(frequency: float, decay: float = 0.5, rise: float = 0.0) -> Sound:
    """A sine that rises in `rise` seconds and then falls by 40 dB in `decay`, after 2 ms of silence."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    level = np.where(time < rise, time / max(rise, 1e-9), 100 ** -((time - rise) / decay))
    return one_shot(0.9 * level * np.sin(2 * np.pi * frequency * time))


def one_shot(waveform: np.ndarray) -> Sound:
    padded = np.pad(waveform.astype("f4"), (SAMPLE_RATE // 500, 0))
    return Sound(lambda: padded, SAMPLE_RATE, len(padded) / SAMPLE_RATE, one_shot=True)


@pytest.mark.parametrize("decay", [0.1, 0.5])
def test_the_decay_of_a_one_shot_is_the_time_of_40_db(decay: float) -> None:
    assert measure(struck(400, decay))["decay"] == pytest.approx(decay, abs=0.01)


@pytest.mark.parametrize("rise", [0.01, 0.05])
def test_the_attack_of_a_one_shot_is_its_rise(rise: float) -> None:
    assert measure(struck(400, rise=rise))["attack"] == pytest.approx(1000 * rise, abs=4)


@pytest.mark.parametrize("frequency", [50, 200, 700])
def test_a_struck_tone_has_its_pitch_and_is_not_noisy(frequency: float) -> None:
    found = measure(struck(frequency))
    assert found["pitch"] == pytest.approx(midi(frequency), abs=0.5)
    assert found["noisiness"] < 1


def test_white_noise_has_no_pitch_and_the_flatness_of_exponential_powers() -> None:
    """Its powers are exponentially distributed, so the flatness is exp(-0.5772) = 0.56."""
    found = measure(one_shot(np.random.RandomState(0).standard_normal(SAMPLE_RATE) * 0.2))
    assert math.isnan(found["pitch"])
    assert found["noisiness"] == pytest.approx(56, abs=3)


def test_a_silent_one_shot_has_no_measures() -> None:
    assert all(math.isnan(x) for x in measure(one_shot(np.zeros(SAMPLE_RATE))).values())


@pytest.mark.parametrize("tonic", range(12))
def test_a_major_scale_is_in_key_whatever_its_tonic(tonic: int) -> None:
    scale = tuple(p + tonic for p in C_MAJOR)
    assert measure(piece(scale, [0.25 * i for i in range(8)]))["in-key"] == 100


def test_seven_of_twelve_notes_of_the_chromatic_scale_are_in_key() -> None:
    found = measure(piece(tuple(range(60, 72)), [0.1 * i for i in range(12)]))["in-key"]
    assert found == pytest.approx(100 * 7 / 12)


def test_half_of_the_notes_count_as_chords_in_chords_of_two() -> None:
    assert measure(piece((60, 64, 62, 65), [0, 0, 1, 1]))["chords"] == 50


def test_single_notes_are_no_chords() -> None:
    assert measure(piece((60, 64, 62), [0, 1, 2]))["chords"] == 0


def test_a_note_every_quarter_of_a_second_is_a_density_of_four() -> None:
    assert measure(piece(C_MAJOR, [0.25 * i for i in range(8)]))["density"] == pytest.approx(4)


def test_register_velocity_and_length_are_those_of_the_notes() -> None:
    found = measure(piece((60, 72), [0, 1], duration=0.75, velocity=80))
    assert (found["register"], found["velocity"], found["length"]) == (66, 80, 0.75)


def test_all_measures_of_no_notes_are_nan() -> None:
    assert all(math.isnan(x) for x in measure(piece((), [])).values())


def note(
    frequency: float, levels: tuple[float, ...] = (1, 1, 1, 1), fall: float = 0.0, rise: float = 0.0, cents: float = 0.0
) -> Sound:
    """Partials of an instrument that fall by `fall` dB a second after a rise, with a vibrato of 5 Hz."""
    time = np.arange(2 * SAMPLE_RATE) / (2 * SAMPLE_RATE)
    phase = 2 * np.pi * frequency * np.cumsum(2 ** (cents / 1200 * np.sin(2 * np.pi * 5 * time))) / (2 * SAMPLE_RATE)
    waves = sum(level * np.sin(k * phase + k * k) for k, level in enumerate(levels, 1))
    envelope = (time / max(rise, 1e-9)).clip(0, 1) * 10 ** (-fall * (time - rise).clip(0) / 20)
    return instrument(0.1 * waves * envelope)


def instrument(waveform: np.ndarray) -> Sound:
    padded = np.pad(waveform.astype("f4"), (64, 0))
    return Sound(lambda: padded, 2 * SAMPLE_RATE, len(padded) / 2 / SAMPLE_RATE, pitched=True)


@pytest.mark.parametrize("frequency", [65.4, 262.0, 1046.5])
@pytest.mark.parametrize("fall", [0.0, 30.0])
def test_a_note_dies_away_as_it_was_made_to_at_any_pitch(frequency: float, fall: float) -> None:
    found = measure(note(frequency, fall=fall))
    assert found["fall"] == pytest.approx(fall, abs=1)
    assert found["attack"] < 20
    assert found["noise"] < -25


@pytest.mark.parametrize("frequency", [65.4, 262.0])
def test_the_attack_of_a_note_is_its_rise_to_3_db_below_the_top(frequency: float) -> None:
    assert measure(note(frequency, rise=0.2))["attack"] == pytest.approx(1000 * 0.2 * (0.707 - 0.02), abs=15)


def test_odd_partials_are_compared_with_even_ones() -> None:
    assert measure(note(262, (1, 0.1, 1, 0.1, 1, 0.1, 1, 0.1, 1)))["odd"] == pytest.approx(20, abs=0.5)
    assert measure(note(262, (1, 1, 0.1, 1, 0.1, 1, 0.1, 1, 0.1)))["odd"] == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("frequency", [131.0, 440.0])
def test_a_vibrato_is_the_cents_to_either_side(frequency: float) -> None:
    assert measure(note(frequency, cents=30))["vibrato"] == pytest.approx(30, rel=0.15)
    assert measure(note(frequency))["vibrato"] < 1


def test_the_breath_of_a_note_is_measured_beside_its_tone() -> None:
    tone, hiss = note(262).waveform, np.random.RandomState(0).standard_normal(2 * SAMPLE_RATE + 64)
    hiss *= np.sqrt((tone**2).mean()) * 10 ** (-10 / 20)
    share = 0.1 / 1.1
    assert measure(instrument(tone + hiss))["noise"] == pytest.approx(10 * math.log10(share), abs=1)


def test_noise_and_silence_are_no_notes_of_an_instrument() -> None:
    for waveform in (np.zeros(2 * SAMPLE_RATE), np.random.RandomState(0).standard_normal(2 * SAMPLE_RATE) * 0.1):
        found = measure(instrument(waveform))
        assert all(math.isnan(found[name]) for name in ("attack", "fall", "odd", "noise", "vibrato"))


@pytest.mark.parametrize(
    "example",
    [sound(sine(220)), piece((60,), [0]), struck(220), note(220)],
    ids=["waveform", "notes", "one-shot", "instrument"],
)
def test_every_measure_has_a_title_and_a_unit(example: Sound) -> None:
    assert set(measure(example)) <= set(MEASURES)
