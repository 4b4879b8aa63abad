"""Griffin-Lim: it approximates given magnitudes as well as librosa, with the same bits every time."""

import librosa
import numpy as np
import torch

from explorer.sound.griffin_lim import ITERATIONS, griffin_lim

N_FFT, HOP = 512, 128


def magnitude(waveform: torch.Tensor) -> torch.Tensor:
    return torch.stft(
        waveform, N_FFT, HOP, window=torch.hann_window(N_FFT), pad_mode="constant", return_complex=True
    ).abs()


def chirp() -> torch.Tensor:
    time = torch.arange(8192) / 8000
    return (0.3 * torch.sin(2 * torch.pi * (300 * time + 400 * time**2)) * torch.hann_window(8192))[None]


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Spectral convergence: relative distance of magnitudes."""
    return float((magnitude(found) - wanted).norm() / wanted.norm())


def test_the_result_is_as_near_to_the_magnitudes_as_librosas() -> None:
    wanted = magnitude(chirp())
    theirs = librosa.griffinlim(
        wanted[0].numpy(),
        n_iter=ITERATIONS,
        hop_length=HOP,
        n_fft=N_FFT,
        momentum=0.99,
        pad_mode="constant",
        random_state=0,
    )
    assert error(griffin_lim(wanted, N_FFT, HOP), wanted) < 1.1 * error(torch.from_numpy(theirs)[None], wanted)


def test_momentum_converges_faster_than_the_original() -> None:
    wanted = magnitude(chirp())
    fast, slow = (griffin_lim(wanted, N_FFT, HOP, iterations=16, momentum=m) for m in (0.99, 0.0))
    assert error(fast, wanted) < error(slow, wanted)


def test_the_same_magnitudes_give_the_same_bits_whatever_the_random_state() -> None:
    wanted = magnitude(chirp())
    torch.manual_seed(1)
    np.random.seed(1)
    first = griffin_lim(wanted, N_FFT, HOP)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, griffin_lim(wanted, N_FFT, HOP))


def test_silence_gives_silence() -> None:
    assert not griffin_lim(torch.zeros(1, 257, 65), N_FFT, HOP).any()
