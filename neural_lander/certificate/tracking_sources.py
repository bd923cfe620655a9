"""What the numbers of a tracking bound are from, and what is assumed of the next flight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neural_lander.certificate.check_tracking import LABELS

ASSUMED = (
    "the next flight's disturbance is no larger than those measured: same vehicle, surroundings and estimator, and a "
    "reference that begins with no larger a step in velocity",
    "what is left of the force is estimated by the trim at these gains, or not at all",
    "the flight stays within the domain of the network, in the air, and no rotor is saturated for long",
    "lag of motors and attitude, discretisation and the estimator's errors act through w, as they did where it was "
    "measured",
)
SOURCES: Mapping[str, str] = {
    "Lambda": "gain of the tracking law, the same along all axes; the bound holds for these gains alone",
    "K_v": "gain of the tracking law, the same along all axes",
    "Gamma": "rate of the trim d_hat' = Gamma K_v s; 0: no trim, the paper's theorem",
    "controller_step": "of the controller; the loop is bounded as it is sampled",
    "start_time": "chosen: within it what is above start_level counts by its impulse",
    "settled_time": "chosen: after it the numbers called settled hold",
    "split_time_constant": "of the low-pass filter that splits fast from slow; chosen for the smallest ball",
    "quantile": "chosen, of disturbance_quantile",
    "input_gap_per_s": "rho_u, chosen 0: all of the gap stands in delta_u",
    "start_s": "largest |s| at the first step of a descent, the reference's step in velocity in it",
    "start_s_vertical": "largest |s_z| there",
    "start_height_error": "largest height error there",
    "start_level": "largest |w| after start_time",
    "start_impulse": "largest impulse of w above start_level within start_time: motors and attitude answer late",
    "start_impulse_vertical": "the same of w_z above disturbance_vertical",
    "disturbance": "epsilon_m: largest |w_fast|, all that the ideal loop does not explain",
    "disturbance_quantile": "of |w_fast| after start_time",
    "disturbance_rate": "largest |w_slow'|",
    "disturbance_vertical": "largest |w_z| after start_time",
    "input_gap": "delta_u: largest distance of the rotor thrusts that f_a_hat was asked for from those commanded; "
    "what it does is in w already",
    "decay_rate": "slowest pole of the loop of s, position error and trim, from the gains",
    "gain_of_size": "sup|s| over sup|w / m|: integral of the absolute impulse response",
    "gain_of_rate": "sup|s| over sup|w' / m|; none without trim, where it is infinite",
    "s_ball": "follows: where |s| ends while the disturbance is no larger",
    "p_ball": "follows: s_ball / Lambda",
    "height_ball": "follows: where the height error ends",
    "vertical_speed_ball": "follows: where the error in vertical speed ends",
    "s_worst": "follows: largest |s| in a descent, from its first step on",
    "height_worst": "follows: largest height error in a descent, from its first step on",
    "height_settled": "follows: largest height error after settled_time, touchdown included",
    "vertical_speed_settled": "follows: largest error in vertical speed after settled_time, so at touchdown too",
    "verified_flights": "other flights that were held against the envelope",
    "verified_violations": "of these, flights whose |s| left the envelope of their start at any step",
    "verified_height_violations": "of these, flights whose height error or vertical speed left theirs",
    "verified_outside_domain": "of these, flights that left the network's domain for a moment",
    "verified_worst_s": "largest |s| of these flights",
    "verified_envelope_over_worst_s": "largest value of the envelope over the largest |s|: room that is left",
    "verified_envelope_over_worst_s_settled": "the same after settled_time",
    "verified_time_above_disturbance": "share of the time after start_time that |w_fast| was above disturbance there",
    "verified_time_above_quantile": "the same of disturbance_quantile",
}
"""Where each number is from; unit, norm and status are in ``check_tracking.LABELS``."""


def tracking_entries(value: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Each number with unit, norm, status and source."""
    found = {}
    for name, (unit, norm, status) in LABELS.items():
        if name in value:
            found[name] = {
                "value": value[name], "unit": unit, "norm": norm, "status": status, "source": SOURCES[name],
            }  # fmt: skip
    return found
