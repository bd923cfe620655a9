"""An autopilot that is flown by sticks, as Betaflight and INAV are: receiver, switches, arming, angle mode, failsafe.

It is there to be met as the real ones are, oddities included; it is no reproduction of either's code.
"""

from __future__ import annotations

import math
from enum import IntFlag

import numpy as np

from firmware_bridge.emulator.estimator import EmulatedEstimator, EstimatorNoise
from firmware_bridge.emulator.modes import LONGEST_PAUSE
from firmware_bridge.emulator.power import Battery, Power
from firmware_bridge.emulator.receiver import BETAFLIGHT, Habits, Receiver
from firmware_bridge.emulator.vehicle import EmulatedVehicle
from firmware_bridge.msp.messages import ANGLE, ARM, OVERRIDE, ModeRange, is_on
from firmware_bridge.msp.sticks import CHANNELS, StickCurve, Sticks, actual_rates
from neural_lander.components import euler_quaternion, quaternion_rows, split, yaw_of
from neural_lander.control.allocation import Allocation
from neural_lander.control.attitude import AttitudeLaw
from neural_lander.units import DEGREE
from neural_lander.vehicle import Vehicle

TICK = 1 / 400  # s, guess: the loops run at 1 to 8 kHz
SIGNAL_LOST = 0.1  # s without a frame of the receiver (Betaflight 4.5.5, rx.c)
LOWEST_PULSE = 885  # us, rx_min_usec
BOOT_GRACE = 5.0  # s after power within which it does not arm
CALIBRATION = 1.0  # s of gyroscope calibration after boot; a guess
SMALL_ANGLE = 25.0 * DEGREE  # of tilt, above which it does not arm
IDLE = 0.055  # of full motor signal while armed, motor idle of Betaflight
YAW_LEAD = 1.0  # rad by which the wanted heading may lead; a guess

RANGES = (ModeRange(ARM, 4, 1700, 2100), ModeRange(ANGLE, 5, 1700, 2100), ModeRange(OVERRIDE, 6, 1700, 2100))
ANGLE_LIMIT, RATE_CENTRE, RATE_FULL = 60.0, 70.0, 670.0  # deg, deg/s, deg/s: defaults of Betaflight 4.5, every axis
INAV_ANGLE_LIMIT, INAV_YAW_FULL, INAV_DEADBAND = 45.0, 200.0, 5  # deg, deg/s, us: defaults of INAV 9.1


class Refusal(IntFlag):
    """Why it does not arm, whatever bit a firmware gives it."""

    RX_LOSS = 1
    FAILSAFE = 2
    NOT_DISARMED = 4
    THROTTLE = 8
    ANGLE = 16
    BOOT = 32
    CALIBRATION = 64
    ARM_SWITCH = 128


def betaflight_default_sticks() -> Sticks:
    """Rates and limits as Betaflight 4.5 has them out of the box."""
    rates = actual_rates(np.linspace(0.0, 1.0, 501), RATE_CENTRE, RATE_FULL, 0.0)
    angle = StickCurve(ANGLE_LIMIT * DEGREE * rates / RATE_FULL)
    return Sticks(angle, angle, StickCurve(rates * DEGREE))


def inav_default_sticks() -> Sticks:
    """Limits as INAV 9.1 has them out of the box, but no expo."""
    grid = np.linspace(0.0, 1.0, 501)
    angle = StickCurve(INAV_ANGLE_LIMIT * DEGREE * grid, INAV_DEADBAND)
    return Sticks(angle, angle, StickCurve(INAV_YAW_FULL * DEGREE * grid, INAV_DEADBAND), lowest=1100)


