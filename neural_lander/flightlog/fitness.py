"""Whether a log is fit for learning a ground-effect residual, and why not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.broken_signals import broken_signals
from neural_lander.flightlog.consistency import contradictions
from neural_lander.flightlog.excitation import BAND, GAP, LEAST_FLIGHT, band_rms
from neural_lander.flightlog.frame import UPRIGHT, misread_frame
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.moments import rotor_order_shown
from neural_lander.flightlog.rates import HERTZ, told_rates
from neural_lander.flightlog.standing import RESTING, gear_height, wrong_zero
from neural_lander.flightlog.thrust import NO_SIGNAL, relative_thrust, static_thrust
from neural_lander.flightlog.time_order import thrust_answer
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

LEAST_EXCITATION = 0.015  # of the mean thrust, rms within the band: as much as the label's noise in the Neural-Swarm2
# flights (1.06 g of 67 g, 0.51 g of 32 g); their random walks have 1.1 to 4 %, their landings 0.8 to 1.1 %
LEAST_NEAR = 1.0  # s
NEAR_RADII = 4.0  # rotor radii of gear height: beyond it little ground effect is left (Cheeseman and Bennett 1955)
NEAR = 0.3  # m above the log's lowest point, where the vehicle is not named; a guess
AIRBORNE = 0.5  # of the thrust that is exceeded in a tenth of the records
MOST_MISSING = 0.05  # of the duration
NO_HEIGHT = ("barometer", "GPS")


@dataclass
class Fitness:
    """The verdict."""

    reasons: list[str] = field(default_factory=list)
    """Why not; empty where the log is fit."""
    useless: list[str] = field(default_factory=list)
    """Those of the reasons that no other flight makes up for: nothing true can be learned."""
    wrong: list[str] = field(default_factory=list)
    """Those of these for which the log says what is not so: whatever it is put to, it misleads."""
    remarks: list[str] = field(default_factory=list)
    """What could not be judged."""
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """``fit``, ``reasons``, ``remarks`` and the figures that they rest on."""
        return {"fit": not self.reasons, "reasons": self.reasons, "remarks": self.remarks, **self.figures}

    def refuse(self, reason: str) -> None:
        """A reason that makes the log useless."""
        self.reasons.append(reason)
        self.useless.append(reason)

    def distrust(self, reason: str) -> None:
        """A reason that makes the log wrong."""
        self.refuse(reason)
        self.wrong.append(reason)


def fit_for_learning(log: FlightLog, vehicle: Vehicle | None = None) -> Fitness:
    """Judge rates, height, thrust, coverage, excitation and wholeness of one log.

    Parameters
    ----------
    log
        The flight.
    vehicle
        With it come the gear's height over a floor at z = 0 and the thrust curve.
    """
    verdict = Fitness()
    airborne = _airborne(log, vehicle)
    _check_rates(log, airborne, verdict)
    _check_height(log, verdict)
    if vehicle is not None and (reason := wrong_zero(log, vehicle, airborne)):
        verdict.refuse(reason)
    _check_thrust(log, vehicle, verdict)
    _check_coverage(log, vehicle, airborne, verdict)
    _check_excitation(log, vehicle, airborne, verdict)
    if vehicle is not None and _check_time_order(log, vehicle, airborne, verdict):
        _check_rotor_order(log, vehicle, airborne, verdict)  # by a wrong clock no rotor seems to turn the vehicle
    of_frame = misread_frame(log, vehicle, _periods(log) * airborne)
    for reason in (*of_frame, *broken_signals(log, airborne), *contradictions(log)):
        verdict.distrust(reason)
    _check_wholeness(log, verdict)
    _check_end(log, verdict)
    return verdict


def without_useless(logs: Sequence[FlightLog], vehicle: Vehicle) -> list[FlightLog]:
    """The logs that a ground effect can be learned from; the others are left out, each with a warning.

    Raises
    ------
    UserError
        Where none is left.
    """
    left, said = [], []
    for log in logs:
        if reason := why_useless(log, vehicle):
            said.append(reason)
        else:
            left.append(log)
    if said and not left:
        more = f" (and {len(said) - 1} more logs)" if said[1:] else ""
        raise UserError(f"no log to learn from: {said[0]}{more}")
    for reason in said:
        warnings.warn(f"left out: {reason}", NeuralLanderWarning, stacklevel=2)
    return left


def why_useless(log: FlightLog, vehicle: Vehicle) -> str:
    """Why nothing true can be learned from a log, or judged by it: name, reasons and remedy; empty where it can."""
    useless = fit_for_learning(log, vehicle).useless
    remedy = "; have them logged faster" if any(HERTZ in reason for reason in useless) else ""
    reasons = "; ".join(useless) + remedy
    return f"log {log.source or '(unnamed)'} is not fit for learning: {reasons}" if useless else ""


def _check_rates(log: FlightLog, airborne: np.ndarray, verdict: Fitness) -> None:
    if not np.any(np.diff(log.position, axis=0)):
        verdict.reasons.append("position never changes")
    verdict.figures["rates_Hz"], slow = told_rates(log, airborne)
    for reason in slow:
        verdict.refuse(reason)


def _check_height(log: FlightLog, verdict: Fitness) -> None:
    source = log.metadata.get("height_source")
    if source in NO_HEIGHT and log.height is None:
        verdict.refuse(f"height is from {source}: no height above the ground; fly with a range finder or mocap")
    elif source is None:
        verdict.remarks.append("the log does not say where its height comes from")
    if log.height is not None and log.metadata.get("height_zero_assumed"):
        verdict.remarks.append(
            "the zero of its height is assumed, and shifts all of it where that is wrong: "
            f"{log.metadata.get('height_is', 'no source told')}"
        )


def _check_thrust(log: FlightLog, vehicle: Vehicle | None, verdict: Fitness) -> None:
    if log.rotor_speed is None and log.rotor_command is None:
        verdict.reasons.append("neither rotor speed nor rotor command is logged: no thrust can be had")
    elif log.rotor_speed is None and log.rotor_command_unit == "thrust":
        verdict.reasons.append(NO_SIGNAL)
    elif log.rotor_speed is None and log.rotor_command_unit == "pwm":
        if log.battery_voltage is None:
            verdict.reasons.append("rotor commands are PWM and battery voltage is not logged: no thrust can be had")
        elif vehicle is not None and vehicle.motor_curve is None:
            verdict.reasons.append(f"rotor commands are PWM and vehicle '{vehicle.name}' has no motor curve")


def _check_coverage(log: FlightLog, vehicle: Vehicle | None, airborne: np.ndarray, verdict: Fitness) -> None:
    periods = _periods(log)
    flight = float(periods[airborne].sum())
    low, below = _near_ground(log, vehicle)
    near = float(periods[airborne & low].sum())
    verdict.figures |= {"flight_s": flight, "near_ground_s": near, "near_ground_below_m": below}
    if flight < LEAST_FLIGHT:
        verdict.reasons.append(f"{flight:.3g} s of flight; at least {LEAST_FLIGHT:g} s are needed")
    if near < LEAST_NEAR:
        verdict.reasons.append(f"{near:.3g} s of flight below {below:.3g} m; at least {LEAST_NEAR:g} s are needed")


def _check_excitation(log: FlightLog, vehicle: Vehicle | None, airborne: np.ndarray, verdict: Fitness) -> None:
    thrust = relative_thrust(log, vehicle)
    share = None if thrust is None else band_rms(log.t, thrust, airborne)
    verdict.figures["thrust_excitation"] = share
    if share is not None and share < LEAST_EXCITATION:
        verdict.reasons.append(
            f"thrust moves by {100 * share:.3g} % rms between {BAND[0]:g} and {BAND[1]:g} Hz; at least "
            f"{100 * LEAST_EXCITATION:g} % are needed (10 % are better), or f_a = m g - T is learned for aerodynamics"
        )


def _check_rotor_order(log: FlightLog, vehicle: Vehicle, airborne: np.ndarray, verdict: Fitness) -> None:
    shown = rotor_order_shown(log, vehicle, airborne)
    verdict.figures["moment_correlation"] = None if shown is None else shown.correlation
    if shown is not None and shown.wrong:
        (roll, pitch, _), (best_roll, best_pitch, _) = shown.correlation, shown.best_correlation
        order = ", ".join(str(k + 1) for k in shown.best)
        verdict.distrust(
            f"the rotors do not turn the vehicle as their order says (moment with angular acceleration: correlation "
            f"{roll:.2f} in roll, {pitch:.2f} in pitch); the log's rotors {order} as 1, 2, 3, 4 of profile "
            f"'{vehicle.name}' would ({best_roll:.2f}, {best_pitch:.2f}): have the log or the profile in that order"
        )


def _check_time_order(log: FlightLog, vehicle: Vehicle, airborne: np.ndarray, verdict: Fitness) -> bool:
    """Whether thrust and motion go by one clock, as far as it can be told."""
    low, _ = _near_ground(log, vehicle)
    answer = thrust_answer(log, vehicle, airborne & ~low)
    verdict.figures["force_follows_thrust_s"] = None if answer is None else answer.lag
    if answer is not None and answer.reversed:
        verdict.distrust(
            f"the vehicle moves {-1e3 * answer.lag:.0f} ms before its rotors are told to (correlation "
            f"{answer.correlation:.2f}, {answer.mirrored:.2f} the other way round): the records are in reverse order "
            "of time, or the clocks of thrust and motion differ by as much"
        )
    if answer is not None and answer.late:
        verdict.distrust(
            f"the vehicle moves {1e3 * answer.lag:.0f} ms after its rotors, and {1e3 * answer.expected:.0f} ms are "
            f"expected (correlation {answer.correlation:.2f}, {answer.there:.2f} there): the clocks of thrust and "
            "motion differ"
        )
    return answer is None or not (answer.reversed or answer.late)


def _near_ground(log: FlightLog, vehicle: Vehicle | None) -> tuple[np.ndarray, float]:
    """Which records are low, ``(N,)`` bool, and the gear's height in m below which they are."""
    height = gear_height(log, vehicle)
    if height is None:
        height = log.position[:, 2] - log.position[:, 2].min()
    below = NEAR if vehicle is None else NEAR_RADII * vehicle.rotor_radius
    return np.asarray(height < below), below


