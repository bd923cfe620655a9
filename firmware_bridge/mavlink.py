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
from firmware_bridge.mavlink_autopilots import AUTOPILOTS, Autopilot
from firmware_bridge.mavlink_framing import Frame, FrameParser
from firmware_bridge.mavlink_messages import (
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
from firmware_bridge.mavlink_reports import ReportReader, boot_time, motor_order
from firmware_bridge.mavlink_requests import Answer, Command, Commands, Parameters
from firmware_bridge.mavlink_setpoints import attitude_target, check, tilt_boost
from firmware_bridge.mavlink_status import StatusReader
from firmware_bridge.mavlink_streams import Streams
from firmware_bridge.port import Port
from firmware_bridge.thrust import ThrustMap
from firmware_bridge.time_sync import BootClock, Step, TimeSync
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

HEARTBEAT_PERIOD = 1.0  # s, as MAVLink asks
TIMESYNC_PERIOD = 0.1  # s
STREAM_GAP = 0.4  # s between setpoints that still count as a stream; PX4 wants more than 2 Hz
STREAM_MARGIN = 0.2  # s beyond what the autopilot wants to see before its mode is switched; a guess
CONTROL_PATIENCE = 3.0  # s for which a wish for control waits for the stream; a guess
VOLTAGE_TIME_CONSTANT = 1.0  # s, of the voltage that thrust is corrected by; a guess: slower than sag in a manoeuvre
REQUEST_TRIES = 4  # of landing, disarming and modes; arming is asked for once
WARNING = 4  # severity
CUSTOM_MODE = float(dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED)


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
    ) -> None:
        self.capabilities = Capabilities("mavlink", True, True, rotor_speed=False, position=True)
        self.sync = TimeSync()
        self.parser = FrameParser()
        self.system = system
        self.voltage: float | None = None
        self.autopilot: Autopilot | None = None
        self.parameters = Parameters((), bitwise=False)
        self.streams: Streams | None = None
        self._port, self._vehicle, self._rate = port, vehicle, rate
        self._order = motor_order(vehicle) if order is None else tuple(order)
        self._calibrated = thrust_map
        self._map: ThrustMap | None = None
        self._reader: ReportReader | None = None
        self._status = StatusReader()
        self._sender, self._commands, self._clock = Sender(), Commands(), BootClock()
        self._others: set[int] = set()
        self._version = 2
        self._asked_time: deque[int] = deque(maxlen=16)  # ns, of TIMESYNC
        self._next_heartbeat = self._next_timesync = -math.inf
        self._last_sent = self._stream_since = -math.inf
        self._wish: float | None = None
        self._boost = 1.0

    # --- what comes in ---

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`."""
        reports: list[Report] = []
        for frame in self.parser.feed(self._port.read()):
            if frame.component == AUTOPILOT and is_read(frame.message):
                self._take(frame, now, reports)
        for report in reports:
            self._note(report)
        self._keep_up(now, reports)
        return reports

    def _take(self, frame: Frame, now: float, reports: list[Report]) -> None:
        message = decode(frame)
        if frame.message == dialect.MAVLINK_MSG_ID_HEARTBEAT:
            self._recognise(frame, message)
        if self.autopilot is None or frame.system != self.system:
            return
        stamp = boot_time(message)
        step = Step.ON if stamp is None else self._clock.see(stamp)
        if step is Step.RESTARTED:
            self._restarted(now, reports)
        elif step is Step.OLD:
            return
        assert self.streams is not None and self._reader is not None
        self.streams.count(frame.message)
        if frame.message == dialect.MAVLINK_MSG_ID_TIMESYNC:
            self._time(message, now)
        elif frame.message == dialect.MAVLINK_MSG_ID_COMMAND_ACK:
            self._acknowledged(message, now, reports)
        elif frame.message == dialect.MAVLINK_MSG_ID_PARAM_VALUE:
            self.parameters.read(message.param_id, message.param_type, message.value)
            self._map = None
        elif frame.message == dialect.MAVLINK_MSG_ID_HEARTBEAT:
            self._version = frame.version
            reports.append(self._status.heartbeat(message, self.autopilot, now))
        else:
            reports.extend(self._status.other(frame.message, message, now))
            reports.extend(self._reader.read(frame.message, message, now))

    def _recognise(self, frame: Frame, message: Any) -> None:
        """Make up our mind once, from the first HEARTBEAT of an autopilot; a foreign one never changes it."""
        kind = AUTOPILOTS.get(message.autopilot)
        if kind is None:
            return
        if self.autopilot is None and self.system in (None, frame.system):
            self.system = self._sender.system = frame.system
            self.autopilot = kind
            self.streams = Streams(kind, self._rate, self._commands.ask)
            self._reader = ReportReader(self._order, self.sync, kind.raw_imu_is_scaled)
            self.capabilities = replace(self.capabilities, name=f"mavlink ({kind.name})")
            self._begin()
        elif frame.system != self.system:
            self._others.add(frame.system)

    def _begin(self) -> None:
        """Ask the autopilot for all that it forgets, or may change, when it boots."""
        assert self.autopilot is not None and self.streams is not None
        self.parameters = Parameters(self.autopilot.parameters, self.autopilot.bitwise_parameters)
        self._map = None
        self._commands.clear()
        self.streams.start()

    def _restarted(self, now: float, reports: list[Report]) -> None:
        """Nothing from before counts any more: clock, modes, parameters, requests."""
        self.sync.clear()
        self._asked_time.clear()
        self._status = StatusReader()
        self._wish, self._last_sent = None, -math.inf
        self._begin()
        reports.append(RestartReport(now, "the autopilot's time since boot went back: it booted anew"))

    def _time(self, message: Any, now: float) -> None:
        """TIMESYNC: an answer to us, or a question to be answered."""
        if message.tc1 == 0:
            self._write(timesync(int(now * 1e9), message.ts1))
        elif message.ts1 in self._asked_time:
            self._asked_time.remove(message.ts1)
            self.sync.add(message.ts1 / 1e9, message.tc1 / 1e9, now)

    def _acknowledged(self, message: Any, now: float, reports: list[Report]) -> None:
        if message.target_system not in (0, self._sender.system) or message.target_component not in (
            0,
            ONBOARD_COMPUTER,
        ):
            return
        answer = self._commands.acknowledged(message.command, message.result, now)
        if answer is not None:
            self._tell(answer, now, reports)

    def _tell(self, answer: Answer, now: float, reports: list[Report]) -> None:
        """Say what was refused; message intervals have their place in the pre-flight checks."""
        if not answer.accepted and answer.command.number != dialect.MAV_CMD_SET_MESSAGE_INTERVAL:
            reports.append(TextReport(now, WARNING, answer.text))

    def _note(self, report: Report) -> None:
        """What the link itself needs of its reports."""
        if isinstance(report, BatteryReport):
            gain = 0.2  # of one report at 5 Hz, for VOLTAGE_TIME_CONSTANT
            self.voltage = (
                report.voltage if self.voltage is None else self.voltage + gain * (report.voltage - self.voltage)
            )
        elif isinstance(report, AttitudeReport) and math.isfinite(float(report.attitude.sum())):
            self._boost = tilt_boost(report.attitude)
        elif isinstance(report, RotorReport) and not self.capabilities.rotor_speed:
            self.capabilities = replace(self.capabilities, rotor_speed=True)

    # --- what goes out ---

    def _keep_up(self, now: float, reports: list[Report]) -> None:
        """Heartbeat, time, requests that are due."""
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_PERIOD
            self._write(heartbeat())
        if self.autopilot is None or self.streams is None or self.system is None:
            return
        if now >= self._next_timesync:
            self._next_timesync = now + TIMESYNC_PERIOD
            self._asked_time.append(int(now * 1e9))
            self._write(timesync(0, self._asked_time[-1]))
        self._pursue_wish(now, reports)
        to_send, unanswered = self._commands.due(now)
        for asked in to_send:
            self._write(command(self.system, asked.number, asked.sent - 1, asked.parameters))
        for answer in unanswered:
            self._tell(answer, now, reports)
        for name in self.parameters.due(now):
            self._write(parameter_request(self.system, name))
        self.streams.measure(now)

    def _write(self, message: Packable) -> None:
        self._port.write(self._sender.frame(message))

    def send(self, setpoint: Setpoint, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. Refuses also while the autopilot or its parameters are not known.

        The yaw rate of an attitude setpoint is not sent: type_mask leaves all rates out.
        """
        check(setpoint, self._vehicle)
        thrust = self.thrust_map
        assert self.autopilot is not None and self.system is not None
        boost = self._boost if self.autopilot.boosts_tilt(self.parameters.values) else 1.0
        boot_ms = int(now * 1e3) & 0xFFFFFFFF
        self._write(attitude_target(setpoint, self.system, boot_ms, thrust, self.voltage, boost))
        if now - self._last_sent > STREAM_GAP:
            self._stream_since = now
        self._last_sent = now

    @property
    def thrust_map(self) -> ThrustMap:
        """Newtons to fraction, as setpoints are sent. Raises UserError while it is not known."""
        if self.autopilot is None:
            raise UserError(
                "no autopilot has been heard yet, so that nothing is sent; look at the line and the baud rate"
            )
        if self._map is None:  # of a calibrated map too: the parameters must allow thrust at all
            read = self.autopilot.thrust_map(self.parameters.values, self._vehicle)
            self._map = self._calibrated or read
        return self._map

    def take_control(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. PX4 is asked once setpoints have been streamed for long enough."""
        self._wish = now

    def _pursue_wish(self, now: float, reports: list[Report]) -> None:
        assert self.autopilot is not None
        if self._wish is None:
            return
        wanted = self.autopilot.stream_before_switch
        streaming = now - self._last_sent <= STREAM_GAP and now - self._stream_since >= wanted + STREAM_MARGIN
        if streaming or not wanted:
            self._wish = None
            self._set_mode(self.autopilot.control_mode, "taking control")
        elif now - self._wish > CONTROL_PATIENCE:
            self._wish = None
            words = f"taking control: not asked for, because no setpoints were streamed for {wanted:g} s before"
            reports.append(TextReport(now, WARNING, words))

    def arm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. Asked for once: a late repetition could arm what was disarmed."""
        self._request(dialect.MAV_CMD_COMPONENT_ARM_DISARM, (1.0,), "arming", 1)

    def disarm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._request(dialect.MAV_CMD_COMPONENT_ARM_DISARM, (0.0,), "disarming", REQUEST_TRIES)

    def hand_back(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. Ends any wish for control."""
        self._wish = None
        if self.autopilot is not None:
            self._set_mode(self.autopilot.land_mode, "handing back")

    def _set_mode(self, mode: tuple[float, float], purpose: str) -> None:
        self._request(dialect.MAV_CMD_DO_SET_MODE, (CUSTOM_MODE, *mode), purpose, REQUEST_TRIES)

    def _request(self, number: int, parameters: tuple[float, ...], purpose: str, tries: int) -> None:
        """The newest request of a kind replaces those before it; the same one again changes nothing."""
        if self.autopilot is not None and not self._commands.pending(number, parameters):
            self._commands.drop(number)
            self._commands.ask(Command(number, parameters, purpose, tries))

    # --- before the flight ---

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        if self.autopilot is None or self.streams is None:
            words = "no HEARTBEAT of PX4 or ArduPilot has come; look at the line, the baud rate and the system id"
            return [CheckResult("autopilot", False, words)]
        results = [self._one_autopilot(), self._protocol(), *self._status.checks(), self._synchronised()]
        results += self.streams.checks()
        results += self.autopilot.checks(self.parameters.values, self._vehicle)
        try:
            used = self.thrust_map
        except UserError as error:
            return [*results, CheckResult("thrust", False, str(error))]
        source = "a calibration" if self._calibrated else "the autopilot's parameters"
        words = f"{used.hover_thrust:.3g} N is the fraction {used.hover_fraction:.3g}, from {source}"
        return [*results, CheckResult("thrust", True, words)]

    def _one_autopilot(self) -> CheckResult:
        assert self.autopilot is not None
        if self._others:
            heard = ", ".join(str(system) for system in sorted(self._others))
            words = f"system {self.system} is taken, but autopilots of systems {heard} are on this line; name yours"
            return CheckResult("autopilot", False, words)
        return CheckResult("autopilot", True, f"{self.autopilot.name}, system {self.system}")

    def _protocol(self) -> CheckResult:
        if self._version == 1:
            words = "it speaks MAVLink 1; set MAV_PROTO_VER (PX4) or SERIALn_PROTOCOL (ArduPilot) to 2"
            return CheckResult("protocol", False, words)
        return CheckResult("protocol", True, "MAVLink 2")

    def _synchronised(self) -> CheckResult:
        trip = self.sync.round_trip
        if not self.sync.ready or trip is None:
            return CheckResult("time", False, "TIMESYNC is not answered, so that the age of a state is not known")
        return CheckResult("time", True, f"TIMESYNC round trip {1e3 * trip:.1f} ms")

    def close(self) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._port.close()
