"""A log from arrays: whatever is wrong with them is told by name."""

from typing import Any

import numpy as np
import pytest

from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog

T, ZERO, LEVEL = np.arange(3.0), np.zeros((3, 3)), np.tile([1.0, 0.0, 0.0, 0.0], (3, 1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((T[:0], ZERO[:0], ZERO[:0], LEVEL[:0]), "holds 0 records; at least 2 are needed"),
        ((T[:1], ZERO[:1], ZERO[:1], LEVEL[:1]), "holds 1 records"),
        ((None, ZERO, ZERO, LEVEL), r"lacks the required field 't' \[s\]"),
        ((T, ZERO, ZERO, None), "lacks the required field 'attitude'"),
        ((3.0, ZERO, ZERO, LEVEL), r"field 't' has shape \(\), expected one number for each record"),
        ((T, ZERO, ZERO[:2], LEVEL), r"field 'velocity' has shape \(2, 3\), expected \(3, 3\)"),
    ],
)
def test_arrays_that_make_no_log_are_refused_by_name(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FlightLog.from_arrays(*arrays)


def test_no_metadata_is_none_at_all() -> None:
    assert FlightLog.from_arrays(T, ZERO, ZERO, LEVEL, metadata=None).metadata == {}
