"""Crazyflie µSD-deck logs, older version, with the ``stateEstimateZ`` fields of the compressed state estimate.

Units as the firmware stores them (crazyflie-firmware, ``stabilizer.c`` and ``quatcompress.h``): mm, mm/s, mm/s^2
with gravity included, mrad/s, PWM 0..65535, mV; ``tick`` in microseconds, in older firmware milliseconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.gaps import gap_words
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.usd_blocks import TICK, Blocks, looks_like_header, parse_header, read_blocks
from neural_lander.rotation import quaternion_conjugate, quaternion_multiply
from neural_lander.rotor_order import CRAZYFLIE, QUADRANTS_KEY, as_json
from neural_lander.units import GRAM_FORCE

_STATE = "stateEstimateZ."
PWM_FULL_SCALE = 65536.0  # the thrust curves are identified with p = PWM/65536 (Neural-Swarm2)
MILLISECOND_TICKS = 500.0  # a median step below this is in ms: the deck logs at 1 Hz to 1 kHz

# FlightLog field -> (columns, divisor to SI); to divide keeps 408 mm at 0.408 m exactly
_FIELDS: dict[str, tuple[tuple[str, ...], float]] = {
    "position": (tuple(_STATE + a for a in ("x", "y", "z")), 1000.0),
    "velocity": (tuple(_STATE + a for a in ("vx", "vy", "vz")), 1000.0),
    "specific_force": (tuple(_STATE + a for a in ("ax", "ay", "az")), 1000.0),
    "body_rates": (tuple(_STATE + a for a in ("rateRoll", "ratePitch", "rateYaw")), 1000.0),
    "rotor_command": (tuple(f"pwm.m{i}_pwm" for i in range(1, 5)), PWM_FULL_SCALE),
    "battery_voltage": (("pm.vbatMV",), 1000.0),
    "position_reference": (tuple(f"ctrltargetZ.{a}" for a in "xyz"), 1000.0),
}
_NEEDED = ("position", "velocity")
_QUATERNION = _STATE + "quat"
_THRUST = "motor.thrust"
_PREDICTED = "ctrlFa.Faz"  # in grams: the firmware of Neural-Swarm2 converts it as below before it subtracts it


class CrazyflieUsd:
    """Log format: see the module and :mod:`neural_lander.flightlog.usd_blocks`."""

    name = "crazyflie-usd"
    description = "Crazyflie µSD-deck log, older version"

    def recognises(self, head: bytes) -> bool:
        """One count byte and a first field description."""
        return looks_like_header(head)

    def read(self, path: Path) -> FlightLog:
        """The flight at the times of its own records; not resampled.

        Raises
        ------
        UserError
            On a damaged header, a missing field, or fewer than two records.
        """
        source, data = str(path), path.read_bytes()
        dtype, start = parse_header(data, source)
        columns = _columns_present(dtype, source)
        blocks = read_blocks(data, start, dtype)
        records = blocks.records
        if not len(records):
            raise UserError(
                f"{source}: no record of it is readable ({len(data)} bytes, {len(data) - start} after the header)"
            )
        seconds, clock_warning = _seconds(records[TICK])
        arrays = {name: np.stack([records[c] for c in columns[name]], axis=-1) / _FIELDS[name][1] for name in columns}
        if "battery_voltage" in arrays:
            arrays["battery_voltage"] = arrays["battery_voltage"][:, 0]
        arrays["attitude"] = decompress_quaternions(records[_QUATERNION])
        if _PREDICTED in (dtype.names or ()):
            arrays["f_a_applied"] = _applied(records)
        warnings = _account(blocks, seconds, source) + clock_warning
        keep, dropped = _usable(seconds, arrays)
        warnings += [f"{source}: {text}" for text in dropped]
        seconds, arrays = seconds[keep], {name: values[keep] for name, values in arrays.items()}
        warnings += [f"{source}: {text}" for text in gap_words(seconds - seconds[:1])]
        if "body_rates" in arrays:
            arrays["body_rates"][:, 1] *= _pitch_rate_sign(seconds, arrays["attitude"], arrays["body_rates"][:, 1])
        return FlightLog.from_arrays(
            seconds,
            **arrays,
            rotor_command_unit="pwm",
            metadata={
                "format": self.name,
                "source": source,
                QUADRANTS_KEY: as_json(CRAZYFLIE),
                **_controller_thrust(records),
            },
            warnings=tuple(warnings),
        )


def decompress_quaternions(compressed: np.ndarray) -> np.ndarray:
    """Unit quaternions (w, x, y, z) from the firmware's 32-bit form, ``(N,) uint32 -> (N, 4)``.

    Two bits hold the index of the largest component in the order x, y, z, w; then follow the other three in that
    order as sign and nine bits of magnitude, full scale 1/sqrt(2). NaN where they are of no unit quaternion.
    """
    packed = compressed.astype(np.uint32)
    fields = (packed[:, None] >> np.array([20, 10, 0], dtype=np.uint32)) & 0x3FF
    small = (fields & 0x1FF) / (511 * np.sqrt(2)) * np.where(fields & 0x200, -1.0, 1.0)
    largest = (packed >> 30).astype(np.intp)
    squares = 1.0 - np.sum(small * small, axis=-1)
    # 1/4 is the least that the largest of four can have; rounding of the others takes up to 1 % from it
    root = np.sqrt(np.where(squares > 0.24, squares, np.nan))
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    xyzw = np.empty((len(packed), 4))
    rows = np.arange(len(packed))
    xyzw[rows, largest] = root
    xyzw[rows[:, None], others] = small
    return xyzw[:, [3, 0, 1, 2]]


def _columns_present(dtype: np.dtype, source: str) -> dict[str, tuple[str, ...]]:
    """The fields of ``_FIELDS`` that the log holds; a part of a vector without the rest is an error."""
    names = set(dtype.names or ())
    present = {}
    for field, (columns, _) in _FIELDS.items():
        missing = [c for c in columns if c not in names]
        if missing and (field in _NEEDED or len(missing) < len(columns)):
            raise UserError(
                f"{source}: the log lacks the needed field '{missing[0]}' ({field}); log it on the Crazyflie"
            )
        if not missing:
            present[field] = columns
    if _QUATERNION not in names or dtype[_QUATERNION] != np.dtype("<u4"):
        raise UserError(
            f"{source}: the log lacks the needed field '{_QUATERNION}(I)' (attitude); log it on the Crazyflie"
        )
    return present


def _applied(records: np.ndarray) -> np.ndarray:
    """What a learned model on board predicted, ``(N, 3)`` N, taken as subtracted; 0 without a model.

    The firmware subtracts it where its parameter ``enableNN`` exceeds 1, which no log holds. No label depends on it.
    """
    up = records[_PREDICTED].astype(np.float64) * GRAM_FORCE
    return np.column_stack([np.zeros((len(up), 2)), np.where(np.isfinite(up), up, 0.0)])


def _controller_thrust(records: np.ndarray) -> dict[str, float]:
    """Median collective thrust in N that the controller asked for in flight: it tells vehicles apart that hover at one
    PWM. Only firmware that computes in newtons logs ``motor.thrust``.
    """
    if _THRUST not in (records.dtype.names or ()):
        return {}
    thrust = records[_THRUST].astype(np.float64)
    asked = thrust[np.isfinite(thrust) & (thrust > 0)]
    return {"controller_thrust_N": float(np.median(asked))} if len(asked) else {}


def _seconds(ticks: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Time in s since the first record; the counter may wrap around."""
    signed = np.dtype(f"<i{ticks.dtype.itemsize}")
    steps = np.diff(ticks).view(signed).astype(np.int64)
    counts = np.concatenate([[0], np.cumsum(steps)])
    rising = steps[steps > 0]
    if rising.size and np.median(rising) < MILLISECOND_TICKS:
        return counts / 1e3, [f"'{TICK}' rises by {np.median(rising):g} per record and is taken as milliseconds"]
    return counts / 1e6, []


