"""Battery and motors of an emulated vehicle: from a thrust fraction to newtons."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.thrust import share_of, signal_of
from neural_lander.vehicle import Vehicle

LAG = 0.1  # s, of the voltage behind the current, guess


@dataclass(frozen=True)
class Battery:
    """Voltage falls with charge drawn and with current. All guesses: a four-cell pack, half an hour old."""

    full: float = 16.8  # V
    start: float = 16.0  # V
    drain: float = 0.002  # V/s in hover
    sag: float = 0.5  # V in hover


class Power:
    """A pack under load, and motors whose thrust goes with the square of its voltage.

    ``curve`` is e in T/T_full = (1 - e) s + e s^2, with s the signal to the motors: the true one, while an autopilot
    has a belief of its own by which it turns a thrust fraction into a signal: 0 where it passes that on as it is.
    """

    def __init__(self, vehicle: Vehicle, battery: Battery, curve: float) -> None:
        self.battery, self.curve = battery, curve
        self.drawn = 0.0  # V lost to charge drawn
        self.load = 0.0
        """Share of the hover power."""
        self._hover = 4 * vehicle.hover_speed**3
        self._full_thrust, self._weight = vehicle.full_thrust, vehicle.weight

    @property
    def voltage(self) -> float:
        """V at the terminals."""
        return self.battery.start - self.drawn - self.battery.sag * self.load

    def draw(self, cubes: float, dt: float) -> None:
        """One step of ``dt`` s with the sum of the cubed rotor speeds, (rad/s)^3: power goes with the cube."""
        self.load += dt / LAG * (cubes / self._hover - self.load)
        self.drawn += self.battery.drain * self.load * dt

    def thrust(self, fraction: float, belief: float = 0.0) -> float:
        """N of a thrust fraction on the present battery; NaN is no thrust."""
        f = min(max(fraction, 0.0), 1.0) if fraction == fraction else 0.0
        share = share_of(signal_of(f, belief), self.curve)
        return self._full_thrust * share * (self.voltage / self.battery.full) ** 2

    def fraction(self, thrust: float, belief: float = 0.0) -> float:
        """Inverse of :meth:`thrust`, within 0 to 1."""
        return self._fraction_at(self.voltage, thrust, belief)

    def hover_fraction(self, belief: float = 0.0) -> float:
        """Fraction that truly carries the weight in hover on a fresh battery, out of ground effect."""
        return self._fraction_at(self.battery.start - self.battery.sag, self._weight, belief)

    def _fraction_at(self, volts: float, thrust: float, belief: float) -> float:
        share = thrust / (self._full_thrust * (volts / self.battery.full) ** 2)
        return share_of(signal_of(min(max(share, 0.0), 1.0), self.curve), belief)
