"""What a tick can say of u, of the residual, and of who is in control."""

from __future__ import annotations

import math

import numpy as np

from firmware_bridge.heard import Heard
from firmware_bridge.kept_link import failure
from firmware_bridge.link import StatusReport
from firmware_bridge.recording.tick_record import COMMANDED, MEASURED, STOPPED
from firmware_bridge.supervisor.types import Decision, Phase
from neural_lander.residual.model import NoResidual, ResidualModel
from neural_lander.state import State
from neural_lander.vehicle import Vehicle

ROTOR_AGE = 0.15  # s: ESC telemetry comes at 10 to 100 Hz; the log says at how many, guess


def is_ours(decision: Decision) -> bool:
    """Whether the autopilot follows our setpoints after this tick."""
    return decision.memory.followed and decision.phase is not Phase.HANDING_BACK


def in_control(status: StatusReport | None, ours: bool) -> str:
    """``companion``, ``autopilot`` (or its pilot), or ``nobody`` where the motors stand still."""
    if status is None or not status.armed:
        return "nobody"
    return "companion" if ours else "autopilot"


def rotor_speed(heard: Heard, now: float, thrust: float | None) -> tuple[np.ndarray | None, str]:
    """sqrt(u) in rad/s (4,), and where it comes from.

    Parameters
    ----------
    heard, now
        A measurement comes first, if it is young at time ``now`` in s.
    thrust
        That was sent and is followed, in N; shared by the rotors alike, since the moments are the autopilot's.
    """
    rotors, status = heard.rotors, heard.status
    if rotors is not None and now - rotors.t <= ROTOR_AGE:
        return rotors.rotor_speed, MEASURED
    if status is not None and not status.armed:
        return np.zeros(4), STOPPED
    if thrust is not None:
        return np.full(4, math.sqrt(thrust / (4.0 * heard.vehicle.thrust_coefficient))), COMMANDED
    return None, ""


def predict(
    model: ResidualModel, state: State | None, speeds: np.ndarray | None, vehicle: Vehicle
) -> tuple[np.ndarray | None, str]:
    """f_a_hat in N, world, (3,), at the rotor speeds in rad/s, without them in hover; and why it failed, or nothing."""
    if state is None or isinstance(model, NoResidual):
        return None, ""
    speeds = np.full(4, vehicle.hover_speed) if speeds is None else speeds
    try:
        return np.asarray(model.at(state)(vehicle.thrust_coefficient * speeds**2)), ""
    except Exception as error:  # noqa: BLE001 - a prediction for the log must not stop the loop
        return None, failure("the prediction", error)
