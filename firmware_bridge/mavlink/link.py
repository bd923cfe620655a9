"""MAVLink 2 link: PX4 in OFFBOARD, ArduPilot in GUIDED, commanded by attitude or body rates with thrust.

Only the autopilot's own component (id 1) of one system is listened to. Mode and arming are believed from its HEARTBEAT
alone; an accepted command changes nothing here. Nothing is sent that the autopilot would take for something else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.estimation.pose import Pose
from firmware_bridge.estimation.time_sync import BootClock, Step, TimeSync
from firmware_bridge.link import (
    AttitudeReport,
    BatteryReport,
    Capabilities,
    CheckResult,
    Report,
    RestartReport,
    RotorReport,
    Setpoint,
    TextReport,
)
from firmware_bridge.mavlink.autopilot import Autopilot
from firmware_bridge.mavlink.control import Control
from firmware_bridge.mavlink.framing import FrameParser
from firmware_bridge.mavlink.fresh_status import FreshStatus
from firmware_bridge.mavlink.identity import Identity
from firmware_bridge.mavlink.messages import (
    AUTOPILOT,
    ONBOARD_COMPUTER,
    Packable,
    Sender,
    command,
    decode,
    heartbeat,
    is_read,
    parameter_request,
    timesync,
)
from firmware_bridge.mavlink.preflight import clock_check, floor_check, thrust_check
from firmware_bridge.mavlink.reports import ReportReader, boot_time, motor_order
from firmware_bridge.mavlink.requests import Answer, Commands, Parameters
from firmware_bridge.mavlink.setpoints import attitude_target, sent_fraction, tilt_boost, vision_position
from firmware_bridge.mavlink.status import StatusReader
from firmware_bridge.mavlink.streams import Streams
from firmware_bridge.port import Port
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

HEARTBEAT_PERIOD = 1.0  # s, as MAVLink asks
TIMESYNC_PERIOD = 0.1  # s
VOLTAGE_TIME_CONSTANT = 1.0  # s, of the voltage that thrust is corrected by; a guess: slower than sag in a manoeuvre
WARNING = 4  # severity
TOLD_ELSEWHERE = (dialect.MAV_CMD_SET_MESSAGE_INTERVAL, dialect.MAV_CMD_REQUEST_MESSAGE)
"""Commands whose refusal has its place in the pre-flight checks."""


class MavlinkLink:
    """See the module, and :class:`firmware_bridge.link.Link` for its methods.

    Parameters
    ----------
    port : Port
    vehicle : Vehicle
        For the range of thrust, the weight in hover, and the order of rotors.
    rate : float
        1/s of position, attitude and inertial data to ask for.
    system : int, optional
        System id of the autopilot; without it, that of the first one heard.
    thrust_map : ThrustMap, optional
        From a calibration; without it, from the autopilot's parameters.
    order : sequence of int, optional
        For each rotor of the profile the autopilot's motor, from 0; without it, by quadrant (:func:`motor_order`).
    throttle_rate : float
        1/s of the thrust that the autopilot itself commands, for a calibration; 0: not asked for.
    declared_floor : bool
        Whether the user has said where the floor is in the autopilot's frame: it must be one of motion capture then.
    """

    def __init__(
        self,
        port: Port,
        vehicle: Vehicle,
        *,
        rate: float = 200.0,
        system: int | None = None,
        thrust_map: ThrustMap | None = None,
        order: Sequence[int] | None = None,
        throttle_rate: float = 0.0,
        declared_floor: bool = False,
    ) -> None:
        self.capabilities = Capabilities(
            "mavlink", rates_setpoints=True, rotor_speed=False, position=True, keeps_mode=True
        )
        self.sync = TimeSync()
        self.parser = FrameParser()
        self.identity = Identity(system)
        self.parameters = Parameters((), bitwise=False)
        self.streams: Streams | None = None
        self.voltage: float | None = None
        """V of the battery, smoothed."""
        self.fraction: float | None = None
        """Of full thrust, as last sent: what a calibration needs."""
        self._port, self._vehicle, self._rate = port, vehicle, rate
        self._order = motor_order(vehicle) if order is None else tuple(order)
        self._calibrated, self._declared_floor = thrust_map, declared_floor
        self._others = {dialect.MAVLINK_MSG_ID_ATTITUDE_TARGET: throttle_rate} if throttle_rate > 0 else {}
        self._map: ThrustMap | None = None
        self._reader: ReportReader | None = None
        self._status, self._clock, self._sender = StatusReader(), BootClock(), Sender()
        self._commands = Commands()
        self._control = Control(self._commands)
        self._fresh = FreshStatus(self._commands)
        self._asked_time: deque[int] = deque(maxlen=16)  # ns, of TIMESYNC
        self._next_heartbeat = self._next_timesync = self._voltage_time = -math.inf
        self._boost = 1.0

    # What comes in

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`."""
        reports: list[Report] = []
        for frame in self.parser.feed(self._port.read()):
            if frame.component == AUTOPILOT and is_read(frame.message):
                message = decode(frame)
                is_heartbeat = frame.message == dialect.MAVLINK_MSG_ID_HEARTBEAT
                if is_heartbeat and self.identity.heartbeat(frame, message):
                    self._recognised()
                if self.identity.is_ours(frame):
                    self._take(frame.message, message, now, reports)
        for report in reports:
            self._note(report)
        self._keep_up(now, reports)
        return reports

    def _recognised(self) -> None:
        kind, system = self.identity.autopilot, self.identity.system
        assert kind is not None and system is not None
        self._sender.system = system
        self.streams = Streams(kind, self._rate, self._commands.ask, self._others)
        self._reader = ReportReader(self._order, self.sync, kind.raw_imu_is_scaled)
        self.capabilities = replace(self.capabilities, name=f"mavlink ({kind.name})")
        self._begin(kind)

    def _begin(self, kind: Autopilot) -> None:
        """Ask the autopilot for all that it forgets, or that may have changed, when it boots."""
        assert self.streams is not None
        self.parameters = Parameters(kind.parameters, kind.bitwise_parameters)
        self._map = None
        self._commands.clear()
        self._fresh = FreshStatus(self._commands)
        self.streams.start()

    def _take(self, number: int, message: Any, now: float, reports: list[Report]) -> None:
        """One message of our autopilot."""
        kind = self.identity.autopilot
        assert kind is not None and self.streams is not None and self._reader is not None
        stamp = boot_time(message)
        step = Step.ON if stamp is None else self._clock.see(stamp)
        if step is Step.OLD:
            return
        if step is Step.RESTARTED:
            self._restarted(kind)
            reports.append(RestartReport(now, "the autopilot's time since boot went back: it booted anew"))
        self.streams.count(number)
        if number == dialect.MAVLINK_MSG_ID_TIMESYNC:
            self._time(message, now)
        elif number == dialect.MAVLINK_MSG_ID_COMMAND_ACK:
            self._acknowledged(message, now, reports)
        elif number == dialect.MAVLINK_MSG_ID_PARAM_VALUE:
            self.parameters.read(message.param_id, message.param_type, message.value)
            self._map = None
        elif number == dialect.MAVLINK_MSG_ID_HEARTBEAT:
            self._fresh.heard(now)
            reports.append(self._status.heartbeat(message, kind, now))
        else:
            reports.extend(self._status.other(number, message, now))
            reports.extend(self._reader.read(number, message, now))

    def _restarted(self, kind: Autopilot) -> None:
        """Nothing from before counts any more: clock, modes, parameters, requests."""
        self.sync.clear()
        self._asked_time.clear()
        self._status = StatusReader()
        self._control.clear()
        self._begin(kind)

    def _time(self, message: Any, now: float) -> None:
        """TIMESYNC: a question to be answered, or an answer to one of ours."""
        if message.tc1 == 0:
            self._write(timesync(int(now * 1e9), message.ts1))
        elif message.ts1 in self._asked_time:
            self._asked_time.remove(message.ts1)
            self.sync.add(message.ts1 / 1e9, message.tc1 / 1e9, now)

    def _acknowledged(self, message: Any, now: float, reports: list[Report]) -> None:
        to_us = message.target_system in (0, self._sender.system)
        if to_us and message.target_component in (0, ONBOARD_COMPUTER):
            answer = self._commands.acknowledged(message.command, message.result, now)
            if answer is not None:
                self._tell(answer, now, reports)

    def _tell(self, answer: Answer, now: float, reports: list[Report]) -> None:
        """Say what was refused."""
        if not answer.accepted and answer.command.number not in TOLD_ELSEWHERE:
            reports.append(TextReport(now, WARNING, answer.text))

    def _note(self, report: Report) -> None:
        """What the link itself needs of its reports."""
        if isinstance(report, BatteryReport):
            gain = 1 - math.exp(-(report.received - self._voltage_time) / VOLTAGE_TIME_CONSTANT)
            self.voltage = (
                report.voltage if self.voltage is None else self.voltage + gain * (report.voltage - self.voltage)
            )
            self._voltage_time = report.received
        elif isinstance(report, AttitudeReport) and math.isfinite(float(report.attitude.sum())):
            self._boost = tilt_boost(report.attitude)
        elif isinstance(report, RotorReport) and not self.capabilities.rotor_speed:
            self.capabilities = replace(self.capabilities, rotor_speed=True)

    # What goes out

    def _keep_up(self, now: float, reports: list[Report]) -> None:
        """Heartbeat, time, requests that are due."""
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_PERIOD
            self._write(heartbeat())
        kind, system = self.identity.autopilot, self.identity.system
        if kind is None or system is None or self.streams is None:
            return
        if now >= self._next_timesync:
            self._next_timesync = now + TIMESYNC_PERIOD
            self._asked_time.append(int(now * 1e9))
            self._write(timesync(0, self._asked_time[-1]))
        given_up = self._control.given_up(kind, now)
        if given_up:
            reports.append(TextReport(now, WARNING, given_up))
        self._fresh.keep_up(now)
        to_send, unanswered = self._commands.due(now)
        for asked in to_send:
            self._write(command(system, asked.number, asked.sent - 1, asked.parameters))
        for answer in unanswered:
            self._tell(answer, now, reports)
        for name in self.parameters.due(now):
            self._write(parameter_request(system, name))
        self.streams.measure(now)

    def _write(self, message: Packable) -> bool:
        return self._port.write(self._sender.frame(message))

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """See :class:`firmware_bridge.link.Link`. Refuses also while the autopilot or its parameters are not known.

        The yaw rate of an attitude setpoint is not sent: type_mask leaves all rates out.
        """
        check_setpoint(setpoint, self._vehicle)
        thrust, kind, system = self.thrust_map, self.identity.autopilot, self.identity.system
        assert kind is not None and system is not None
        boost = self._boost if kind.boosts_tilt(self.parameters.values) else 1.0
        fraction = sent_fraction(setpoint, thrust, self.voltage, boost)
        if not self._write(attitude_target(setpoint, system, int(now * 1e3) & 0xFFFFFFFF, fraction)):
            return False
        self.fraction = fraction
        self._control.setpoint_sent(kind, now)
        return True

    def forward_pose(self, pose: Pose, resets: int) -> None:
        """Tell the autopilot's estimator a pose of motion capture, once the autopilot is known."""
        if self.identity.autopilot is not None:
            self._write(vision_position(pose, resets))

    @property
    def thrust_map(self) -> ThrustMap:
        """Newtons to fraction, as setpoints are sent. Raises UserError while it is not known."""
        kind = self.identity.autopilot
        if kind is None:
            raise UserError(
                "no autopilot has been heard yet, and nothing is sent to nobody; look at the line and its baud"
            )
        if self._map is None:  # a calibrated map needs the parameters too: they must allow thrust at all
            read = kind.thrust_map(self.parameters.values, self._vehicle)
            self._map = self._calibrated or read
        return self._map

    def take_control(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. PX4 is asked once setpoints have been streamed for long enough."""
        if self.identity.autopilot is not None:
            self._control.take(self.identity.autopilot, now)

    def arm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        if self.identity.autopilot is not None:
            self._control.arm()

    def disarm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        if self.identity.autopilot is not None:
            self._control.disarm()

    def hand_back(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        if self.identity.autopilot is not None:
            self._control.hand_back(self.identity.autopilot)

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        results, kind = self.identity.checks(), self.identity.autopilot
        if kind is None or self.streams is None:
            return results
        values = self.parameters.values
        return [
            *results,
            *self._status.checks(),
            self._fresh.check(),
            clock_check(self.sync),
            *self.streams.checks(),
            *kind.checks(values, self._vehicle),
            thrust_check(kind, values, self._vehicle, self._calibrated),
            *([floor_check(kind, values)] if self._declared_floor else []),
        ]

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`. Of messages, those that were asked for."""
        if self.streams is None:
            return "no autopilot is heard", f"{self.parser.failed} damaged"
        trip = self.sync.round_trip
        clock = "no round trip" if trip is None else f"round trip {1e3 * trip:.1f} ms"
        return f"{sum(self.streams.rates.values()):.0f} messages/s", f"{clock}, {self.parser.failed} damaged"

    def close(self) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._port.close()
