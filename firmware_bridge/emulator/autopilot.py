"""An autopilot without a protocol: loops, modes, arming, failsafes. Flies any :class:`EmulatedVehicle`.

It is there to be met by the companion as real ones are, oddities included; it is no reproduction of any one's code.
What it is told comes from two sides: the companion, through a protocol, and the pilot, who always wins.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from firmware_bridge.emulator.estimator import Estimator, EstimatorNoise
from firmware_bridge.emulator.vehicle import EmulatedVehicle, FlightWatch
from neural_lander.components import Vector, dot, quaternion_rows, split
from neural_lander.control.allocation import Allocation
from neural_lander.control.attitude import AttitudeLaw, desired_attitude
from neural_lander.control.tracking import TrackingGains, TrackingLaw
from neural_lander.state import Reference
from neural_lander.vehicle import GRAVITY, Vehicle

TICK = 1 / 400  # s, main loop of ArduCopter
IDLE_SHARE = 0.1  # of the hover speed: rotors of an armed vehicle at rest, guess
CONTACT_TIME = 1.0  # s of rest before it believes that it has landed: ArduCopter's land detector
UNLOADING = 1.5  # 1/s, at which the landing mode takes its thrust away in contact, guess
TAKEOFF_SPEED = 0.5  # m/s, guess: below the default of either autopilot, for rooms
LAND_SPEED = 0.5  # m/s, LAND_SPEED of ArduCopter
LAND_LEAD = 0.3  # m that the reference may run ahead below the vehicle
CLIMB_GAIN = 3.0  # 1/s, of the climb-rate loop, guess
CRASH_TILT = math.radians(60.0)  # guess
CRASH_TIME = 0.5  # s, guess
BATTERY_LAG = 0.1  # s, of the voltage behind the current, guess
LONGEST_PAUSE = 0.25  # s that a process may have been suspended for and is caught up with
SPOOL_TIME = 0.5  # s between arming and thrust, MOT_SPOOL_TIME of ArduCopter


class Mode(Enum):
    """What the autopilot does, under its own name in each protocol."""

    LEVEL = "level"
    """Level at hover throttle: a pilot with centred sticks."""
    HOLD = "hold"
    TAKEOFF = "takeoff"
    COMPANION = "companion"
    LAND = "land"


class OnLoss(Enum):
    """What happens when setpoints stop in the companion's mode."""

    HOLD = "hold"
    LAND = "land"
    LEVEL = "level"
    """Stay in the mode, level, climb rate zero: position drifts (ArduCopter)."""


@dataclass
class Settings:
    """What parameters of the autopilot can change while it runs."""

    setpoint_timeout: float  # s
    on_loss: OnLoss
    stream_before_switch: float = 0.0  # s
    """How long setpoints must have been coming before the companion's mode is accepted."""
    thrust_is_climb_rate: bool = False
    climb_speed: float = 2.5  # m/s at thrust 1, WPNAV_SPEED_UP
    sink_speed: float = 1.5  # m/s at thrust 0, WPNAV_SPEED_DN
    disarm_delay: float = 2.0  # s on the ground before it disarms by itself
    land_disarm_delay: float = 0.0  # s, the same in the landing mode
    thrust_curve: float = 0.0
    """Its belief of e in T/T_full = (1 - e) s + e s^2, with s the signal to the motors."""
    landed_share: float = 0.45
    """Of the weight; with more thrust than that it does not believe that it stands. PX4's low-thrust threshold."""
    pilot_arms_in_companions_mode: bool = True
    """Whether the transmitter may arm in the mode that follows setpoints (ArduCopter: GUID_OPTIONS bit 0)."""
    boosts_tilt: bool = False
    """Whether it divides thrust by the cosine of the tilt (ArduPilot's angle boost)."""


@dataclass(frozen=True)
class Demand:
    """One setpoint as it came in, in our frames."""

    received: float  # s
    thrust: float  # 0..1
    attitude: Vector | None = None  # (4,) body to world
    rates: Vector | None = None  # (3,) rad/s, body


@dataclass(frozen=True)
class Battery:
    """Voltage falls with charge drawn and with current. All guesses: a four-cell pack, half an hour old."""

    full: float = 16.8  # V
    start: float = 16.0  # V
    drain: float = 0.002  # V/s in hover
    sag: float = 0.5  # V in hover


