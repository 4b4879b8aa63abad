"""The sub-band transform: by its definition an orthonormal one, and each band hears its own frequencies."""

import numpy as np
import pytest
import scipy.fft
import torch

from explorer.sound.mdct import basis, inverse_mdct, mdct


@pytest.mark.parametrize("bands", [1, 2, 16, 64])
def test_coefficients_are_an_orthonormal_transform_of_samples_and_back(bands: int) -> None:
    unit = torch.eye(4 * bands)
    coefficients = mdct(unit, basis(bands))
    assert coefficients.shape == (4 * bands, 4, bands)
    rows = coefficients.flatten(1)
    torch.testing.assert_close(rows @ rows.T, unit, atol=1e-5, rtol=0)  # so white noise stays white
    torch.testing.assert_close(inverse_mdct(coefficients, basis(bands)), unit, atol=1e-5, rtol=0)


def test_a_frame_is_the_dct_of_two_windowed_blocks_folded_into_one() -> None:
    """By the definition of the MDCT by the DCT-IV, whose implementation is scipy's."""
    bands, rng = 16, np.random.default_rng(0)
    x = rng.standard_normal(4 * bands)
    made = mdct(torch.from_numpy(x).float()[None], basis(bands))[0]
    window = np.sin(np.pi / (2 * bands) * (np.arange(2 * bands) + 0.5))
    for k in range(1, 4):  # frame k covers blocks k - 1 and k
        a, b, c, d = np.split(x[(k - 1) * bands : (k + 1) * bands] * window, 4)
        folded = np.concatenate([-c[::-1] - d, a - b[::-1]])
        np.testing.assert_allclose(made[k], scipy.fft.dct(folded, type=4, norm="ortho"), atol=1e-5)


def test_a_tone_is_loudest_in_the_band_of_its_frequency() -> None:
    bands, rate, hertz = 64, 16_000, 1_000
    x = torch.sin(2 * torch.pi * hertz / rate * torch.arange(32 * bands))[None]
    energy = mdct(x, basis(bands))[0, 1:].square().sum(0)
    assert int(energy.argmax()) in (7, 8)  # bands of 125 Hz: it is where the eighth ends and the ninth begins
    assert float(energy[6:10].sum() / energy.sum()) > 0.99
