"""What one flight's samples are worth: verdict, bias, noise, lag, scale, outliers and contact, as JSON values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from neural_lander.errors import UserError
from neural_lander.flightlog.fitness import fit_for_learning
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.identification.accelerometer import accelerometer_report
from neural_lander.residual.identification.lag import LagFit, identify_lag
from neural_lander.residual.identification.signals import FlightSignals, flight_signals
from neural_lander.residual.identification.thrust_scale import ScaleFit, identify_thrust_scale
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import MIN_FLIGHT_THRUST, ResidualSamples, residual_samples
from neural_lander.residual.scoring import scoring_rule
from neural_lander.residual.trim import trim_height, trim_reference
from neural_lander.vehicle import Vehicle

NOISE_ABOVE = 5.0  # Hz: aerodynamics near the ground is slower, the thrust is not excited beyond
MEDIAN_WINDOW = 51  # samples, 0.5 s: what an outlier is held against
OUTLIER_DEVIATIONS = 8.0  # robust standard deviations; a Gaussian has one in 10^15
EVENT_GAP = 20  # samples: outliers and contacts closer than 0.2 s are one event
MOST_LISTED = 20  # events per flight in the report, largest first


@dataclass(frozen=True)
class FlightQuality:
    """One log of the set."""

    figures: dict[str, Any]
    """For the report; JSON values."""
    samples: ResidualSamples | None
    """None where the log is refused."""
    lag: LagFit | None
    scale: ScaleFit | None

    @property
    def fit(self) -> bool:
        """Whether to learn from it."""
        return self.samples is not None and bool(self.figures["fit_for_learning"]["fit"])


def flight_quality(log: FlightLog, vehicle: Vehicle) -> FlightQuality:
    """Everything that is known of one flight; a log that gives no samples has the reason in its verdict."""
    verdict = fit_for_learning(log, vehicle).as_json()
    figures: dict[str, Any] = {
        "log": Path(log.source).name or "(unnamed)",
        "duration_s": log.duration,
        "records": len(log.t),
        "rate_Hz": 1 / float(np.median(np.diff(log.t))),
        "fit_for_learning": verdict,
        "refused": None,
    }
    try:
        samples = residual_samples(log, vehicle)
    except UserError as error:
        figures |= {"refused": str(error), "fit_for_learning": {**verdict, "fit": False}}
        if str(error) not in verdict["reasons"]:
            figures["fit_for_learning"]["reasons"] = [*verdict["reasons"], str(error)]
        return FlightQuality(figures, None, None, None)
    signals = flight_signals(log, samples, vehicle)
    lag, lag_report = identify_lag(signals, vehicle)
    scale = identify_thrust_scale(signals, vehicle, lag)
    figures |= {
        "samples": len(samples),
        "usable": int(samples.usable.sum()),
        "exclusions": dict(samples.exclusions),
        "lands": samples.lands,
        "acceleration": samples.acceleration,
        "thrust": samples.thrust,
        "battery_V": None if log.battery_voltage is None else _range(log.battery_voltage),
        **_bias_and_noise(samples, signals, vehicle),
        "hang_above_reference_m": _hang(log, samples),
        "model_flown": log.f_a_applied is not None and bool(np.any(log.f_a_applied)),
        "lag": lag_report,
        "thrust_scale": None if scale is None else scale.as_json(),
        "accelerometer": accelerometer_report(signals, samples, vehicle),
        "outliers": outliers(samples, vehicle),
        "contact": contact(samples, vehicle),
    }
    return FlightQuality(figures, samples, lag, scale)


def outliers(samples: ResidualSamples, vehicle: Vehicle) -> dict[str, Any]:
    """Labels that are no aerodynamics: beyond the rule's bounds, or far from their neighbours; the worst with times.

    Contact, idling rotors and the ends of the log are not counted: they are left out for other reasons.
    """
    rule = scoring_rule(vehicle)
    f_az = samples.label[:, 2]
    deviation = f_az - median_filter(f_az, MEDIAN_WINDOW, mode="nearest")
    free = _in_the_air(samples, vehicle) & ~rule.edges(len(f_az))
    spread = 1.4826 * float(np.median(np.abs(deviation[free]))) if free.any() else 0.0
    far = np.abs(deviation) > OUTLIER_DEVIATIONS * max(spread, 1e-9)
    bad = free & (rule.outlier(samples.centre_height, f_az) | far)
    events = [
        {
            "from_s": float(samples.t[a]),
            "to_s": float(samples.t[b]),
            "samples": int(bad[a : b + 1].sum()),
            "largest_deviation_N": float(deviation[a : b + 1][np.argmax(np.abs(deviation[a : b + 1]))]),
            "height_m": float(samples.height[a]),
        }
        for a, b in _events(bad)
    ]
    events.sort(key=lambda event: -abs(event["largest_deviation_N"]))
    return {
        "samples": int(bad.sum()),
        "events": len(events),
        "robust_sd_N": spread,
        "worst": events[:MOST_LISTED],
    }


def contact(samples: ResidualSamples, vehicle: Vehicle) -> dict[str, Any]:
    """Samples with turning rotors that may touch the ground, and how deep they go."""
    turning = samples.rotor_thrust.sum(axis=1) >= MIN_FLIGHT_THRUST * vehicle.weight
    touches = samples.contact & turning
    events = _events(touches)
    return {
        "samples": int(touches.sum()),
        "events": len(events),
        "below_height_m": samples.floor,
        "lowest_centre_height_m": float(samples.centre_height[touches].min()) if touches.any() else None,
        "first_s": float(samples.t[events[0][0]]) if events else None,
        "longest_s": max((b - a + 1) * SAMPLE_PERIOD for a, b in events) if events else 0.0,
    }


def high_pass(values: np.ndarray) -> np.ndarray:
    """What is faster than 5 Hz, without phase shift, along the first axis."""
    sections = butter(4, NOISE_ABOVE, "high", fs=1 / SAMPLE_PERIOD, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=0))


def _bias_and_noise(samples: ResidualSamples, signals: FlightSignals, vehicle: Vehicle) -> dict[str, Any]:
    reference = trim_reference(samples, trim_height(vehicle))
    if not reference.any():
        return {
            "samples_for_trim": 0,
            "bias_fa_z_N": None,
            "label_noise_N": None,
            "label_noise_from_acceleration_N": None,
            "label_noise_from_thrust_N": None,
        }
    acceleration = vehicle.mass * high_pass(signals.specific_force[:, 2])
    return {
        "samples_for_trim": int(reference.sum()),
        "bias_fa_z_N": float(samples.label[reference, 2].mean()),
        "label_noise_N": float(high_pass(samples.label[:, 2])[reference].std()),
        "label_noise_from_acceleration_N": float(acceleration[reference].std()),
        "label_noise_from_thrust_N": float(high_pass(samples.rotor_thrust.sum(axis=1))[reference].std()),
    }


def _hang(log: FlightLog, samples: ResidualSamples) -> float | None:
    """Mean height above the reference in free flight, m."""
    if log.position_reference is None or not samples.usable.any():
        return None
    above = np.interp(samples.t, log.t, log.position[:, 2] - log.position_reference[:, 2])
    return float(above[samples.usable].mean())


def _in_the_air(samples: ResidualSamples, vehicle: Vehicle) -> np.ndarray:
    turning = samples.rotor_thrust.sum(axis=1) >= MIN_FLIGHT_THRUST * vehicle.weight
    return turning & ~samples.contact


def _events(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of true samples; runs closer than 0.2 s are one."""
    index = np.flatnonzero(mask)
    if not len(index):
        return []
    runs = np.split(index, np.flatnonzero(np.diff(index) > EVENT_GAP) + 1)
    return [(int(run[0]), int(run[-1])) for run in runs]


def _range(values: np.ndarray) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
