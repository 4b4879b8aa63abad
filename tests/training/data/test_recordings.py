"""Decoding to one channel: formats, sample rates, channels, and the memory that it takes."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.data.audio import load_waveforms
from training.data.inventory import Unusable
from training.data.recordings import mono, pieces, read_audio, recording, resample

TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)


@pytest.mark.parametrize(
    ("suffix", "form", "subtype"),
    [
        (".wav", "WAV", None),
        (".WAV", "WAV", "PCM_24"),
        (".wave", "WAVEX", "FLOAT"),
        (".rf64", "RF64", None),
        (".w64", "W64", None),
        (".aiff", "AIFF", None),
        (".AIF", "AIFF", None),
        (".aifc", "AIFF", "FLOAT"),
        (".caf", "CAF", None),
        (".au", "AU", None),
        (".snd", "AU", None),
        (".flac", "FLAC", None),
        (".ogg", "OGG", None),
        (".oga", "OGG", None),
        (".opus", "OGG", "OPUS"),
        (".mp3", "MP3", None),
        (".voc", "VOC", None),
        (".sph", "NIST", None),
    ],
)
def test_every_file_format_keeps_its_pitch(tmp_path: Path, suffix: str, form: str, subtype: str | None) -> None:
    (tmp_path / "data").mkdir()
    sf.write(tmp_path / "data" / f"a{suffix}", TONE, 16000, format=form, subtype=subtype)
    clips = load_waveforms(tmp_path / "data", tmp_path / "cache", {"sample_rate": "16000"})
    assert len(clips.train) == 1
    spectrum = np.abs(np.fft.rfft(clips.train[0].float().numpy()))
    assert spectrum.argmax() * 16000 / clips.train.shape[1] == pytest.approx(440, abs=2)


def test_channels_in_opposite_phase_become_one_of_them() -> None:
    np.testing.assert_array_equal(np.abs(mono(np.stack([TONE, -TONE], 1))), np.abs(TONE))
    np.testing.assert_array_equal(mono(np.stack([0.5 * TONE, -0.5 * TONE, TONE, -TONE], 1)), TONE)


def test_channels_that_do_not_cancel_become_their_mean() -> None:
    other = 0.2 * np.cos(np.arange(16000) / 7)
    for channels in ([TONE, other], [TONE, 0 * TONE], [TONE, -0.5 * TONE]):
        np.testing.assert_allclose(mono(np.stack(channels, 1)), np.mean(channels, 0), atol=1e-12)


def test_stereo_in_opposite_phase_is_not_silence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    sf.write(tmp_path / "data" / "a.wav", np.stack([TONE, -TONE], 1), 16000)
    assert len(load_waveforms(tmp_path / "data", tmp_path / "cache", {}).train) == 1


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 22050, 44100, 48000, 96000, 44101])
def test_resampling_keeps_pitch_length_and_level(rate: int) -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(rate) / rate).astype(np.float32)
    resampled = resample(tone, rate, 16000)
    assert len(resampled) == pytest.approx(16000, abs=2)
    middle = slice(2000, 14000)
    np.testing.assert_allclose(resampled[middle], np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)[middle], atol=0.02)


def claim_rate(path: Path, rate: int) -> None:
    """Rewrites the sample rate in a WAV's header."""
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_an_impossible_sample_rate_is_skipped_before_resampling(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "a.wav", TONE, 16000)
    claim_rate(tmp_path / "a.wav", rate)
    with pytest.raises(Unusable, match=r"a sample rate outside 1 to 768 kHz|not readable as sound"):
        read_audio(tmp_path / "a.wav", 16000)


def test_a_header_that_claims_hours_costs_no_more_memory_than_the_file_has(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.flac", TONE, 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F  # STREAMINFO's number of samples, 36 bits: 2**36 - 1
    content[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(content)
    code = (
        "import resource, sys; from pathlib import Path; from training.data.recordings import read_audio\n"
        "from training.data.inventory import Unusable\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2 * 2**30, 2 * 2**30))\n"
        "try: print(len(read_audio(Path(sys.argv[1]), 16000)))\n"
        "except Unusable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.flac")], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_more_channels_than_any_recording_has_are_skipped(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros((100, 200)), 8000)
    with pytest.raises(Unusable, match="more than 32 channels"):
        read_audio(tmp_path / "a.wav", 8000)


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "not finite"), (np.inf, "not finite"), (1e30, "full scale")])
def test_samples_that_are_not_finite_or_far_too_large_are_skipped(tmp_path: Path, value: float, reason: str) -> None:
    sf.write(tmp_path / "a.wav", np.stack([np.full(4000, value), np.zeros(4000)], 1), 8000, subtype="FLOAT")
    with pytest.raises(Unusable, match=reason):
        read_audio(tmp_path / "a.wav", 8000)


@pytest.mark.parametrize("seconds", [0.1, 0.12345, 1.0, 5.0])
def test_the_pieces_together_are_the_recording(tmp_path: Path, seconds: float) -> None:
    sf.write(tmp_path / "a.wav", TONE, 16000, subtype="FLOAT")
    with recording(tmp_path / "a.wav") as sound:
        np.testing.assert_array_equal(np.concatenate(list(pieces(sound, seconds))), TONE.astype(np.float32))
