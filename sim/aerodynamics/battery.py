"""A battery that runs down and sags."""

from __future__ import annotations

from neural_lander.arrays import Array
from neural_lander.components import Scalar, join, maximum, split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.rigid_body import TIME_STEP
from sim.terrain import Surface


class BatterySag:
    """Rotors that turn slower than they are told, as voltage falls with charge and current: T = c_T u (V/V_0)^2.

    Open-loop speed controllers apply a duty cycle, so that speed goes with voltage. With q the charge left and I the
    current over that in hover, which goes with the rotors' power, sum n^3: V/V_0 = 1 - e (1 - q) - r (I - 1), above a
    half. The telemetry in the simulator's logs does not see it: as where u is inferred from PWM, it is in the label.
    """

    empty_loss = 0.17  # e, of the voltage from full to empty: 4.2 to 3.5 V per cell at rest
    resistance = 0.05  # r, of the voltage lost at the hover current: 20 mOhm per cell at 10 A, guess
    hover_time = 600.0  # s from full to empty in hover, guess

    def __init__(self, charge: float = 0.7) -> None:
        self.charge = charge  # q at the start of a flight: 5 % less voltage and 10 % less thrust than when full
        self.reset(0, TIME_STEP)

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        del seed
        self._dt = dt
        self._q: Scalar = self.charge

    def voltage(self, current: Scalar) -> Scalar:
        """V/V_0 at a current in units of that in hover."""
        return maximum(1.0 - self.empty_loss * (1.0 - self._q) - self.resistance * (current - 1.0), 0.5)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`; advances by one step."""
        del terrain
        speeds = split(rotor_speeds)
        current = sum(n * n * n for n in speeds) * (0.25 / vehicle.hover_speed**3)
        V = self.voltage(current)
        self._q = maximum(self._q - self._dt / self.hover_time * current, 0.0)
        missing = V * V - 1.0
        lifts = [missing * vehicle.thrust_coefficient * n * n for n in speeds]
        thrust, roll, pitch, yaw = 0.0, 0.0, 0.0, 0.0
        for T, hub, turn in zip(
            lifts, vehicle.rotor_positions.tolist(), vehicle.rotor_directions.tolist(), strict=True
        ):
            thrust, roll, pitch = thrust + T, roll + hub[1] * T, pitch - hub[0] * T
            yaw = yaw - turn * vehicle.torque_ratio * T
        X, Y, Z = state.rows
        return join([thrust * X[2], thrust * Y[2], thrust * Z[2]]), join([roll, pitch, yaw])
