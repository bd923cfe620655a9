"""What an estimator on board makes of a state that is old: where the vehicle is by now.

A state carries the time it was measured at, so that its age a is known, and so is what the rotors were commanded since:

    p(t) = p + v a + (f + g) a^2 / 2      v(t) = v + (f + g) a
    omega(t) = omega + int J^-1 tau       q(t) = q * exp(int omega)

with the specific force f as it was felt, and tau = B0 u + tau_hat, u following its command with the motor's lag. All
of it is the believed vehicle's. Without it a delay of 30 ms eats the phase of any attitude loop as fast as the motors.
On the ground the moments of the rotors are left out: those of the floor, which balance them, are not known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import choose, join, split, turned
from neural_lander.lag import share_after
from neural_lander.state import State
from neural_lander.vehicle import G_VECTOR, Vehicle
from sim.sensors import SensorNoise

FARTHEST = 60  # steps: 0.25 s at 240 Hz; beyond it the state is moved on no further


class Forecast:
    """The state now, for one vehicle or a batch; one flight or set of flights each.

    Parameters
    ----------
    vehicle : Vehicle
        As it is believed to be.
    dt : float
        s, between calls.
    """

    def __init__(self, vehicle: Vehicle, dt: float) -> None:
        self._dt = dt
        self._follow = float(share_after(dt, vehicle.motor_time_constant))
        self._acceleration = vehicle.B0[1:] / vehicle.inertia[:, None]  # (3, 4) rad/s^2 per (rad/s)^2
        self._inertia = vehicle.inertia
        self._u: Array = np.full(4, vehicle.hover_speed**2)
        self._past: Array = None
        """(FARTHEST + 1, 6, ...): at each of the last steps the integral of J^-1 tau, and that one's integral."""
        self._step = 0

    def __call__(self, state: State) -> State:
        """The state moved on over its age."""
        age = state.age
        if self._past is None or (isinstance(age, float) and age == 0.0):
            return state
        steps: Any = round(age / self._dt) if isinstance(age, float) else namespace(age).round(age / self._dt)
        known = min(self._step, FARTHEST)
        steps = min(steps, known) if isinstance(steps, int) else steps.clip(0, known)
        return self._moved(state, steps, steps * self._dt)

    def _moved(self, state: State, steps: Any, a: Any) -> State:
        now, then = self._at(0), self._at(steps)
        free = choose(state.contact, 0.0 * now[0], 1.0 + 0.0 * now[0])
        twist = [free * (x - y - i * a) for x, y, i in zip(now[3:], then[3:], then[:3], strict=True)]
        angle = [w * a + x for w, x in zip(split(state.body_rates), twist, strict=True)]
        spun = [free * (x - y) for x, y in zip(now[:3], then[:3], strict=True)]
        felt = 0.0 * state.velocity  # where nothing was, it is as if it hovered
        if state.specific_force is not None:
            felt = state.specific_force + constant(G_VECTOR, felt)
        path = [v * a + 0.5 * f * a * a for v, f in zip(split(state.velocity), split(felt), strict=True)]
        return replace(
            state,
            position=state.position + join(path),
            velocity=state.velocity + join([f * a for f in split(felt)]),
            attitude=join(turned(split(state.attitude), angle, 1.0)),
            body_rates=state.body_rates + join(spun),
            height=state.height + path[2],
        )

    def _at(self, steps: Any) -> list[Any]:
        """The six integrals as they were so many steps ago."""
        if isinstance(steps, int):
            row = self._past[(self._step - steps) % len(self._past)]
            return row.tolist() if row.ndim == 1 else list(row)
        xp = namespace(steps)
        index = xp.asarray(self._step - steps, dtype=xp.int64) % len(self._past)
        return list(self._past[index, :, xp.arange(len(index), device=steps.device)].T)

    def commanded(self, rotor_speeds: Array, disturbing_moment: Array) -> None:
        """What the rotors were told for the next dt, (..., 4) rad/s; the moment is tau_hat, (..., 3) N m, body."""
        u = constant(self._u, rotor_speeds)
        u = self._u = u + self._follow * (rotor_speeds * rotor_speeds - u)
        rate = [sum(c * x for c, x in zip(row, split(u), strict=True)) for row in self._acceleration.tolist()]
        rate = [r + m / J for r, m, J in zip(rate, split(disturbing_moment), self._inertia.tolist(), strict=True)]
        if self._past is None:
            six = join([0.0 * r for r in (*rate, *rate)])
            self._past = namespace(six).stack([six.T] * (FARTHEST + 1))
        before = self._at(0)
        once = [i + r * self._dt for i, r in zip(before[:3], rate, strict=True)]
        twice = [j + i * self._dt for j, i in zip(before[3:], once, strict=True)]
        self._step += 1
        self._past[self._step % len(self._past)] = join([*once, *twice]).T


def forecast_of(noise: SensorNoise, vehicle: Vehicle, dt: float) -> Forecast | None:
    """Where states come late by more than a step, or not at all for a while; a single step is left as it is."""
    late = noise.delay > 1 or noise.dropout > 0
    return Forecast(vehicle, dt) if late and noise.forecast else None
