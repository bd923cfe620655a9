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
``poll`` where no setpoint came for 0.3 s. The pilot has to take over. Where our process dies no such frame is sent, and
the firmware holds what came last. Where MSP is the receiver itself, Betaflight 4.5 disarms 1.4 s after the last frame,
INAV 9.1 (set to drop) after 0.9 s, with the sticks as they were.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace

from firmware_bridge.estimation.tilt import tilt_in_heading, yaw_rate
from firmware_bridge.link import (
    AttitudeSetpoint,
    Capabilities,
    CheckResult,
    Report,
    RestartReport,
    Setpoint,
    StatusReport,
    TextReport,
)
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.codec import NO_REPLY, REFUSAL, REPLY, Decoder, Frame, encode
from firmware_bridge.msp.identity import FIRST, NAMES, Identity
from firmware_bridge.msp.messages import ModeRange, range_of
from firmware_bridge.msp.pipeline import Pipeline, Request, Schedule
from firmware_bridge.msp.reports import Telemetry
from firmware_bridge.msp.sticks import CHANNELS
from firmware_bridge.port import Port
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.thrust import Thrusts
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

DEAD_MAN = 0.3  # s without a setpoint after which the sticks are let go; what newer Betaflight itself takes
ATTITUDE_AGE = 0.2  # s, of the heading that a setpoint is turned into; a guess
RESERVED = 1  # outstanding request that telemetry leaves to setpoints
RELEASE_SHARE = 0.95  # of the weight in the last frame: sinks at half a metre per second squared; a guess
STANDING_SHARE = 0.3  # of the weight: a vehicle told less stands, and is let go with idle motors; a guess
SILENCE = 1.0  # s without an answer after which everything is asked anew
ARM_PATIENCE = 3.0  # s for which the arming switch stays on without effect; a guess


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
    """

    capabilities = Capabilities("msp", attitude_setpoints=True, rates_setpoints=False, rotor_speed=True, position=False)

    def __init__(
        self,
        port: Port,
        vehicle: Vehicle,
        *,
        rate: float = 200.0,
        thrust_map: Thrusts | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        if not 0 < rate <= 1000:
            raise UserError(f"rate = {rate} Hz must be in (0, 1000]")
        self._order = order if order is not None else msg.quadrant_order(vehicle)
        if self._order is not None and sorted(self._order) != [0, 1, 2, 3]:
            raise UserError(f"order = {tuple(self._order)} must hold 0, 1, 2 and 3 once each")
        self.identity = Identity()
        self.pipeline = Pipeline()
        self.telemetry = Telemetry(self._order)
        self.congested = 0
        """Setpoints left out because the autopilot had not yet answered the last ones."""
        self.malformed = 0
        """Sound frames whose content was not understood."""
        self.fraction: float | None = None
        """Of full throttle, as last sent: what a calibration needs."""
        self._port, self._vehicle, self._thrust_map = port, vehicle, thrust_map
        self._period = 1 / rate
        self.decoder = Decoder()
        self._schedule = Schedule()
        self._schedule.once(FIRST)
        self._now = 0.0
        self._heard = -math.inf
        self._aux: list[int] | None = None
        self._arm_until = -math.inf
        self._sent_at = -math.inf
        self._thrust = 0.0  # N, sent last
        self._released = self._landed = False

    @property
    def voltage(self) -> float | None:
        """V of the battery; None where none is connected."""
        return self.telemetry.voltage

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
        if self._sending and now - self._sent_at > DEAD_MAN:
            self._release(now)
            if self._released and not self._landed:
                reports.append(
                    TextReport(now, 2, f"no setpoint for {DEAD_MAN} s: sticks let go, the pilot must take over")
                )
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
        self.identity = Identity()
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
        if request.command == msg.RC and (self._aux is None or not self.identity.receiver_is_msp):
            channels = self.telemetry.channels[4:CHANNELS]  # the switches are the pilot's, and stay as they are
            self._aux = channels + [1500] * (CHANNELS - 4 - len(channels))
        if was_armed and not self.telemetry.armed:
            self._arm_until = -math.inf  # whoever disarmed, it stays so
        if any(isinstance(report, RestartReport) for report in reports):
            self._arm_until, self._released, self._landed = -math.inf, True, False
        if self._released and not self._landed:
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
        check_setpoint(setpoint, self._vehicle)
        if not isinstance(setpoint, AttitudeSetpoint):
            raise UserError("setpoint: body rates are not sent over MSP; send attitude and thrust")
        if self._released and not self._landed:
            raise UserError("setpoint: the sticks were let go; take control again first")
        if self.telemetry.attitude is None or now - self.telemetry.attitude_at > ATTITUDE_AGE:
            raise UserError(
                f"setpoint: no attitude came for {ATTITUDE_AGE} s, so a tilt has no direction; wait for one"
            )
        roll, pitch, turn = tilt_in_heading(setpoint.attitude, self.telemetry.attitude)
        if self.pipeline.room(now) <= 0 or self.pipeline.waiting(msg.SET_RAW_RC) >= self.pipeline.window // 2:
            self.congested += 1
            return False
        if not self._write_sticks(roll, pitch, yaw_rate(setpoint.yaw_rate, turn), setpoint.thrust, now):
            return False
        self._sent_at, self._thrust = now, setpoint.thrust
        return True

    def _write_sticks(self, roll: float, pitch: float, turning: float, thrust: float, now: float) -> bool:
        """Whether the frame went out."""
        sticks, aux = self.identity.sticks, self._switches(now)
        if self._thrust_map is None:
            raise UserError("setpoint: there is no thrust map; give one, with the throttle that hovers")
        if sticks is None or aux is None:
            raise UserError(f"setpoint: {self.identity.problem or 'the sticks and switches are not read yet; wait'}")
        idle = self._landed or not self.telemetry.armed
        fraction = 0.0 if idle else min(self._thrust_map.fraction(thrust, self.voltage), 1.0)
        channels = struct.pack(f"<{CHANNELS}H", *sticks.frame(roll, pitch, turning, fraction, aux))
        inav = self.identity.variant == "INAV"
        if not self._port.write(encode(Frame(msg.SET_RAW_RC, channels, flags=NO_REPLY if inav else 0))):
            return False
        self.fraction = fraction
        if not inav:  # Betaflight answers each frame, which tells when it lags behind
            self.pipeline.sent(Request(msg.SET_RAW_RC, channels), now)
        return True

    def _switches(self, now: float) -> list[int] | None:
        """Auxiliary channels. A disarmed vehicle's arming switch is off, unless we were just asked to arm."""
        if self._aux is None or self.telemetry.status is None:
            return None
        aux = list(self._aux)
        if self.identity.receiver_is_msp and (switch := range_of(msg.ARM, self.identity.modes)):
            if now < self._arm_until:
                aux[switch.channel - 4] = switch.on
            elif not self.telemetry.armed:
                aux[switch.channel - 4] = switch.off
        return aux

    def arm(self, now: float) -> None:
        """Put the arming switch on; it goes with the setpoints that follow, and off again where it had no effect.

        Raises
        ------
        UserError
            Where the switch is on the pilot's radio.
        """
        self._set_switch(msg.ARM, "arm", on=True)
        self._arm_until = now + ARM_PATIENCE

    def disarm(self, now: float) -> None:
        """Put the arming switch off where it is ours, and the throttle to its lowest until ``take_control``.

        It is the pilot who disarms where the switch is his. Until then our frames go on, so that no stick of his
        raises the throttle of a vehicle that stands (newer Betaflight gives the sticks back 0.3 s after the last).
        """
        self._arm_until, self._landed = -math.inf, True
        if self.identity.receiver_is_msp:
            self._set_switch(msg.ARM, "disarm", on=False)
        self._write_sticks(0.0, 0.0, 0.0, 0.0, now)

    def take_control(self, now: float) -> None:
        """Setpoints may be sent from now on. Where MSP is the receiver angle mode goes on; else the pilot does it."""
        if self.identity.receiver_is_msp:
            self._set_switch(msg.ANGLE, "fly by attitude", on=True)
        self._released, self._landed, self._sent_at = False, False, -math.inf

    def hand_back(self, now: float) -> None:
        """Level sticks and a thrust a little below the weight, once, then nothing: the pilot must take over.

        A vehicle that was told next to no thrust stands, and gets none: Betaflight would hold that frame.
        """
        self._release(now)

    def _release(self, now: float) -> None:
        was_sending, sent_at = self._sending, self._sent_at
        self._released, self._sent_at = True, -math.inf
        weight = self._vehicle.weight
        thrust = RELEASE_SHARE * weight if self._thrust >= STANDING_SHARE * weight else 0.0
        if was_sending and not self._write_sticks(0.0, 0.0, 0.0, thrust, now):
            self._released, self._sent_at = False, sent_at  # no room on the line: poll tries again

    @property
    def _sending(self) -> bool:
        return math.isfinite(self._sent_at) and not self._released

    def _set_switch(self, box: int, purpose: str, on: bool) -> None:
        if not self.identity.receiver_is_msp:
            raise UserError(f"{purpose}: over MSP that is the pilot's switch; use the radio")
        switch: ModeRange | None = range_of(box, self.identity.modes)
        if switch is None or not 4 <= switch.channel < CHANNELS:
            raise UserError(f"{purpose}: the autopilot has no switch for it; give it one in its modes")
        if self._aux is None:
            raise UserError(f"{purpose}: the autopilot has not told its channels yet; wait for its status")
        self._aux[switch.channel - 4] = switch.on if on else switch.off

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
        return checks

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`."""
        trip = self.pipeline.least_round_trip
        clock = f"round trip {1e3 * trip:.1f} ms" if math.isfinite(trip) else "no round trip"
        return f"{self.pipeline.rate(self._now):.0f} answers/s", f"{clock}, {self.decoder.skipped} bytes in no frame"

    def close(self) -> None:
        """Release the port. Sends nothing."""
        self._port.close()
