"""An autopilot without a protocol: modes, arming, failsafes. Flies any :class:`EmulatedVehicle`.

It is there to be met by the companion as real ones are, oddities included; it is no reproduction of any one's code.
What it is told comes from two sides: the companion, through a protocol, and the pilot, who always wins.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from firmware_bridge.emulator.estimator import EmulatedEstimator, EstimatorNoise
from firmware_bridge.emulator.flight_loops import FlightLoops
from firmware_bridge.emulator.modes import LONGEST_PAUSE, TICK, Demand, Mode, OnLoss, Settings
from firmware_bridge.emulator.power import Battery, Power
from firmware_bridge.emulator.vehicle import EmulatedVehicle, FlightWatch
from neural_lander.vehicle import Vehicle

IDLE_SHARE = 0.1  # of the hover speed: rotors of an armed vehicle at rest, guess
CONTACT_TIME = 1.0  # s of rest before it believes that it has landed: ArduCopter's land detector
UNLOADING = 1.5  # 1/s, at which the landing mode takes its thrust away in contact, guess
CRASH_TILT = math.radians(60.0)  # guess
CRASH_TIME = 0.5  # s, guess
ARMING_TILT = math.radians(20.0)  # guess
ALIGNMENT = 1.0  # s after boot until it may arm, guess: real ones take ten times as long
PATIENCE = 10.0  # s that it waits armed for a take-off: default of both, DISARM_DELAY and COM_DISARM_PRFLT
NOT_STREAMED = "Arming denied: Resolve system health failures first"
INTERNAL_ERROR = "PreArm: Internal errors 0x100000 l:57 flow_of_ctrl"
SLOWEST_STREAM = 0.5  # s between setpoints: PX4 wants more than 2 Hz


class _Held:
    """For how long a condition has held, s."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, now: float, holds: bool) -> float:
        if not holds:
            self._since = None
            return 0.0
        self._since = now if self._since is None else self._since
        return now - self._since


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
        self.estimator = EmulatedEstimator(world, noise or EstimatorNoise(), seed, TICK)
        self.power = Power(vehicle, battery or Battery(), motor_curve)
        self.boot_time = boot_time
        self.boots = 0
        self.now = math.nan  # s, of the caller, at the last tick
        self.asked = -math.inf  # s, of the caller, at the last call
        self.events: list[tuple[float, str]] = []
        """(s, what happened), over all boots."""
        self.watch = FlightWatch(world)
        self._boot(0.0)

    @property
    def hover_throttle(self) -> float:
        """Fraction that truly carries the weight in hover on a fresh battery, out of ground effect."""
        return self.power.hover_fraction(self.settings.thrust_curve)

    @property
    def voltage(self) -> float:
        """V at the terminals."""
        return self.power.voltage

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
        self.power.load = 0.0
        self._loops = FlightLoops(self.vehicle, self.estimator)
        self._streaming_since: float | None = None
        self._armed_at = self._mode_since = math.nan
        self._still, self._touching, self._tilted = _Held(), _Held(), _Held()
        self._touched_for = 0.0  # s
        self._landed_at = now
        self._lost = self._internal_error = False
        self.failsafe = False
        """Whether a failsafe has changed the mode last."""
        self.height_wanted = 1.0  # m, of take-off

    # What the pilot and the protocol ask for

    def arm_refusal(self, by: str) -> str | None:
        """Why it would not let someone arm now, in its own words."""
        if not self.running or self.uptime < self.boot_time + ALIGNMENT:
            return "Waiting for navigation alignment"
        if self.estimator.state.rows[2][2] < math.cos(ARMING_TILT):
            return "Leaning"
        by_radio = by == "pilot" and not self.settings.pilot_arms_in_companions_mode
        if self.mode is Mode.LAND or (self.mode is Mode.COMPANION and by_radio):
            return "Mode not armable"
        if self.mode is Mode.COMPANION and not self.streamed_for(self.settings.stream_before_switch):
            return NOT_STREAMED
        return INTERNAL_ERROR if self._internal_error else None

    def arm(self, by: str) -> str | None:
        """Arm, or the reason why not."""
        refusal = self.arm_refusal(by)
        if self.armed or refusal is not None:
            return refusal
        self.armed, self._armed_at, self._landed_at = True, self.now, self.now
        self._loops.forget_trim()
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
        if mode is Mode.COMPANION and self.armed and not self.streamed_for(self.settings.stream_before_switch):
            return "No offboard signal"
        if mode is not self.mode:
            self.note(f"{mode.value} by {by}")
        self.mode, self._mode_since, self._lost = mode, self.now, False
        self.failsafe = by == "failsafe"
        self._loops.start_here()
        if self.armed:
            self._loops.forget_trim()
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
        if previous is None or demand.received - previous.received > SLOWEST_STREAM:
            self._streaming_since = demand.received
        self.demand, self._lost = demand, False

    def streamed_for(self, duration: float) -> bool:
        """Whether setpoints have come without a gap for ``duration`` s up to now."""
        if duration <= 0:
            return True
        demand, since = self.demand, self._streaming_since
        if demand is None or since is None or self.now - demand.received >= SLOWEST_STREAM:
            return False
        return self.now - since >= duration

    def begin_airborne(self, now: float) -> None:
        """Hold where the world has put the vehicle, armed, as if booted and flown there long ago."""
        self.now, self._powered = now, now - self.boot_time - 60.0
        self._armed_at = now - 60.0
        self.armed, self.landed, self.watch.flown = True, False, True
        self._loops.thrust, self.power.load = self.vehicle.weight, 1.0
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
        self.power.draw(float(np.sum(speeds**3)), TICK)
        self.world.step(speeds, TICK)
        self.watch.look()

    @property
    def _resting(self) -> bool:
        """Whether so little thrust is commanded that it must be standing."""
        return self._loops.thrust <= self.settings.landed_share * self.vehicle.weight

    def _watch(self) -> None:
        """Failsafes, landing, crash."""
        truth, now, settings = self.world.state, self.now, self.settings
        if self.mode is Mode.COMPANION and self.armed and self.demand is not None and not self._lost:
            since = max(self.demand.received, self._mode_since)
            if now - since > settings.setpoint_timeout:
                self._lose()
        contact = bool(truth.contact)
        self._touched_for = self._touching(now, contact)
        notices = self.mode is not Mode.COMPANION or settings.lands_in_companions_mode
        if self._still(now, contact and self._resting and notices) > CONTACT_TIME and not self.landed:
            self.landed, self._landed_at = True, now
            self.note("landed")
        if self.landed and not self._resting:
            self.landed = False
            minds = settings.minds_take_off_by_thrust and not settings.thrust_is_climb_rate
            if self.mode is Mode.COMPANION and minds and not self._internal_error:
                self._internal_error = True
                self.note("Internal Errors 0x100000", severity=2)
        if self.armed and self.landed:
            self._disarm_when_due()
        if self._tilted(now, contact and truth.rows[2][2] < math.cos(CRASH_TILT)) > CRASH_TIME and self.armed:
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
            delay = max(delay, PATIENCE)
        if self.now - max(self._landed_at, self._armed_at) > delay:
            self.disarm("autopilot")

    # Control

    def _rotor_speeds(self) -> np.ndarray:
        """(4,) rad/s."""
        idle = np.full(4, IDLE_SHARE * self.vehicle.hover_speed)
        if self.now - self._armed_at < self.settings.spool_time:
            self._loops.thrust = 0.0
            return idle
        demand = self.demand
        if self.mode is Mode.COMPANION and demand is not None and demand.received >= self._mode_since - 1.0:
            speeds = self._follow(demand)
        elif self.mode is Mode.LEVEL:
            speeds = self._loops.fly(None, None, 0.0 if self.landed else self.vehicle.weight)
        else:
            speeds = self._navigate()
        return idle if self.landed and self._resting else speeds

    def _follow(self, demand: Demand) -> np.ndarray:
        """The companion's setpoint."""
        settings, loops = self.settings, self._loops
        if self._lost:
            return loops.fly(None, None, loops.climb(0.0))
        if not settings.thrust_is_climb_rate:
            boost = 1 / max(self.estimator.state.rows[2][2], 0.1) if settings.boosts_tilt else 1.0
            return loops.fly(demand.attitude, demand.rates, boost * self.thrust_of(demand.thrust))
        stick = 2 * min(max(demand.thrust, 0.0), 1.0) - 1
        rate = stick * (settings.climb_speed if stick > 0 else settings.sink_speed)
        return loops.fly(demand.attitude, demand.rates, 0.0 if self.landed and rate <= 0 else loops.climb(rate))

    def _navigate(self) -> np.ndarray:
        """Position hold, take-off and landing."""
        loops, now, contact = self._loops, self.now, bool(self.world.state.contact)
        if self.mode is Mode.TAKEOFF:
            speeds, arrived = loops.ascend(now, contact, self.height_wanted)
            if arrived:
                self.mode = Mode.HOLD
                self.note("take-off complete")
            return speeds
        if self.landed:
            return loops.fly(None, None, 0.0)
        if self.mode is Mode.LAND:
            return loops.descend(now, contact, max(1 - UNLOADING * self._touched_for, 0.0))
        return loops.hold(now, contact)

    @property
    def throttle(self) -> float:
        """Fraction that its attitude loop flies by, in any mode."""
        return self.power.fraction(self._loops.thrust, self.settings.thrust_curve) if self.armed else 0.0

    def thrust_of(self, fraction: float) -> float:
        """N of a thrust fraction on the present battery."""
        return self.power.thrust(fraction, self.settings.thrust_curve)