class StickAutopilot:
    """Steps itself and its vehicle; time is that of the caller, in s.

    Parameters
    ----------
    vehicle : Vehicle
        What it was tuned for.
    world : EmulatedVehicle
        What it flies.
    sticks : Sticks
        How it reads them.
    radio : bool
        Whether the pilot's radio is the receiver and MSP may override it; else MSP is the receiver.
    override_freshness : float
        s for which an MSP frame overrides; infinite in Betaflight 4.5, 0.3 in 2026.
    motor_curve : float
        e of the motors in T/T_full = (1 - e) s + e s^2, with s the throttle.
    boot_time, boot_grace : float
        s from power to the first answer, and until it may arm.
    habits : Habits
        What it makes of a silent receiver.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        world: EmulatedVehicle,
        *,
        sticks: Sticks | None = None,
        radio: bool = True,
        override_freshness: float = math.inf,
        motor_curve: float = 1.0,
        seed: int = 0,
        noise: EstimatorNoise | None = None,
        battery: Battery | None = None,
        boot_time: float = 1.5,
        boot_grace: float = BOOT_GRACE,
        habits: Habits = BETAFLIGHT,
    ) -> None:
        self.vehicle, self.world = vehicle, world
        self.sticks = sticks or betaflight_default_sticks()
        self.has_radio, self.override_freshness = radio, override_freshness
        self.boot_time, self.boot_grace, self._habits = boot_time, boot_grace, habits
        self.estimator = EmulatedEstimator(world, noise or EstimatorNoise(), seed, TICK)
        self.power = Power(vehicle, battery or Battery(), motor_curve)
        """Its motors as they are; a companion has to find it out."""
        self.radio: list[int] | None = [1500, 1500, 1000, 1500, *[1000] * (CHANNELS - 4)] if radio else None
        """(16,) us in the order AETR, what the pilot's transmitter sends; None while it is off."""
        self.events: list[tuple[float, str]] = []
        """(s, what happened), over all boots."""
        self.now = math.nan
        self.boots = 0
        self._attitude, self._allocation = AttitudeLaw(vehicle), Allocation(vehicle)
        self._boot(0.0)

    def _boot(self, now: float) -> None:
        self.boots += 1
        self._powered = now
        self.armed = False
        self.receiver = Receiver(self._habits)
        self.ever_armed = False
        self.refusals = Refusal.BOOT
        self.frame = [0] * CHANNELS
        """(16,) us, of the last SET_RAW_RC; zero where it named no value."""
        self.frame_at = -math.inf
        self.channels = [1500] * CHANNELS
        """(16,) us in the order AETR, as the autopilot takes them."""
        self._arm_refused = True  # an arming switch that is on at boot must be taken off first
        self._yaw: float | None = None

    # What comes in

    def take_frame(self, channels: list[int], now: float) -> None:
        """SET_RAW_RC: what it leaves out becomes zero."""
        self.frame = (channels + [0] * CHANNELS)[:CHANNELS]
        self.frame_at = now

    def switch(self, box: int, on: bool) -> None:
        """The pilot moves a switch of the radio."""
        if self.radio is None:
            raise ValueError("this pilot has no radio")
        for r in RANGES:
            if r.box == box:
                self.radio[r.channel] = r.on if on else r.off

    def begin_airborne(self, now: float) -> None:
        """Fly level where the world has put the vehicle, armed by the pilot's radio, as if booted long ago."""
        self.now, self._powered = now, now - self.boot_time - 60.0
        self.armed = self.ever_armed = True
        self._arm_refused, self.refusals, self.power.load = False, Refusal(0), 1.0
        self.receiver.begin_airborne(now)
        self.switch(ARM, True)
        self.switch(ANGLE, True)

    def reboot(self) -> None:
        """Lose power for a moment."""
        self.events.append((self.now, "reboot"))
        self._boot(self.now)

    # What it says

    @property
    def running(self) -> bool:
        """Whether it has booted."""
        return self.now - self._powered >= self.boot_time

    @property
    def voltage(self) -> float:
        """V at the terminals."""
        return self.power.voltage

    @property
    def hover_throttle(self) -> float:
        """Fraction that truly carries the weight in hover on a fresh battery, out of ground effect."""
        return self.power.hover_fraction()

    def active(self, box: int) -> bool:
        """Whether a box is."""
        if box == ARM:
            return self.armed
        return is_on(box, self.channels, RANGES)

    # Time

    def advance(self, now: float) -> None:
        """Run up to ``now`` in s."""
        if math.isnan(self.now):
            self.now = self._powered = now
        elif now - self.now > LONGEST_PAUSE:
            self.now = now
        while self.now + TICK <= now + 1e-9:
            self.now += TICK
            self._tick()

    def _tick(self) -> None:
        self.estimator.update()
        command = np.zeros(4)
        if self.running:
            self._receive()
            self._decide()
            if self.armed:
                command = self._fly()
        self.power.draw(float(np.sum(self.world.rotor_speed**3)), TICK)
        self.world.step(command, TICK)

    def _receive(self) -> None:
        """The receiver's channels, or what stands in for them; then the override."""
        lost = self.radio is None if self.has_radio else self.now - self.frame_at > SIGNAL_LOST
        raw = None if lost else self.radio if self.has_radio else self.frame
        if raw is not None:
            self.receiver.hear(self.now)
            self.channels = [min(max(value, LOWEST_PULSE), 2115) for value in raw]
        elif not self.receiver.holds(self.now):
            self.channels[:4] = [1500, 1500, LOWEST_PULSE, 1500]
        fresh = self.now - self.frame_at <= self.override_freshness
        if self.has_radio and raw is not None and self.active(OVERRIDE) and fresh:
            self.channels[:4] = [min(max(value, LOWEST_PULSE), 2115) for value in self.frame[:4]]
        self._arm_refused |= self.receiver.update(self.now, self.armed, self._wanted)

    @property
    def failsafe(self) -> bool:
        """Whether it is in its failsafe."""
        return self.receiver.failsafe

    @property
    def _wanted(self) -> bool:
        return is_on(ARM, self.channels, RANGES)

    def _decide(self) -> None:
        """Arming by the switch; a switch that was on while something refused must be taken off first."""
        wanted = self._wanted
        if self.armed and (self.failsafe or not wanted):
            self._disarm("failsafe" if self.failsafe else "switch")
        since = self.now - self._powered
        tilt = math.acos(min(max(self.estimator.state.rows[2][2], -1.0), 1.0))
        conditions = (
            (self.receiver.lost, Refusal.RX_LOSS),
            (self.receiver.refuses, Refusal.FAILSAFE),
            (self._arm_refused and wanted, Refusal.NOT_DISARMED),
            (self.channels[2] > self.sticks.lowest, Refusal.THROTTLE),
            (tilt > SMALL_ANGLE, Refusal.ANGLE),
            (since < self.boot_grace, Refusal.BOOT),
            (since < self.boot_time + CALIBRATION, Refusal.CALIBRATION),
        )
        self.refusals = Refusal(0)
        for holds, refusal in conditions:
            if holds:
                self.refusals |= refusal
        if not wanted:
            self._arm_refused = False
        elif not self.armed:
            if self.refusals:
                self._arm_refused = True
                self.refusals |= Refusal.ARM_SWITCH
            else:
                self.armed = self.ever_armed = True
                self._yaw = None
                self.events.append((self.now, "armed"))

    def _disarm(self, by: str) -> None:
        self.armed = False
        self._arm_refused = True
        self.events.append((self.now, f"disarmed by {by}"))

    def _fly(self) -> np.ndarray:
        """Rotor speeds in rad/s: the sticks as angles, a yaw rate and a thrust.

        Without ANGLE it flies the same, which real ones do not: their sticks then ask for rates.
        """
        sticks, (aileron, elevator, throttle, rudder) = self.sticks, self.channels[:4]
        state = self.estimator.state
        heading = yaw_of(state.rows)
        turn = -sticks.yaw.asked(rudder, sticks.centre)
        lead = math.remainder((heading if self._yaw is None else self._yaw) + turn * TICK - heading, 2 * math.pi)
        self._yaw = heading + min(max(lead, -YAW_LEAD), YAW_LEAD)
        roll, pitch = sticks.roll.asked(aileron, sticks.centre), sticks.pitch.asked(elevator, sticks.centre)
        wanted = quaternion_rows(euler_quaternion(roll, pitch, self._yaw))
        omega = split(self.estimator.gyroscope)
        rates = [turn * row for row in state.rows[2]]  # the wanted turn about the vertical, in the body
        moment = self._attitude(state.rows, [w - r for w, r in zip(omega, rates, strict=True)], wanted)
        thrust = self.power.thrust(max(sticks.fraction(throttle), IDLE))
        u, _ = self._allocation(np.float64(thrust), moment)
        return np.sqrt(u)
