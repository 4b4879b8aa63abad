"""The contract of a representation: an encoded and decoded sound equals the original to within a stated tolerance.

For a new representation, add a line to `CASES`: a sound, and a function that compares it with the decoded one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from toy import Tones
from toy_poor import Waveform

from explorer.generators import FAMILIES
from explorer.sound.base import Note, Representation, Sound
from explorer.sound.mel import MelConfig, MelRepresentation
from explorer.sound.notes import NOTES, NotesRepresentation, PerformanceRepresentation
from explorer.sound.spectrum import SpectrumConfig, SpectrumRepresentation
from explorer.sound.waveform import WaveformConfig, WaveformRepresentation


def notes(count: int, seconds: float, lowest: int, keys: int) -> tuple[Note, ...]:
    """One note after the other, each as long as the time to the next."""
    rng = np.random.RandomState(0)
    return tuple(
        Note(lowest + int(rng.randint(keys)), i * seconds, seconds, int(rng.randint(1, 128))) for i in range(count)
    )


def of_notes(notes: tuple[Note, ...], sample_rate: int) -> Sound:
    return Sound(lambda: np.zeros(1, np.float32), sample_rate, notes[-1].onset + notes[-1].duration, notes)


def hum(sample_rate: int, samples: int) -> Sound:
    """A tone of 220 Hz with six overtones, which comes and goes."""
    time = np.arange(samples) / sample_rate
    wave = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 8)) * np.hanning(samples) * 0.3
    return Sound(lambda: wave.astype(np.float32), sample_rate, samples / sample_rate)


def same_notes(before: Sound, after: Sound) -> None:
    assert before.notes is not None
    assert after.notes is not None
    rows = [np.array([(n.pitch, n.velocity, n.onset, n.duration) for n in s.notes or ()]) for s in (before, after)]
    np.testing.assert_array_equal(rows[0][:, :2], rows[1][:, :2])
    np.testing.assert_allclose(rows[0][:, 2:], rows[1][:, 2:], rtol=1e-4, atol=1e-4)


def same_samples(before: Sound, after: Sound) -> None:
    np.testing.assert_array_equal(before.waveform, after.waveform)


def same_but_for_a_hundredth(before: Sound, after: Sound) -> None:
    """40 dB SNR."""
    error = before.waveform - after.waveform
    assert (error**2).sum() < 1e-4 * (before.waveform**2).sum()


MEL = MelRepresentation(MelConfig())


def same_log_mel(before: Sound, after: Sound) -> None:
    """Within a tenth of the range on average: this hum is harder than speech, for which the class states 0.05."""
    difference = MEL.encode(before) - MEL.encode(after)
    assert float(difference.abs().mean()) < 2 * 0.1


@dataclass(frozen=True)
class Case:
    representation: Representation
    sound: Sound
    compare: Callable[[Sound, Sound], None]


CASES = {
    "notes": Case(NotesRepresentation(), of_notes(notes(NOTES, 0.1, 21, 88), 44100), same_notes),
    "performance": Case(PerformanceRepresentation(), of_notes(notes(NOTES, 0.1, 21, 88), 44100), same_notes),
    "mel": Case(MEL, hum(8000, 8192), same_log_mel),
    "waveform": Case(WaveformRepresentation(WaveformConfig(8000, 2000)), hum(8000, 2000), same_samples),
    "spectrum": Case(SpectrumRepresentation(SpectrumConfig()), hum(16_000, 16_384), same_but_for_a_hundredth),
    "toy": Case(Tones(4), of_notes(notes(4, 0.125, 48, 37), 8000), same_notes),
    "poor toy": Case(Waveform(), hum(4000, 2000), same_samples),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_every_representation_of_a_family_is_tested() -> None:
    known = {type(case.representation) for case in CASES.values()}
    built = {type(family(family.Config()).representation) for family in FAMILIES.values()}
    assert built <= known


def test_decoding_inverts_encoding_within_the_stated_tolerance(case: Case) -> None:
    x = case.representation.encode(case.sound)
    case.compare(case.sound, case.representation.decode(x))


def test_an_encoded_sound_has_the_stated_shape_and_range(case: Case) -> None:
    x = case.representation.encode(case.sound)
    assert x.shape == case.representation.shape
    assert x.dtype == torch.float32
    assert bool(x.isfinite().all())
    assert float(x.abs().max()) <= 1


def test_encoding_inverts_decoding_where_nothing_is_lost(case: Case) -> None:
    if case.compare is same_log_mel:
        pytest.skip("a spectrogram loses its phase")
    if case.compare is same_but_for_a_hundredth:
        pytest.skip("what is nearly silent has any phase")
    x = case.representation.encode(case.sound)
    torch.testing.assert_close(case.representation.encode(case.representation.decode(x)), x, atol=1e-4, rtol=0)


def test_every_option_decodes_to_a_finite_sound_and_an_unknown_one_is_refused(case: Case) -> None:
    x = case.representation.encode(case.sound)
    for name, options in case.representation.settings.items():
        for option in options:
            assert np.isfinite(case.representation.decode(x, {name: option}).waveform).all()
        with pytest.raises(ValueError, match=f"no setting {name} = 'none of them'"):
            case.representation.decode(x, {name: "none of them"})


def test_a_sound_played_by_the_piano_has_notes(case: Case) -> None:
    sound = case.representation.decode(case.representation.encode(case.sound))
    assert sound.played_by is None or sound.notes is not None


def test_a_representation_has_only_parts_of_its_part_types(case: Case) -> None:
    assert set(case.representation.parts()) <= set(case.representation.part_types)
    with pytest.raises(ValueError, match="ornament"):
        case.representation.carry("ornament", torch.nn.Identity())
