"""What one tick leaves behind: for the recorder, the display and tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.estimation.estimator import Estimate
from firmware_bridge.link import Setpoint
from firmware_bridge.supervisor.types import Decision
from neural_lander.state import Reference

MEASURED, COMMANDED, STOPPED = "measured rotor speed", "commanded thrust / 4", "disarmed"
"""Where u comes from."""


@dataclass(frozen=True, eq=False)
class TickRecord:
    """One tick. World frame of the autopilot's own origin unless a line says otherwise; SI."""

    t: float  # s, monotonic clock of the companion
    lateness: float  # s
    decision: Decision
    estimate: Estimate | None = None
    ground: float | None = None  # m
    """Height of the ground in the frame of the position."""
    height: float | None = None  # m
    """Of the gear above the ground."""
    height_age: float = float("inf")  # s
    setpoint: Setpoint | None = None
    """What was sent; in a dry run what would have been. None where nothing was."""
    reference: Reference | None = None  # over the ground
    stage: str = ""
    f_a_applied: np.ndarray = field(default_factory=lambda: np.zeros(3))  # (3,) N, world
    """What the control law subtracted in the setpoint that was sent; zero where nothing was."""
    f_a_predicted: np.ndarray | None = None  # (3,) N, world
    """The network's own, unfaded; None without state, height or network."""
    d_hat: np.ndarray = field(default_factory=lambda: np.zeros(3))  # (3,) N, world
    guard_force: np.ndarray | None = None  # (3,) N, world
    """What the guard added to the force in the setpoint that was sent, zero where nothing was; None without a guard."""
    rotor_speed: np.ndarray | None = None  # (4,) rad/s
    """sqrt(u)."""
    rotor_speed_source: str = ""
    """``MEASURED``, ``COMMANDED`` or ``STOPPED``; empty where it is not known."""
    rotor_speed_age: float = 0.0  # s
    """Of the measurement."""
    domain_score: float = 0.0
    battery_voltage: float | None = None  # V
    mode: str = ""
    armed: bool = False
    in_control: str = "nobody"
    """``companion``, ``autopilot`` (or its pilot) or ``nobody``."""
    problems: tuple[str, ...] = ()
    """What went wrong in this tick, in words."""
    messages: tuple[str, ...] = ()
    """What the autopilot said."""
