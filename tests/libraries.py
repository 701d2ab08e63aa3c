"""The array libraries that the rank-free core is tested on, one way in and one way out."""

import array_api_strict
import numpy as np
import pytest

# "device" is array-api-strict's pretended accelerator: its arrays have no host view.
LIBRARIES = ("numpy", "torch", "strict", "device")


def to(library, values):
    """The numpy array as an array of the library; skips where that is not installed."""
    values = np.asarray(values)
    if library == "numpy":
        return values
    if library == "torch":
        torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
        return torch.from_numpy(values.copy())
    device = array_api_strict.Device("device1" if library == "device" else "CPU_DEVICE")
    return array_api_strict.asarray(values, device=device)


def back(array):
    """The array as numpy, wherever it lies."""
    if hasattr(array, "to_device"):
        array = array.to_device(array_api_strict.Device("CPU_DEVICE")) if "device1" in str(array.device) else array
    return np.asarray(array)


def assert_same_place(array, reference):
    """Both come from one library and lie on one device."""
    assert type(array) is type(reference)
    assert array.device == reference.device
