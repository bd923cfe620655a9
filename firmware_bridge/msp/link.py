"""Betaflight and INAV over MSP: telemetry by polling, setpoints as stick positions.

The attitude setpoint becomes sticks of angle mode through the firmware's own curves, read back from it. The heading is
not commanded: the tilt is turned into the heading that the autopilot reports, and the yaw stick turns it to ours. The
world of a setpoint is therefore that of this link's :class:`AttitudeReport`. Position must come from elsewhere.

**Who is in control.** On a real vehicle the pilot's radio is the receiver and a switch of it has MSP OVERRIDE: while it
is on, our frames replace the four sticks, and taking it off ends that at once. Nothing here can arm, disarm or override
then. Only where MSP is the receiver itself (as in simulation) do the switches belong to us.

**When we stop.** Betaflight 4.5 holds the last frame while the override is on (newer versions give the sticks back to
the pilot after 0.3 s). A held tilt or a held climb is a crash, a low throttle a fall. So the last frame is always the
same: level, not turning, thrust a little below the weight. ``hand_back`` sends it and nothing after it; so does
``poll`` where no setpoint came for 0.3 s, and a second process where ours has died or hangs (:mod:`.guardian`). The
pilot has to take over. Where the computer itself fails, the firmware holds what came last. Where MSP is the receiver
itself, Betaflight 4.5 disarms 1.4 s after the last frame, INAV 9.1 (set to drop) after 0.9 s, with the sticks as they
were.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from firmware_bridge.link import (
    Capabilities,
    CheckResult,
    Report,
    RestartReport,
    Setpoint,
    StatusReport,
    TextReport,
)
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.codec import REFUSAL, REPLY, Decoder, Frame, encode
from firmware_bridge.msp.guardian import Guardian, dead_man_check
from firmware_bridge.msp.identity import FIRST, NAMES, Identity
from firmware_bridge.msp.pipeline import Pipeline, Request, Schedule
from firmware_bridge.msp.reports import Telemetry
from firmware_bridge.msp.stick_sender import StickSender
from firmware_bridge.port import Port, SerialPort
from firmware_bridge.thrust import Thrusts
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

DEAD_MAN = 0.3  # s without a setpoint after which the sticks are let go; what newer Betaflight itself takes
RESERVED = 1  # outstanding request that telemetry leaves to setpoints
SILENCE = 1.0  # s without an answer after which everything is asked anew


class MspLink:
    """See the module, and :class:`firmware_bridge.link.Link` for its methods.

    Parameters
    ----------
    port : Port
    vehicle : Vehicle
        For the range of thrust, the weight, and the order of rotors.
    rate : float
        1/s of attitude and inertial data to ask for; a slow serial task gives fewer.
    thrust_map : object, optional
        With a method ``fraction``; without one the link can only observe, since MSP tells no hover throttle.
    order : sequence of int, optional
        For each rotor of the profile the autopilot's motor, from 0; without it, by quadrant.
    guardian : Guardian, optional
        Lets the sticks go where this process cannot; closed with the link.
    """

    capabilities = Capabilities("msp", rates_setpoints=False, rotor_speed=True, position=False)

    def __init__(
        self,
        port: Port,
        vehicle: Vehicle,
        *,
        rate: float = 200.0,
        thrust_map: Thrusts | None = None,
        order: Sequence[int] | None = None,
        guardian: Guardian | None = None,
    ) -> None:
        if not 0 < rate <= 1000:
            raise UserError(f"rate = {rate} Hz must be in (0, 1000]")
        self._order = order if order is not None else msg.quadrant_order(vehicle)
        if self._order is not None and sorted(self._order) != [0, 1, 2, 3]:
            raise UserError(f"order = {tuple(self._order)} must hold 0, 1, 2 and 3 once each")
        self.pipeline = Pipeline()
        self.telemetry = Telemetry(self._order)
        self.malformed = 0
        """Sound frames whose content was not understood."""
        self.sticks = StickSender(port, vehicle, self.pipeline, self.telemetry, thrust_map, guardian)
        self._port, self._vehicle, self._guardian = port, vehicle, guardian
        self._period = 1 / rate
        self.decoder = Decoder()
        self._schedule = Schedule()
        self._schedule.once(FIRST)
        self._now = 0.0
        self._heard = -math.inf
        self._guarded = guardian is not None
        """Until it is told that it has ended."""

    @property
    def identity(self) -> Identity:
        """Of the autopilot that answers now."""
        return self.sticks.identity

    @property
    def voltage(self) -> float | None:
        """V of the battery; None where none is connected."""
        return self.telemetry.voltage

    @property
    def fraction(self) -> float | None:
        """Of full throttle, as last sent: what a calibration needs."""
        return self.sticks.fraction

    @property
    def congested(self) -> int:
        """Setpoints left out because the autopilot had not yet answered the last ones."""
        return self.sticks.congested

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`."""
        self._now = now
        reports: list[Report] = []
        for frame in self.decoder.feed(self._port.read()):
            if frame.arrow in (REPLY, REFUSAL) and (request := self.pipeline.answered(frame.command, now)):
                self._heard = now
                try:
                    reports += self._take(request, frame, now)
                except (struct.error, IndexError):
                    self.malformed += 1
        if self.sticks.silent_for(now) > DEAD_MAN:
            self.sticks.release(now)
            if self.sticks.let_go:
                reports.append(
                    TextReport(now, 2, f"no setpoint for {DEAD_MAN} s: sticks let go, the pilot must take over")
                )
        if self._guarded and self._guardian is not None and not self._guardian.alive:
            self._guarded = False
            reports.append(TextReport(now, 2, "the process that watches over this one has ended; land, and start anew"))
        if now - self._heard > SILENCE and not self._schedule.open:
            self._ask_all_anew()
        for _ in range(self.pipeline.room(now) - RESERVED):
            if (due := self._schedule.next(now)) is None:
                break
            self._port.write(encode(Frame(due.command, due.payload)))
            self.pipeline.sent(due, now)
        return reports

    def _ask_all_anew(self) -> None:
        """After a silence another autopilot may be there."""
        self.sticks.identity = Identity()
        self.pipeline.forget()
        self._schedule = Schedule()
        self._schedule.once(FIRST)

    def _take(self, request: Request, frame: Frame, now: float) -> Sequence[Report]:
        if self.identity.knows(request):
            self._schedule.settled(request)
            if frame.arrow == REFUSAL:
                self.identity.refuse(request)
                return ()
            self._schedule.once(self.identity.take(request, frame.payload))
            if self.capabilities.arming is not self.identity.receiver_is_msp:
                self.capabilities = replace(self.capabilities, arming=self.identity.receiver_is_msp)
            if request.command == msg.FC_VARIANT and self.identity.variant in NAMES:
                self._start_telemetry()
            return ()
        if frame.arrow == REFUSAL:
            self._schedule.drop(request)
            if request.command == msg.ATTITUDE_QUATERNION:
                self._schedule.every(self._period, Request(msg.ATTITUDE))
            return ()
        was_armed, t = self.telemetry.armed, now - self.pipeline.least_round_trip / 2
        reports = self.telemetry.read(request.command, frame.payload, self.identity, t, now, t - self.pipeline.asked)
        if request.command == msg.RC:
            self.sticks.take_channels(self.telemetry.channels)
        if was_armed and not self.telemetry.armed:
            self.sticks.disarmed()
        if any(isinstance(report, RestartReport) for report in reports):
            self.sticks.restarted()
        if self.sticks.let_go:
            return [replace(r, accepts_setpoints=False) if isinstance(r, StatusReport) else r for r in reports]
        return reports

    def _start_telemetry(self) -> None:
        inav = self.identity.variant == "INAV"
        for period, command in (
            (self._period, msg.RAW_IMU),
            (self._period, msg.ATTITUDE if inav else msg.ATTITUDE_QUATERNION),
            (0.1, msg.INAV_STATUS if inav else msg.STATUS_EX),
            (0.1, msg.RC),
            (0.02, msg.INAV_ESC_RPM if inav else msg.MOTOR_TELEMETRY),
            (0.05, msg.SONAR_ALTITUDE),
            (0.5, msg.INAV_ANALOG if inav else msg.BATTERY_STATE),
            (0.5, msg.ALTITUDE),
        ):
            self._schedule.every(period, Request(command))

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """One frame of all 16 channels. While disarmed the throttle stays at its lowest, so that arming is possible.

        Raises
        ------
        LinkLost
            Where the port is gone.
        UserError
            What :func:`check_setpoint` refuses; rates; where sticks, heading or thrust map are not known; after
            ``hand_back`` until ``take_control``. After ``disarm`` the throttle stays at its lowest, whatever is sent.
        """
        return self.sticks.send(setpoint, now)

    def arm(self, now: float) -> None:
        """Put the arming switch on; it goes with the setpoints that follow, and off again where it had no effect.

        Raises
        ------
        UserError
            Where the switch is on the pilot's radio.
        """
        self.sticks.arm(now)

    def disarm(self, now: float) -> None:
        """Put the arming switch off where it is ours, and the throttle to its lowest until ``take_control``.

        Where the arming switch is the pilot's, the pilot disarms. Until then our frames go on, so that no stick
        raises the throttle of a vehicle that stands (newer Betaflight gives the sticks back 0.3 s after the last).
        """
        self.sticks.disarm(now)

    def take_control(self, now: float) -> None:
        """Setpoints may be sent from now on. Where MSP is the receiver angle mode goes on; else the pilot does it."""
        self.sticks.take_control()

    def hand_back(self, now: float) -> None:
        """Level sticks and a thrust a little below the weight, once, then nothing: the pilot must take over.

        A vehicle that was told next to no thrust stands, and gets none: Betaflight would hold that frame.
        """
        self.sticks.release(now)

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        checks = self.identity.checks(self.pipeline.rate(self._now), self.pipeline.least_round_trip)
        if self._order is None:
            text = (
                f"the rotors of vehicle '{self._vehicle.name}' lie in no X: give the motors' order to use rotor speeds"
            )
            checks.append(CheckResult("motor order", False, text))
        if self.telemetry.counts_per_g is None:
            text = "counts per g are not known yet: leave the vehicle disarmed and still for a second"
            checks.append(CheckResult("accelerometer", False, text))
        checks.append(dead_man_check(self._guardian))
        return checks

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`."""
        trip = self.pipeline.least_round_trip
        clock = f"round trip {1e3 * trip:.1f} ms" if math.isfinite(trip) else "no round trip"
        return f"{self.pipeline.rate(self._now):.0f} answers/s", f"{clock}, {self.decoder.skipped} bytes in no frame"

    def close(self) -> None:
        """Release the port. Sends nothing."""
        if self._guardian is not None:
            self._guardian.close()
        self._port.close()


def guarded(port: SerialPort, vehicle: Vehicle, **options: Any) -> MspLink:
    """Link that a second process watches over, where the port can be shared with one; closes it where that fails."""
    guardian = None
    try:
        if port.file is not None and os.name == "posix":
            guardian = Guardian(port.file)
        return MspLink(port, vehicle, guardian=guardian, **options)
    except BaseException:
        if guardian is not None:
            guardian.close()
        port.close()
        raise
