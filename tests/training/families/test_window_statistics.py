"""The statistics of a window of notes that the critic and the matching loss use."""

import numpy as np
import pytest
import torch
from scipy import stats

from explorer.sound.notes import DURATION, KEYS, NotesRepresentation, encode_notes
from training.evaluation.music import in_key_ratio, polyphony_rate
from training.families.window_statistics import (
    Descriptors,
    NoteAttributes,
    Novelty,
    WindowStatistics,
    correlation,
    normal_scores,
    polyphony,
    quantile_distance,
    released,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def window(seed: int, keys: tuple[int, int] = (40, 80), chords: float = 0.4) -> np.ndarray:
    """A random window (1, 256, 4) of pitch, step, duration and velocity."""
    random = np.random.RandomState(seed)
    step = np.where(random.random_sample(256) < chords, 0, 0.03 + random.exponential(0.2, 256))
    columns = (
        random.randint(keys[0], keys[1], 256),
        step,
        0.02 + random.exponential(0.5, 256),
        random.randint(1, 128, 256),
    )
    return np.stack(columns, axis=1)[None].astype(float)


def described(notes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    x = encode_notes(*torch.from_numpy(notes).unbind(-1)).float()
    return (x[:, :KEYS] + 1) / 2, x[:, KEYS:]


def test_intervals_and_returning_keys_are_counted_as_a_loop_would() -> None:
    keys, times = described(window(0, keys=(21, 109)))
    attributes = NoteAttributes()(keys, times)
    counted = WindowStatistics()(keys, attributes)[0]
    assert len(counted) == WindowStatistics.SIZE
    pitch, chord = keys[0].argmax(0).tolist(), attributes[0, NoteAttributes.CHORD].squeeze(0)
    intervals = torch.zeros(2 * 48 + 1)
    for i in range(1, 256):
        if abs(pitch[i] - pitch[i - 1]) <= 48:
            intervals[pitch[i] - pitch[i - 1] + 48] += chord[i]
    returns = torch.tensor([sum(pitch[i] == pitch[i - lag] for i in range(lag, 256)) for lag in range(1, 129)])
    classes = torch.bincount((torch.tensor(pitch) + 21) % 12, minlength=12).sort().values
    after = KEYS + 12
    torch.testing.assert_close(counted[KEYS:after] * 32, classes.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(counted[after : after + 97] * 16, intervals, atol=1e-3, rtol=0)
    after += 2 * 97
    torch.testing.assert_close(counted[after : after + 128] * 16, returns.float(), atol=1e-3, rtol=0)


def test_attributes_have_pitch_classes_and_chords() -> None:
    columns = torch.tensor([60, 64, 67, 72]).repeat(64), torch.tensor([0.5, 0, 0, 0]).repeat(64)
    x = encode_notes(*columns, torch.ones(256), torch.full((256,), 64))[None]
    seen = NoteAttributes()((x[:, :KEYS] + 1) / 2, x[:, KEYS:])[0]
    assert seen[NoteAttributes.CLASSES].argmax(0)[:4].tolist() == [0, 4, 7, 0]
    assert (seen[NoteAttributes.CHORD] > 0.5).flatten()[:8].tolist() == [False, True, True, True] * 2


def test_novelty_counts_distinct_key_sequences_and_their_repetitions() -> None:
    pitch = np.random.RandomState(0).randint(30, 36, 256)
    novelty, returns = Novelty()(torch.eye(KEYS)[pitch].T[None])
    for n in (1, 2, 3):
        successions = np.lib.stride_tricks.sliding_window_view(pitch, n)
        assert novelty[0, n - 1].sum().item() == pytest.approx(len(np.unique(successions, axis=0)), abs=1e-3)
    pairs = np.lib.stride_tricks.sliding_window_view(pitch, 2)
    expected = [(pairs[lag:] == pairs[: len(pairs) - lag]).all(1).sum() for lag in range(256)]
    np.testing.assert_allclose(returns[0] * 8, expected, atol=1e-3)


def test_polyphony_is_the_share_of_time_with_two_keys_held() -> None:
    notes = np.concatenate([window(seed, chords=chords) for seed, chords in ((0, 0.0), (1, 0.4), (2, 0.9))])
    held, together, _, _ = polyphony(torch.from_numpy(notes[..., 1]), torch.from_numpy(notes[..., 2]))
    np.testing.assert_allclose(together / held, polyphony_rate(notes), rtol=1e-9)


MUSIC = window(3)
MUSIC[0, 0, 1] = 1.0  # a window begins with a chord's first note
# The share of a chord is a sigmoid, 0.98 inside chords and at most 0.02 outside; what is weighted with it is as exact.
TOLERANCES = {
    **dict.fromkeys(("wait_mean", "wait_spread"), 0.03),
    **dict.fromkeys(("chord_notes", "third_chord_notes", "fourth_chord_notes"), 0.01),
    **dict.fromkeys(("melodic_intervals", "chord_intervals"), 0.5 / 256),  # half a note
    **dict.fromkeys(("melodic_leap", "chord_leap", "log_keys_held"), 0.001),
}


def counted_music() -> dict[str, np.ndarray]:
    """An independent computation of each descriptor from the notes, with loops, NumPy and SciPy."""
    pitch, seconds, held, velocity = MUSIC[0].T.copy()
    onset = seconds.cumsum()
    for i in range(256):
        later = [onset[j] for j in range(i + 1, 256) if pitch[j] == pitch[i]]
        held[i] = np.clip(min([held[i], *(again - onset[i] for again in later)]), 0.02, 8)
    alone = seconds > 0
    step = np.where(alone, -0.5 + 1.5 * np.log(seconds.clip(0.03, 4) / 0.03) / np.log(4 / 0.03), -1)
    tracks = {
        "height": ((pitch - 21) / 87 * 2 - 1) * 4,
        "step": step,
        "duration": 2 * np.log(held / 0.02) / np.log(8 / 0.02) - 1,
        "velocity": (velocity - 1) / 63 - 1,
    }
    waits = step[1:][alone[1:]]
    leap = np.abs(np.diff(tracks["height"]))
    chord = [not x for x in alone]
    thirds = [chord[i] and chord[i - 1] for i in range(1, 256)]
    fourths = [chord[i] and chord[i - 1] and chord[i - 2] for i in range(2, 256)]
    classes = np.stack([pitch % 12 == k for k in range(12)])
    halves = classes[:, :128].sum(1), classes[:, 128:].sum(1)
    intervals = np.diff(pitch).astype(int)
    leaps, lags = [0, 1, 2, 3, 5, 8, 12, 13, 25, 49], [1, 2, 3, 4, 5, 7, 9, 13, 17, 33, 65, 129]
    melodic, inside = intervals[alone[1:]], intervals[~alone[1:]]
    upwards, downwards = (np.histogram(x, bins=leaps)[0] for x in (melodic, -melodic))
    returns = [(pitch[lag:] == pitch[:-lag]).sum() for lag in range(1, 129)]
    centres = np.linspace(-1, 1, 12)
    expected = {
        **{f"{name}_mean": track.mean() for name, track in tracks.items()},
        **{f"{name}_spread": track.std(ddof=1) for name, track in tracks.items()},
        "wait_mean": step[alone].mean(),
        "wait_spread": step[alone].std(),
        "polyphony": polyphony_rate(np.stack([pitch, seconds, held, velocity], axis=1)[None])[0],
        "log_keys_held": np.log(held.sum() / onset[-1]),
        "melodic_leap": leap[alone[1:]].mean(),
        "chord_leap": leap[~alone[1:]].mean(),
        **{f"{name}_change": np.abs(np.diff(tracks[name])).mean() for name in ("duration", "velocity")},
        **{f"{name}_halves": abs(track[:128].mean() - track[128:].mean()) for name, track in tracks.items()},
        **{
            f"{a}_with_{b}": stats.pearsonr(tracks[a], tracks[b]).statistic
            for a in ("height", "step")
            for b in ("velocity", "duration")
        },
        **{
            f"{name}_with_next": stats.pearsonr(tracks[name][1:], tracks[name][:-1]).statistic
            for name in ("height", "duration", "velocity")
        },
        "wait_with_next": stats.pearsonr(waits[1:], waits[:-1]).statistic,
        "chord_notes": np.mean(chord),
        "third_chord_notes": np.mean(thirds),
        "fourth_chord_notes": np.mean(fourths),
        "in_scale": in_key_ratio(MUSIC)[0],
        "pitch_classes_of_halves": halves[0] @ halves[1] / np.linalg.norm(halves[0]) / np.linalg.norm(halves[1]),
        "height_ranks": np.sort(tracks["height"])[[0, 25, 64, 128, 192, 230, 255]],
        **{f"{name}_ranks": np.sort(tracks[name])[[25, 128, 230]] for name in ("duration", "velocity")},
        "wait_ranks": np.sort(step[alone])[[int(alone.sum() * share) for share in (0.1, 0.5, 0.9)]],
        "novelty": [len(set(zip(*(pitch[i:] for i in range(n)), strict=False))) / 256 for n in (1, 2, 3)],
        "pitch_class_shares": np.sort(classes.mean(1)),
        "melodic_intervals": np.concatenate([upwards, downwards[1:]]) / 256,
        "chord_intervals": np.histogram(inside, bins=leaps[1:])[0] / 256,
        "returns": np.histogram(range(1, 129), bins=lags, weights=returns)[0] / 256,
        "histograms": np.concatenate(
            [
                np.exp(-(((tracks[name] - centre) * 6) ** 2)).mean(keepdims=True)
                for name in ("step", "duration", "velocity")
                for centre in centres
            ]
        ),
    }
    return {name: np.atleast_1d(value) for name, value in expected.items()}


COUNTED = counted_music()


@pytest.mark.parametrize("name", COUNTED)
def test_each_descriptor_equals_an_independent_computation(name: str) -> None:
    found = Descriptors().named(*described(MUSIC))[name][0].numpy()
    np.testing.assert_allclose(np.atleast_1d(found), COUNTED[name], atol=TOLERANCES.get(name, 1e-5), rtol=0)


def test_every_descriptor_has_a_name_and_the_numbers_come_in_that_order() -> None:
    music = described(MUSIC)
    named = Descriptors().named(*music)
    assert named.keys() == COUNTED.keys()
    together = np.concatenate([np.atleast_1d(numbers[0].numpy()) for numbers in named.values()])
    np.testing.assert_array_equal(Descriptors()(*music)[0].numpy(), together)
    assert len(together) == 136


def test_keys_are_released_when_struck_again_as_in_playback() -> None:
    notes = window(0, keys=(60, 66), chords=0.0)
    keys, times = described(notes)
    played = NotesRepresentation().encode(NotesRepresentation().decode(torch.cat([keys[0] * 2 - 1, times[0]])))
    found = released(keys, times)[0]
    assert not torch.allclose(times[0, 1], played[DURATION], atol=1e-4)
    torch.testing.assert_close(found[1], played[DURATION], atol=1e-4, rtol=0)


def test_descriptors_of_monotonous_music_have_finite_gradients() -> None:
    notes = np.tile([60.0, 0.25, 0.25, 64.0], (1, 256, 1))
    keys, times = (x.requires_grad_() for x in described(notes))
    Descriptors()(keys, times).sum().backward()
    assert keys.grad is not None
    assert times.grad is not None
    assert keys.grad.isfinite().all()
    assert times.grad.isfinite().all()


def test_correlation_is_pearsons() -> None:
    a, b = torch.randn(2, 3, 50, generator=rng(), dtype=torch.float64)
    expected = [stats.pearsonr(x, y).statistic for x, y in zip(a, a + b, strict=True)]
    np.testing.assert_allclose(correlation(a, a + b), expected, atol=1e-5)


def test_normal_scores_are_quantiles_of_the_normal_distribution() -> None:
    ordered = torch.arange(9.0)[:, None]
    found = normal_scores(torch.tensor([[0.0], [4.0], [8.0], [-5.0], [7.5]]), ordered)
    np.testing.assert_allclose(found[:, 0], stats.norm.ppf([0.1, 0.5, 0.9, 0.05, 0.85]), atol=1e-6)
    equal = normal_scores(torch.ones(1, 1), torch.ones(5, 1))
    assert equal.item() == 0


@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (0.0, 1.5), (0.3, 0.5)])
def test_quantile_distance_is_half_the_squared_wasserstein_distance_of_normal_numbers(
    shift: float, spread: float
) -> None:
    real = torch.randn(20_000, 1, generator=rng(1), dtype=torch.float64).sort(0).values
    x = torch.randn(4000, 1, generator=rng(), dtype=torch.float64) * spread + shift
    expected = (shift**2 + (spread - 1) ** 2) / 2  # of two normal distributions (Givens & Shortt, 1984)
    assert quantile_distance(x, x, real).item() == pytest.approx(expected, rel=0.1)


def test_a_gradient_step_of_the_quantile_distance_brings_a_set_to_the_real_distribution() -> None:
    real = torch.randn(5000, 3, generator=rng(1)).exp().sort(0).values
    x = (torch.randn(300, 3, generator=rng()) * 0.2).requires_grad_()
    before = quantile_distance(x, x, real)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(quantile_distance(x, x, real), x)
        x = (x - 30 * gradient).detach().requires_grad_()
    assert quantile_distance(x, x, real) < 0.01 * before
    assert all(stats.ks_2samp(a, b).pvalue > 0.05 for a, b in zip(x.detach().T, real.T, strict=True))


def test_quantile_distance_ignores_rounding() -> None:
    x = torch.full((8, 3), 0.25).add(torch.rand(8, 3, generator=rng()) * 1e-7).requires_grad_()
    quantile_distance(x, x, torch.full((50, 3), 0.25)).backward()
    assert x.grad is not None
    assert not x.grad.any()