class Autopilot:
    """Steps itself and its vehicle; time is that of the caller, in s.

    Parameters
    ----------
    vehicle : Vehicle
        What it was tuned for.
    world : EmulatedVehicle
        What it flies.
    settings : Settings
    seed : int
        Of sensor noise.
    motor_curve : float
        The true e of the motors (see :class:`Settings`).
    boot_time : float
        s from power to the first message.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        world: EmulatedVehicle,
        settings: Settings,
        *,
        seed: int = 0,
        noise: EstimatorNoise | None = None,
        battery: Battery | None = None,
        motor_curve: float = 0.0,
        boot_time: float = 1.5,
    ) -> None:
        self.vehicle, self.world, self.settings = vehicle, world, settings
        self.estimator = Estimator(world, noise or EstimatorNoise(), seed, TICK)
        self.battery = battery or Battery()
        self.motor_curve, self.boot_time = motor_curve, boot_time
        self.boots = 0
        self.now = math.nan  # s, of the caller, at the last tick
        self.asked = -math.inf  # s, of the caller, at the last call
        self.drawn = 0.0  # V lost to charge drawn
        self.events: list[tuple[float, str]] = []
        """(s, what happened), over all boots."""
        self.watch = FlightWatch(world)
        self._attitude, self._allocation = AttitudeLaw(vehicle), Allocation(vehicle)
        self._tracking = TrackingLaw(vehicle, TrackingGains.critically_damped(vehicle))
        self._full_thrust = 4 * vehicle.thrust_coefficient * vehicle.u_max  # N
        self._boot(0.0)

    @property
    def hover_throttle(self) -> float:
        """Fraction that truly carries the weight in hover on a fresh battery, out of ground effect."""
        volts = self.battery.start - self.battery.sag
        share = self.vehicle.weight / (self._full_thrust * (volts / self.battery.full) ** 2)
        return _bend(self.settings.thrust_curve, _straighten(self.motor_curve, share))

    @property
    def voltage(self) -> float:
        """V at the terminals."""
        return self.battery.start - self.drawn - self.battery.sag * self._load

    @property
    def running(self) -> bool:
        """Whether it has booted."""
        return self.now - self._powered >= self.boot_time

    @property
    def uptime(self) -> float:
        """s since power came on, by the time of the last call rather than of the last tick."""
        return max(self.asked, self.now) - self._powered

    def _boot(self, now: float) -> None:
        self.boots += 1
        self._powered, self.armed, self.mode, self.landed = now, False, Mode.LEVEL, True
        self.demand: Demand | None = None
        self.texts: deque[tuple[int, str]] = deque(maxlen=50)
        self._thrust = self._load = 0.0  # N as commanded; share of the hover power
        self._reference = Reference(np.zeros(3), np.zeros(3), np.zeros(3))
        self._streaming_since: float | None = None
        self._armed_at = self._mode_since = math.nan
        self._still_since = self._touching_since = self._tilted_since = math.nan
        self._landed_at = now
        self._sink_rate = 0.0
        self._lost = False
        self.height_wanted = 1.0  # m, of take-off

    # What the pilot and the protocol ask for

    def arm_refusal(self, by: str) -> str | None:
        """Why it would not let someone arm now, in its own words."""
        if not self.running or self.uptime < self.boot_time + 1.0:
            return "Waiting for navigation alignment"
        if self.estimator.state.rows[2][2] < math.cos(math.radians(20.0)):
            return "Leaning"
        by_radio = by == "pilot" and not self.settings.pilot_arms_in_companions_mode
        if self.mode is Mode.LAND or (self.mode is Mode.COMPANION and by_radio):
            return "Mode not armable"
        return None

    def arm(self, by: str) -> str | None:
        """Arm, or the reason why not."""
        refusal = self.arm_refusal(by)
        if self.armed or refusal is not None:
            return refusal
        self.armed, self._armed_at, self._landed_at = True, self.now, self.now
        self._tracking.reset()
        self.note(f"armed by {by}")
        return None

    def disarm(self, by: str, force: bool = False) -> str | None:
        """Stop the motors, or the reason why not: in the air only by force."""
        if not self.landed and not force:
            return "Not landed"
        if self.armed:
            self.armed = False
            self.note(f"disarmed by {by}")
        return None

    def switch(self, mode: Mode, by: str) -> str | None:
        """Change the mode, or the reason why not. The pilot's own modes are never refused."""
        if mode is Mode.COMPANION and not self.streamed_for(self.settings.stream_before_switch):
            return "No offboard signal"
        if mode is not self.mode:
            self.note(f"{mode.value} by {by}")
        self.mode, self._mode_since, self._lost = mode, self.now, False
        state = self.estimator.state
        self._reference = Reference(state.position.copy(), np.zeros(3), np.zeros(3), self._heading())
        if self.armed:
            self._tracking.reset()
        return None

    def take_off(self, height: float, by: str) -> str | None:
        """Climb to ``height`` in m above where it was switched on, and hold there."""
        if not self.armed:
            return "Not armed"
        self.height_wanted = height
        return self.switch(Mode.TAKEOFF, by)

    def accept(self, demand: Demand) -> None:
        """A setpoint from the companion. It counts as a sign of life in every mode."""
        previous = self.demand
        if previous is None or demand.received - previous.received > 0.5:  # slower than 2 Hz is no stream
            self._streaming_since = demand.received
        self.demand, self._lost = demand, False

    def streamed_for(self, duration: float) -> bool:
        """Whether setpoints have come without a gap for ``duration`` s up to now."""
        if duration <= 0:
            return True
        demand, since = self.demand, self._streaming_since
        return (
            demand is not None
            and since is not None
            and self.now - demand.received < 0.5 <= duration <= self.now - since
        )

    def begin_airborne(self, now: float) -> None:
        """Hold where the world has put the vehicle, armed, as if booted and flown there long ago."""
        self.now, self._powered = now, now - self.boot_time - 60.0
        self._armed_at = now - 60.0
        self.armed, self.landed, self.watch.flown = True, False, True
        self._thrust, self._load = self.vehicle.weight, 1.0
        self.estimator.update()
        self.switch(Mode.HOLD, "pilot")

    def reboot(self) -> None:
        """Lose power for a moment, in whatever state."""
        self.note("reboot")
        self._boot(self.now)

    def note(self, what: str, severity: int | None = None) -> None:
        """Write into the log; with a severity (0 emergency to 7 debug) tell whoever listens, too."""
        self.events.append((self.now, what))
        if severity is not None:
            self.texts.append((severity, what))

    # Time

    def advance(self, now: float) -> None:
        """Run up to ``now``; the first call says what time it is."""
        if math.isnan(self.now):
            self.now = self._powered = now
        self.asked = now
        if now - self.now > LONGEST_PAUSE:
            behind = now - self.now - LONGEST_PAUSE
            self.now += math.ceil(behind / TICK) * TICK
        while self.now + TICK <= now + 1e-9:
            self._tick()

    def _tick(self) -> None:
        booting = not self.running
        self.now += TICK
        if booting and self.running:
            self.estimator.reset()
        self.estimator.update()
        self._watch()
        speeds = self._rotor_speeds() if self.armed and self.running else np.zeros(4)
        load = float(np.sum(speeds**3)) / (4 * self.vehicle.hover_speed**3)
        self._load += TICK / BATTERY_LAG * (load - self._load)
        self.drawn += self.battery.drain * self._load * TICK
        self.world.step(speeds, TICK)
        self.watch.look()

    def _watch(self) -> None:
        """Failsafes, landing, crash."""
        settings, truth, now = self.settings, self.world.state, self.now
        if self.mode is Mode.COMPANION and self.armed and self.demand is not None and not self._lost:
            since = max(self.demand.received, self._mode_since)
            if now - since > settings.setpoint_timeout:
                self._lose()
        resting = self._thrust <= settings.landed_share * self.vehicle.weight
        still = bool(truth.contact) and resting
        if not still:
            self._still_since = math.nan
        elif math.isnan(self._still_since):
            self._still_since = now
        if still and now - self._still_since > CONTACT_TIME and not self.landed:
            self.landed, self._landed_at = True, now
            self.note("landed")
        if self.landed and not resting:
            self.landed = False
        if not truth.contact:
            self._touching_since = math.nan
        elif math.isnan(self._touching_since):
            self._touching_since = now
        if self.armed and self.landed:
            self._disarm_when_due()
        tilted = bool(truth.contact) and truth.rows[2][2] < math.cos(CRASH_TILT)
        self._tilted_since = (now if math.isnan(self._tilted_since) else self._tilted_since) if tilted else math.nan
        if self.armed and tilted and now - self._tilted_since > CRASH_TIME:
            self.armed = False
            self.note("Crash: Disarming", severity=2)

    def _lose(self) -> None:
        self._lost, on_loss = True, self.settings.on_loss
        self.note("setpoints lost", severity=3)
        if on_loss is not OnLoss.LEVEL:
            self.switch(Mode.HOLD if on_loss is OnLoss.HOLD else Mode.LAND, "failsafe")

    def _disarm_when_due(self) -> None:
        settings = self.settings
        delay = settings.land_disarm_delay if self.mode is Mode.LAND else settings.disarm_delay
        if not self.watch.flown or self.mode is Mode.TAKEOFF:
            delay = max(delay, 10.0)  # s before it gives up waiting for a take-off: both autopilots' default
        if self.now - max(self._landed_at, self._armed_at) > delay:
            self.disarm("autopilot")

    # Control

    def _rotor_speeds(self) -> np.ndarray:
        """(4,) rad/s."""
        idle = np.full(4, IDLE_SHARE * self.vehicle.hover_speed)
        if self.now - self._armed_at < SPOOL_TIME:
            self._thrust = 0.0
            return idle
        demand = self.demand
        if self.mode is Mode.COMPANION and demand is not None and demand.received >= self._mode_since - 1.0:
            speeds = self._follow(demand)
        elif self.mode is Mode.LEVEL:
            speeds = self._fly(None, None, 0.0 if self.landed else self.vehicle.weight)
        else:
            speeds = self._track()
        resting = self._thrust <= self.settings.landed_share * self.vehicle.weight
        return idle if self.landed and resting else speeds

    def _follow(self, demand: Demand) -> np.ndarray:
        """The companion's setpoint."""
        if self._lost:
            return self._fly(None, None, self._climb(0.0))
        if not self.settings.thrust_is_climb_rate:
            up = self.estimator.state.rows[2][2]
            boost = 1 / max(up, 0.1) if self.settings.boosts_tilt else 1.0
            return self._fly(demand.attitude, demand.rates, boost * self.thrust_of(demand.thrust))
        stick = 2 * min(max(demand.thrust, 0.0), 1.0) - 1
        climb = stick * (self.settings.climb_speed if stick > 0 else self.settings.sink_speed)
        thrust = 0.0 if self.landed and climb <= 0 else self._climb(climb)
        return self._fly(demand.attitude, demand.rates, thrust)

    def _climb(self, rate: float) -> float:
        """Thrust in N for a climb rate in m/s."""
        state = self.estimator.state
        lift = self.vehicle.mass * (GRAVITY + CLIMB_GAIN * (rate - float(state.velocity[2])))
        return lift / max(state.rows[2][2], 0.5)

    def _track(self) -> np.ndarray:
        """Position hold, take-off and landing: one law, three references."""
        state, reference = self.estimator.state, self._reference
        standing = self.landed and self.mode is not Mode.TAKEOFF
        if standing:
            return self._fly(None, None, 0.0)
        if self.mode is Mode.TAKEOFF:
            z = min(reference.position[2] + TAKEOFF_SPEED * TICK, self.height_wanted)
            reference = self._moved(z, TAKEOFF_SPEED if z < self.height_wanted else 0.0)
            if z >= self.height_wanted and abs(state.position[2] - z) < 0.1:
                self.mode = Mode.HOLD
                self.note("take-off complete")
        elif self.mode is Mode.LAND:
            z = max(reference.position[2] - LAND_SPEED * TICK, float(state.position[2]) - LAND_LEAD)
            reference = self._moved(z, -LAND_SPEED)
        self._reference = reference
        force = self._tracking(state, reference)
        self._tracking.update_trim(self.now, bool(self.world.state.contact))
        touching = 0.0 if math.isnan(self._touching_since) else self.now - self._touching_since
        share = max(1 - UNLOADING * touching, 0.0) if self.mode is Mode.LAND else 1.0
        R_d = desired_attitude(split(force), reference.yaw)
        thrust = share * dot(split(force), [row[2] for row in state.rows])
        return self._allocate(thrust, self._attitude(state.rows, split(state.body_rates), R_d))

    def _moved(self, z: float, speed: float) -> Reference:
        """The reference at height ``z`` in m, moving at ``speed`` in m/s."""
        position = self._reference.position.copy()
        position[2] = z
        return replace(self._reference, position=position, velocity=np.array([0.0, 0.0, speed]))

    def _fly(self, attitude: Vector | None, rates: Vector | None, thrust: float) -> np.ndarray:
        """Rotor speeds for an attitude or body rates, level without either, and thrust in N."""
        state = self.estimator.state
        omega, R = split(state.body_rates), state.rows
        if rates is not None:
            return self._allocate(thrust, self._attitude(R, [w - r for w, r in zip(omega, rates, strict=True)], R))
        R_d = desired_attitude((0.0, 0.0, 1.0), self._reference.yaw) if attitude is None else quaternion_rows(attitude)
        return self._allocate(thrust, self._attitude(R, omega, R_d))

    def _allocate(self, thrust: float, moment: np.ndarray) -> np.ndarray:
        self._thrust = thrust
        u, _ = self._allocation(np.float64(max(thrust, 0.0)), moment)
        return np.sqrt(u)

    def thrust_of(self, fraction: float) -> float:
        """N of a thrust fraction on the present battery; NaN is no thrust."""
        f = min(max(fraction, 0.0), 1.0) if fraction == fraction else 0.0
        share = _bend(self.motor_curve, _straighten(self.settings.thrust_curve, f))
        return self._full_thrust * share * (self.voltage / self.battery.full) ** 2

    def _heading(self) -> float:
        rows = self.estimator.state.rows
        return math.atan2(rows[1][0], rows[0][0])


def _bend(curve: float, signal: float) -> float:
    """Share of full thrust for a signal to the motors."""
    return (1 - curve) * signal + curve * signal * signal


def _straighten(curve: float, share: float) -> float:
    """Inverse of :func:`_bend`."""
    if curve == 0:
        return share
    return (math.sqrt((1 - curve) ** 2 + 4 * curve * share) - (1 - curve)) / (2 * curve)