def _pitch_rate_sign(seconds: np.ndarray, attitude: np.ndarray, pitch_rate: np.ndarray) -> float:
    """+1 or -1 that makes the pitch rate right-handed about the body's y axis (left).

    Stock firmware logs ``-gyro.y``, nose up, the Neural-Swarm2 flights ``+gyro.y``: the attitude of the log decides.
    """
    step = 10  # records; over one the rounding of the quaternions (3 mrad) hides the motion
    turned = quaternion_multiply(quaternion_conjugate(attitude[:-step]), attitude[step:])
    rate = 2 * turned[:, 2] * np.sign(turned[:, 0]) / (seconds[step:] - seconds[:-step])
    return -1.0 if float(rate @ pitch_rate[step // 2 : -step // 2]) < 0 else 1.0


def _usable(seconds: np.ndarray, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Records that are finite and later than all before them, and what is said about the others."""
    finite = np.ones(len(seconds), dtype=bool)
    for values in arrays.values():
        finite &= np.isfinite(values.reshape(len(seconds), -1)).all(axis=1)
    times = seconds[finite]
    latest = np.maximum.accumulate(np.concatenate([[-np.inf], times]))[:-1]
    rising = times > latest
    keep = np.flatnonzero(finite)[rising]
    said = []
    if not finite.all():
        said.append(f"{int((~finite).sum())} records with values that are not finite are dropped")
    if not rising.all():
        said.append(f"{int((~rising).sum())} records whose time does not increase are dropped")
    return keep, said


def _account(blocks: Blocks, seconds: np.ndarray, source: str) -> list[str]:
    """One sentence for each kind of damage, with what it cost."""
    period = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    said = []
    if blocks.repaired_counts:
        said.append(
            f"{source}: the damaged record count of {blocks.repaired_counts} blocks is restored from their checksum; "
            "nothing is lost"
        )
    if blocks.dropped_regions:
        lost = blocks.dropped_records
        said.append(
            f"{source}: damaged at {blocks.dropped_regions} places, the first at byte {blocks.first_dropped}: "
            f"{blocks.dropped_bytes} bytes, about {lost} records ({lost * period:.2f} s), are lost"
        )
    if blocks.cut:
        lost = blocks.tail_announced - blocks.tail_kept
        said.append(
            f"{source}: cut short: of the last block's {blocks.tail_announced} records {blocks.tail_kept} are kept, "
            f"without a checksum; {lost} records (about {lost * period:.2f} s) and the file's last "
            f"{blocks.tail_dropped_bytes} bytes are lost, and whatever came later"
        )
    return said
