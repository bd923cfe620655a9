"""What FlightLog takes from a stranger's arrays, and in which words it refuses the rest."""

import re
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog

N = 4
SECONDS = 0.01 * np.arange(N)
STAMPS = pd.to_datetime(1.7e9 + SECONDS, unit="s").round("ms")


def made(**changes: object) -> FlightLog:
    still = np.zeros((N, 3))
    fields = {"t": SECONDS, "position": still, "velocity": still, "attitude": np.tile([1.0, 0, 0, 0], (N, 1))}
    return FlightLog.from_arrays(**(fields | changes))


@pytest.mark.parametrize(
    "t",
    [
        STAMPS,
        pd.Series(STAMPS),
        STAMPS.tz_localize("Europe/Berlin"),
        STAMPS - STAMPS[0],
        STAMPS.to_numpy().astype("datetime64[ms]"),
        [datetime(2024, 5, 1) + timedelta(seconds=s) for s in SECONDS],
        [timedelta(seconds=s) for s in SECONDS],
    ],
)
def test_dates_become_seconds_from_the_first(t: object) -> None:
    assert_allclose(made(t=t).t, SECONDS, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": ["0.0", "0.1", "0.2", "0.3"]}, "field 't' holds '0.0' (<U3), expected numbers in s"),
        ({"t": SECONDS + 1j}, "field 't' holds '1j' (complex128), expected numbers"),
        ({"t": pd.to_datetime([*STAMPS[:3], None])}, "field 't' holds 1 values that are not finite"),
        ({"position": np.full((N, 3), "1")}, "field 'position' holds '1' (<U1), expected numbers in m"),
        ({"position": np.full((N, 3), None)}, "field 'position' holds 'None' (object), expected numbers in m"),
        ({"height": STAMPS}, "field 'height' holds"),
        ({"velocity": [[0, 0, 0], [0, 0]]}, "field 'velocity' is no array"),
        ({"metadata": {"height_error_m": "1 mm"}}, "height_error_m = '1 mm' must be a number of m in [0, 1)"),
        ({"metadata": {"height_error_m": -1}}, "height_error_m = -1 must be a number of m"),
    ],
)
def test_what_is_no_number_is_refused_by_its_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        made(**changes)


def test_numbers_of_any_kind_are_taken() -> None:
    assert made(height=np.array([0, 1, 2, 3], dtype=np.uint8)).height.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert made(height=np.array([0, 1.5, 2, 3], dtype=object)).height.tolist() == [0.0, 1.5, 2.0, 3.0]


def test_some_records_are_a_log_of_their_own() -> None:
    log = made(battery_voltage=np.arange(N) + 10.0, metadata={"source": "a"})
    part = log.where(log.battery_voltage > 10.5)
    assert_allclose(part.t, SECONDS[1:] - SECONDS[1])
    assert_allclose(part.battery_voltage, [11.0, 12.0, 13.0])
    assert part.height is None and part.source == "a" and part.attitude.shape == (3, 4)
    assert part.metadata == {"source": "a", "derived_from": "a"}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([0, 1], "4 truth values, not int64 of shape"),
        (np.ones(3, dtype=bool), r"of shape \(3,\)"),
        (np.arange(N) == 1, "holds 1 records"),
        (np.zeros(N, dtype=bool), "holds 0 records"),
    ],
)
def test_what_chooses_no_log_is_refused(chosen: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made().where(chosen)
