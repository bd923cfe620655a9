"""A flight log with every field, made of random numbers."""

from typing import Any

import numpy as np

from neural_lander.flightlog import FlightLog
from neural_lander.flightlog.log import COLUMNS


def full_log(n: int = 50, seed: int = 0, **changes: Any) -> FlightLog:
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        name: rng.normal(size=(n, len(components)) if components else n) for name, (components, _, _) in COLUMNS.items()
    }
    fields["t"] = np.concatenate([[0.0], np.cumsum(rng.uniform(0.005, 0.02, n - 1))])
    fields["attitude"] = np.array([1.0, 0.0, 0.0, 0.0]) + rng.normal(scale=0.1, size=(n, 4))
    fields |= {"rotor_command_unit": "pwm", "metadata": {"vehicle": "crazyflie-21", "mass_kg": 0.032, "seed": 3}}
    return FlightLog.from_arrays(**(fields | changes))


def assert_same_numbers(a: FlightLog, b: FlightLog) -> None:
    """Bit for bit, but for the attitude, which is normalised again when it is read."""
    assert a.rotor_command_unit == b.rotor_command_unit
    for name in COLUMNS:
        x, y = getattr(a, name), getattr(b, name)
        if name == "attitude":
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-15)
        elif x is None:
            assert y is None, name
        else:
            assert np.array_equal(x, y), name
