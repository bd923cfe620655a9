"""Scale of the thrust curve, its error with battery voltage, and the offset, from flight out of ground effect.

    m a . k = s T + beta (V - V0) - c v . k + b

with T the lagged nominal thrust and V0 the flight's mean voltage. In a hover only s T + b is known: mass, thrust scale
and an offset cannot be told apart there. Motion that the reference asks for tells s from b; s itself is still the
thrust scale over the mass' error. Two-stage least squares, as for the lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.flightlog.resampling import first_order_lag
from neural_lander.residual.identification.blocks import BlockMoments, block_numbers, pooled, resamples
from neural_lander.residual.identification.lag import INSTRUMENT_LAGS, LEAST_BLOCKS, LagFit, lagged
from neural_lander.residual.identification.signals import FlightSignals
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.units import GRAM_FORCE
from neural_lander.vehicle import Vehicle

LEAST_VOLTAGE_SPREAD = 0.01  # V sd within a flight: below it the slope in voltage is noise; a guess
ENOUGH_BY_REFERENCE = 3  # flights: then those that feedback may have biased are not pooled with them
LEAST_FLIGHTS = 4  # for a slope between flights: two parameters and two to spare


@dataclass(frozen=True)
class ScaleFit:
    """One flight; standard errors by a bootstrap over blocks of 2 s."""

    source: str
    bias: float  # N
    """Mean of m a . k - T with the profile's lag: what the per-flight trim takes off, along the rotors' axis."""
    bias_error: float
    hover_ratio: float  # 1
    """Mean of m a . k over mean T: the factor that takes the bias away in hover."""
    scale: float  # 1
    """s."""
    scale_error: float
    battery_slope: float | None  # N/V
    """beta; None where voltage is not logged or does not move."""
    battery_slope_error: float | None
    battery: float | None  # V
    """V0."""
    by_reference: bool
    """Whether the reference was the instrument; else feedback may bias scale and slope."""

    def as_json(self) -> dict[str, Any]:
        """SI with the unit in the key."""
        return {
            "bias_along_thrust_N": self.bias,
            "bias_se_N": self.bias_error,
            "hover_ratio": self.hover_ratio,
            "thrust_scale": self.scale,
            "thrust_scale_se": self.scale_error,
            "battery_slope_N_V": self.battery_slope,
            "battery_slope_se_N_V": self.battery_slope_error,
            "battery_V": self.battery,
            "by_reference": self.by_reference,
        }


def identify_thrust_scale(signals: FlightSignals, vehicle: Vehicle, lag: LagFit | None) -> ScaleFit | None:
    """Fit of one flight's high part, None where it has less than 10 s of it.

    ``lag`` is the flight's own; where it is not identified the profile's serves (none for measured rotor speed).
    """
    high, t = signals.high, signals.t
    blocks = block_numbers(t[high])
    if len(np.unique(blocks)) < LEAST_BLOCKS:
        return None
    nominal = signals.thrust
    if signals.rotor_signal == "command":
        nominal = first_order_lag(signals.thrust, SAMPLE_PERIOD, vehicle.motor_time_constant)
    best = nominal
    if lag is not None and lag.identified:
        best = lagged(signals, lag.time_constant, np.array([lag.delay]))[:, 0]
    weight, force = vehicle.weight, signals.force
    common = [signals.speed[high], np.ones(int(high.sum()))]
    voltage = None if signals.battery is None else signals.battery[high]
    if voltage is not None and voltage.std() > LEAST_VOLTAGE_SPREAD:
        common.append(voltage - voltage.mean())
    use_reference = signals.reference is not None and (lag is None or lag.instrument == "reference")
    source = signals.reference if use_reference and signals.reference is not None else best / weight
    shifted = np.stack([np.interp(t - shift, t, source)[high] for shift in INSTRUMENT_LAGS], axis=-1)
    columns = np.column_stack([force[high] / weight, best[high] / weight, *common])
    moments = BlockMoments.of(np.column_stack([shifted, *common[1:]]), columns, blocks)
    draws = []
    for weights in resamples(len(moments)):
        P = moments.projected(weights)
        draws.append(np.linalg.lstsq(P[:, 1:], P[:, 0], rcond=None)[0])
    estimates = np.array(draws)
    error = estimates[1:].std(axis=0)
    with_voltage = len(common) == 3
    residual = (force - nominal)[high]
    means = np.array([residual[blocks == k].mean() for k in np.unique(blocks)])
    return ScaleFit(
        source=signals.source,
        bias=float(residual.mean()),
        bias_error=float(means.std(ddof=1) / np.sqrt(len(means))),
        hover_ratio=float(force[high].mean() / nominal[high].mean()),
        scale=float(estimates[0, 0]),
        scale_error=float(error[0]),
        battery_slope=float(estimates[0, 3]) * weight if with_voltage else None,
        battery_slope_error=float(error[3]) * weight if with_voltage else None,
        battery=None if voltage is None else float(voltage.mean()),
        by_reference=use_reference,
    )


def over_flights(fits: Sequence[ScaleFit]) -> dict[str, Any] | None:
    """What the flights of a set have in common, flight as a random effect, and what share of their bias that explains.

    The bias of each flight is regressed on its mean battery voltage. Shares are of the mean square of the biases: first
    by one offset for all flights, then with the slope in voltage as well; the rest is each flight's own.
    """
    if not fits:
        return None
    sound = [f for f in fits if f.by_reference]
    sound = sound if len(sound) >= ENOUGH_BY_REFERENCE else list(fits)
    scale, scale_error, scale_between = pooled(
        np.array([f.scale for f in sound]), np.array([max(f.scale_error, 1e-4) for f in sound])
    )
    within = [f for f in sound if f.battery_slope is not None and f.battery_slope_error]
    bias = np.array([f.bias for f in fits])
    square = float(np.mean(bias**2))
    result: dict[str, Any] = {
        "flights": len(fits),
        "flights_for_thrust_scale": len(sound),
        "thrust_scale": scale,
        "thrust_scale_se": scale_error,
        "thrust_scale_between_flights_sd": scale_between,
        "hover_ratio": float(np.mean([f.hover_ratio for f in fits])),
        "bias_mean_N": float(bias.mean()),
        "bias_sd_N": float(bias.std(ddof=1)) if len(bias) > 1 else None,
        "share_of_bias_explained_by_one_offset": 1 - float(bias.var()) / square,
    }
    if within:
        slope, error, between = pooled(
            np.array([f.battery_slope for f in within]), np.array([f.battery_slope_error for f in within])
        )
        result["within_flights"] = {
            "battery_slope_N_V": slope,
            "battery_slope_se_N_V": error,
            "battery_slope_between_flights_sd_N_V": between,
        }
    voltage = np.array([np.nan if f.battery is None else f.battery for f in fits])
    if len(fits) >= LEAST_FLIGHTS and np.isfinite(voltage).all() and voltage.std() > LEAST_VOLTAGE_SPREAD:
        X = np.column_stack([np.ones(len(fits)), voltage - voltage.mean()])
        beta, *_ = np.linalg.lstsq(X, bias, rcond=None)
        rest = bias - X @ beta
        variance = float(rest @ rest) / (len(fits) - 2)
        result["between_flights"] = {
            "battery_slope_N_V": float(beta[1]),
            "battery_slope_se_N_V": float(np.sqrt(variance / np.sum(X[:, 1] ** 2))),
            "bias_at_mean_voltage_N": float(beta[0]),
            "mean_voltage_V": float(voltage.mean()),
            "left_sd_N": float(np.sqrt(variance)),
            "share_of_bias_explained_with_battery": 1 - float(np.mean(rest**2)) / square,
        }
    return result


def profile_snippet(vehicle: Vehicle, hover_ratio: float, lag: float | None, flights: int) -> str:
    """Lines for a vehicle profile that would take the mean bias away; for a person to judge, never applied here."""
    note = f"identified in hover, {flights} flights: thrust over mass, so a wrong mass would show here as well"
    lines = [
        "thrust_coefficient = "
        f'{{ value = {hover_ratio * vehicle.thrust_coefficient:.4g}, unit = "N s^2/rad^2", source = "{note}" }}'
    ]
    if vehicle.motor_curve is not None:
        gram = [round(hover_ratio * c / GRAM_FORCE, 6) for c in vehicle.motor_curve.coefficients]
        lines = [
            "[motor_curve]",
            f'coefficients = {{ value = {gram}, unit = "gram-force", source = "{note}" }}',
        ]
    if lag is not None:
        source = f"identified in {flights} flights: lag and delay together"
        lines.insert(0, f'motor_time_constant = {{ value = {lag:.4f}, unit = "s", source = "{source}" }}')
    return "\n".join(lines)
