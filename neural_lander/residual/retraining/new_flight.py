"""What the report of a retraining says of one new flight: its figures, and how far present and flown model missed."""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.resample import interpolate
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM
from neural_lander.residual.trim import flight_trim, trim_reference


def flight_row(log: FlightLog, samples: ResidualSamples, present: Predictors, trim_above: float) -> dict[str, Any]:
    """JSON values of one flight; ``trim_above`` is the height in m above which its trim is taken."""
    return {
        "duration_s": log.duration,
        "usable": int(samples.usable.sum()),
        "samples_low": int((samples.scored & samples.low).sum()),
        "present_model": _missed_by_present_model(present, samples, trim_above),
        "flown_model": missed_by_flown_model(log, samples, trim_above),
    }


def _missed_by_present_model(
    present: Predictors, samples: ResidualSamples, trim_above: float
) -> dict[str, float | None]:
    """RMSE of f_a,z near the ground of the bundle as it is, and of the zero predictor; the trim taken off."""
    found = evaluate(present, [samples], trim=flight_trim, trim_above=trim_above)
    zero = found["baselines"]["zero"]
    return {"rmse_old_fa_z_low_g": found["rmse_fa_z_low_g"], "rmse_zero_fa_z_low_g": zero["rmse_fa_z_low_g"]}


def missed_by_flown_model(log: FlightLog, samples: ResidualSamples, trim_above: float) -> dict[str, Any] | None:
    """RMS of f_a,z and of what is left of it beyond the estimate that was subtracted in flight; None without one.

    Both have the flight's trim taken off. Training learns the first, never the second.
    """
    if log.f_a_applied is None or not np.any(log.f_a_applied):
        return None
    total = samples.label[:, 2]
    missed = total - interpolate(samples.t, log.t, log.f_a_applied)[:, 2]
    high = trim_reference(samples, trim_above)
    figures: dict[str, Any] = {}
    for name, values in (("total", total), ("missed", missed)):
        values = values - (values[high].mean() if high.any() else 0.0)
        for where, mask in (("", samples.scored), ("_low", samples.scored & samples.low)):
            rms = float(np.sqrt(np.mean(values[mask] ** 2))) if mask.any() else None
            figures[f"rms_{name}_fa_z{where}_N"] = rms
            figures[f"rms_{name}_fa_z{where}_g"] = None if rms is None else rms / GRAM
    return figures