def _check_wholeness(log: FlightLog, verdict: Fitness) -> None:
    periods = np.diff(log.t)
    limit = max(GAP, 2 * float(np.median(periods)))
    missing = float(periods[periods > limit].sum()) / log.duration
    verdict.figures["missing_share"] = missing
    if missing > MOST_MISSING:
        verdict.reasons.append(
            f"{100 * missing:.2g} % of the time lies in gaps of more than {limit:.3g} s between records"
        )
    jumps = log.metadata.get("clock_jumps", 0)
    if jumps:
        verdict.reasons.append(f"the clock jumps or stops at {jumps} places: the rest of the flight is another log")


def _check_end(log: FlightLog, verdict: Fitness) -> None:
    if not verdict.wrong and quaternion_to_matrix(log.attitude[-1])[2, 2] < UPRIGHT:
        verdict.reasons.append("the log ends on its side or upside down: a crash")


def _periods(log: FlightLog) -> np.ndarray:
    """s that each record stands for, ``(N,)``; a hole in the log is not flown."""
    return np.asarray(np.minimum(np.gradient(log.t), GAP))


def _airborne(log: FlightLog, vehicle: Vehicle | None) -> np.ndarray:
    thrust = static_thrust(log, vehicle) if vehicle is not None else None
    thrust = relative_thrust(log, vehicle) if thrust is None else thrust
    if thrust is None:
        return np.asarray(np.linalg.norm(log.velocity, axis=1) > RESTING)
    return np.asarray(thrust > AIRBORNE * np.quantile(thrust, 0.9))
