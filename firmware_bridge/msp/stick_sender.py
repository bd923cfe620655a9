"""Setpoints as frames of sticks, and when the sticks are let go; see :mod:`firmware_bridge.msp.link`."""

from __future__ import annotations

import math
import struct

from firmware_bridge.estimation.tilt import tilt_and_rate
from firmware_bridge.link import AttitudeSetpoint, Setpoint
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.codec import NO_REPLY, Frame, encode
from firmware_bridge.msp.guardian import Guardian
from firmware_bridge.msp.identity import Identity
from firmware_bridge.msp.messages import ModeRange, range_of
from firmware_bridge.msp.pipeline import Pipeline, Request
from firmware_bridge.msp.reports import Telemetry
from firmware_bridge.msp.sticks import CHANNELS
from firmware_bridge.port import Port
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.thrust import Thrusts
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

RELEASE_SHARE = 0.95  # of the weight in the last frame: sinks at half a metre per second squared; a guess
STANDING_SHARE = 0.3  # of the weight: a vehicle told less stands, and is let go with idle motors; a guess
ARM_PATIENCE = 3.0  # s for which the arming switch stays on without effect; a guess


class StickSender:
    """All that goes out but requests for telemetry.

    Parameters
    ----------
    port : Port
    vehicle : Vehicle
        For the range of thrust and the weight.
    pipeline : Pipeline
    telemetry : Telemetry
        Of the same link.
    thrust_map : object, optional
        With a method ``fraction``; without one nothing can be sent.
    guardian : Guardian, optional
        Lets the sticks go where this process cannot.
    """

    def __init__(
        self,
        port: Port,
        vehicle: Vehicle,
        pipeline: Pipeline,
        telemetry: Telemetry,
        thrust_map: Thrusts | None,
        guardian: Guardian | None,
    ) -> None:
        self.identity = Identity()
        """Of the autopilot that answers now."""
        self.congested = 0
        """Setpoints left out because the autopilot had not yet answered the last ones."""
        self.fraction: float | None = None
        """Of full throttle, as last sent."""
        self._port, self._vehicle, self._thrust_map, self._guardian = port, vehicle, thrust_map, guardian
        self._pipeline, self._telemetry = pipeline, telemetry
        self._aux: list[int] | None = None
        self._arm_until = self._sent_at = -math.inf
        self._thrust = 0.0  # N, sent last
        self._lifted = False
        self._released = self._landed = False

    @property
    def voltage(self) -> float | None:
        """V of the battery; None where none is connected."""
        return self._telemetry.voltage

    @property
    def let_go(self) -> bool:
        """Whether the sticks are the pilot's, since we gave them back."""
        return self._released and not self._landed

    def take_channels(self, channels: list[int]) -> None:
        """What the autopilot says its channels are: the switches are the pilot's, and stay as they are."""
        if self._aux is None or not self.identity.receiver_is_msp:
            aux = channels[4:CHANNELS]
            self._aux = aux + [1500] * (CHANNELS - 4 - len(aux))

    def disarmed(self) -> None:
        """It has been: whoever did so, it stays so."""
        self._arm_until, self._lifted = -math.inf, False

    def restarted(self) -> None:
        """The autopilot booted anew: nothing goes on."""
        self._arm_until, self._released, self._landed = -math.inf, True, False
        self._stand_down()

    def silent_for(self, now: float) -> float:
        """s since the last setpoint at ``now`` in s, while any is expected."""
        return now - self._sent_at if self._sending else 0.0

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """See :meth:`firmware_bridge.msp.link.MspLink.send`."""
        check_setpoint(setpoint, self._vehicle)
        if not isinstance(setpoint, AttitudeSetpoint):
            raise UserError("setpoint: body rates are not sent over MSP; send attitude and thrust")
        if self.let_go:
            raise UserError("setpoint: the sticks were let go; take control again first")
        told = self._telemetry
        roll, pitch, rate = tilt_and_rate(setpoint, told.attitude, now - told.attitude_at)
        if self._pipeline.room(now) <= 0 or self._pipeline.waiting(msg.SET_RAW_RC) >= self._pipeline.window // 2:
            self.congested += 1
            return False
        if not self._write(roll, pitch, rate, setpoint.thrust, now):
            return False
        self._sent_at, self._thrust = now, setpoint.thrust
        self._lifted |= setpoint.thrust > self._vehicle.weight
        if self._guardian is not None and self._guardian.due(now):
            channels, _ = self._channels(0.0, 0.0, 0.0, self._release_thrust, self._switches(math.inf))
            self._guardian.guard(self._frame(channels), now)
        return True

    def _channels(
        self, roll: float, pitch: float, turning: float, thrust: float, aux: list[int] | None
    ) -> tuple[bytes, float]:
        """All channels for angles in rad, a rate in rad/s and a thrust in N; and the fraction of full throttle."""
        sticks = self.identity.sticks
        if self._thrust_map is None:
            raise UserError("setpoint: there is no thrust map; give one, with the throttle that hovers")
        if sticks is None or aux is None:
            raise UserError(f"setpoint: {self.identity.problem or 'the sticks and switches are not read yet; wait'}")
        idle = self._landed or not self._telemetry.armed
        fraction = 0.0 if idle else min(self._thrust_map.fraction(thrust, self.voltage), 1.0)
        return struct.pack(f"<{CHANNELS}H", *sticks.frame(roll, pitch, turning, fraction, aux)), fraction

    @property
    def _answers_none(self) -> bool:
        return self.identity.variant == "INAV"

    def _frame(self, channels: bytes) -> bytes:
        return encode(Frame(msg.SET_RAW_RC, channels, flags=NO_REPLY if self._answers_none else 0))

    def _write(self, roll: float, pitch: float, turning: float, thrust: float, now: float) -> bool:
        """Whether the frame went out."""
        channels, fraction = self._channels(roll, pitch, turning, thrust, self._switches(now))
        if not self._port.write(self._frame(channels)):
            return False
        self.fraction = fraction
        if not self._answers_none:  # Betaflight answers each frame, which tells when it lags behind
            self._pipeline.sent(Request(msg.SET_RAW_RC, channels), now)
        return True

    def _switches(self, now: float) -> list[int] | None:
        """Auxiliary channels. A disarmed vehicle's arming switch is off, unless we were asked to arm just before."""
        if self._aux is None or self._telemetry.status is None:
            return None
        aux = list(self._aux)
        if self.identity.receiver_is_msp and (switch := range_of(msg.ARM, self.identity.modes)):
            if now < self._arm_until:
                aux[switch.channel - 4] = switch.on
            elif not self._telemetry.armed:
                aux[switch.channel - 4] = switch.off
        return aux

    def arm(self, now: float) -> None:
        """See :meth:`firmware_bridge.msp.link.MspLink.arm`."""
        self._set_switch(msg.ARM, "arm", on=True)
        self._arm_until = now + ARM_PATIENCE

    def disarm(self, now: float) -> None:
        """See :meth:`firmware_bridge.msp.link.MspLink.disarm`."""
        self._arm_until, self._landed = -math.inf, True
        self._stand_down()
        if self.identity.receiver_is_msp:
            self._set_switch(msg.ARM, "disarm", on=False)
        self._write(0.0, 0.0, 0.0, 0.0, now)

    def take_control(self) -> None:
        """See :meth:`firmware_bridge.msp.link.MspLink.take_control`."""
        if self.identity.receiver_is_msp:
            self._set_switch(msg.ANGLE, "fly by attitude", on=True)
        self._released, self._landed, self._sent_at, self._lifted = False, False, -math.inf, False

    def release(self, now: float) -> None:
        """One frame of level sticks and a thrust a little below the weight; tried again by the link if it had no room.

        A vehicle that was told next to no thrust stands, and gets none: Betaflight would hold that frame.
        """
        was_sending, sent_at = self._sending, self._sent_at
        self._released, self._sent_at, self._arm_until = True, -math.inf, -math.inf
        if was_sending and not self._write(0.0, 0.0, 0.0, self._release_thrust, now):
            self._released, self._sent_at = False, sent_at
            return
        self._stand_down()

    @property
    def _release_thrust(self) -> float:
        """N. No more than it was told last where it was never told to carry its weight: it may stand."""
        weight = self._vehicle.weight
        if self._thrust < STANDING_SHARE * weight:
            return 0.0
        return RELEASE_SHARE * weight if self._lifted else min(RELEASE_SHARE * weight, self._thrust)

    @property
    def _sending(self) -> bool:
        return math.isfinite(self._sent_at) and not self._released

    def _stand_down(self) -> None:
        if self._guardian is not None:
            self._guardian.stand_down()

    def _set_switch(self, box: int, purpose: str, on: bool) -> None:
        if not self.identity.receiver_is_msp:
            raise UserError(f"{purpose}: over MSP that is the pilot's switch; use the radio")
        switch: ModeRange | None = range_of(box, self.identity.modes)
        if switch is None or not 4 <= switch.channel < CHANNELS:
            raise UserError(f"{purpose}: the autopilot has no switch for it; give it one in its modes")
        if self._aux is None:
            raise UserError(f"{purpose}: the autopilot has not told its channels yet; wait for its status")
        self._aux[switch.channel - 4] = switch.on if on else switch.off
