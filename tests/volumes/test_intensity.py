"""The levels of a volume: windows, and percentiles of what is not air."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from ddfm.errors import DdfmError, DdfmWarning
from ddfm.volumes.intensity import find_window, scaled
from ddfm.volumes.volume import Volume


def test_windows_scale_levels():
    ct = Volume(np.float32([-1000, -60, 40, 140, 3000]).reshape(5, 1, 1), np.eye(4), modality="CT")
    values, limits = scaled(ct)
    assert limits == (-160, 240)
    np.testing.assert_allclose(values.ravel(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(scaled(ct, "brain")[0].ravel(), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(scaled(ct, "1000/4000")[0].ravel()[[0, 4]], [0, 1])
    assert find_window((3, 4)) == find_window("3/4") == find_window("3,4") == (3, 4)
    for wrong in ("4/0", "x/y", (1,), (1, -1), (np.nan, 1)):
        with pytest.raises(DdfmError, match="a window is LEVEL/WIDTH"):
            find_window(wrong)
    with pytest.raises(DdfmError, match=r"such as 40/400, not '40/0'$"):
        find_window("40/0")
    with pytest.raises(DdfmError, match="unknown window 'bran'; did you mean brain"):
        find_window("bran")


def test_ct_without_a_modality_is_known_by_its_air():
    values = np.linspace(-1000, 1000, 8, dtype=np.float32).reshape(2, 2, 2)
    assert scaled(Volume(values, np.eye(4)))[1] == (-160, 240)
    assert scaled(Volume(values + 1000, np.eye(4)))[1] != (-160, 240)
    assert scaled(Volume(values, np.eye(4), modality="MR"))[1] != (-160, 240)


def test_padding_that_makes_a_volume_look_like_a_ct_is_named():
    mri = np.arange(27, dtype=np.float32).reshape(3, 3, 3) * 20
    mri[0] = -1024
    padded = Volume(mri, np.eye(4), "mri.nii")
    with pytest.warns(DdfmWarning, match="mri.nii is taken for a CT, .* is -1024; .*--window-a"):
        assert scaled(padded)[1] == (-160, 240)
    ct = mri.copy()
    ct[1, 1] = [-900, -80, -15]  # between air and skin, fat
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled(Volume(ct, np.eye(4)))
        scaled(replace(padded, modality="CT"))
        assert scaled(padded, "250/500")[1] == (0, 500)


def test_percentiles_are_of_the_foreground():
    values = np.zeros(1000, np.float32)
    values[:100] = np.arange(1, 101)
    volume = Volume(values.reshape(10, 10, 10), np.eye(4))
    _, (low, high) = scaled(volume, percentiles=(10, 90))
    assert (low, high) == tuple(np.percentile(np.arange(1, 101), [10, 90]))
    flat, _ = scaled(Volume(np.full((2, 2, 2), 7, np.float32), np.eye(4)))
    assert (flat == 0).all()
    mask = (np.arange(8) > 4).reshape(2, 2, 2)
    for background, value in ((0, 1), (-3, 500)):
        values, _ = scaled(Volume(np.where(mask, value, background).astype(np.float32), np.eye(4)))
        np.testing.assert_array_equal(values, mask)
    with pytest.raises(DdfmError, match="percentiles .* must be two numbers from 0 to 100"):
        scaled(volume, percentiles=(90, 10))
