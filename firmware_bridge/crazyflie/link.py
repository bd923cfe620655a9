"""Crazyflie over CRTP, through cflib: an optional extra, since cflib is GPL-3. Imported only when asked for.

Flown against the firmware in software (2024.4) only, **never on hardware**. Its address is a URI of cflib
(``radio://0/80/2M/E7E7E7E7E7``, ``serial://ttyAMA0``; cflib's serial line is CPX at a fixed 576000 baud).

A Crazyflie follows any sender, without a mode and without a pilot's switch. What other autopilots have is made here:
before control is taken nothing goes out, and where the firmware arms itself (the models without ESCs do), it counts as
armed once arming was asked for, or while it flies. So a flight needs ``--arm``, whatever the firmware.

The dead-man is the firmware's: 500 ms without a setpoint it levels, 2000 ms without one it stops the motors and locks
until it is restarted. It does so on the ground too, as long as it believes that it flies, which it does for 2 s after
the last thrust; and versions of 2024 lock at being disarmed in that time. So control of the stopped motors is given to
its high-level commander, which needs no setpoints, and disarming waits. And what the firmware has against a start is no
reason to fall silent in flight: control is handed back then, and it lands by itself.
"""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from firmware_bridge.crazyflie.logs import BLOCKS, NEEDED, STAMP_RANGE, LogBlocks, LogClock
from firmware_bridge.crazyflie.reports import ARMED, ARMS_ITSELF, FLYING, number, report_of, status_of
from firmware_bridge.estimation.tilt import tilt_and_rate
from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    Capabilities,
    CheckResult,
    LinkLost,
    PositionReport,
    Report,
    RestartReport,
    Setpoint,
    StatusReport,
)
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.thrust import Thrusts
from neural_lander.errors import UserError
from neural_lander.units import DEGREE
from neural_lander.vehicle import Vehicle

FULL_PWM = 65_535
MOST_PWM = 60_000  # the firmware cuts what is above
LAND_SPEED = 0.3  # m/s, of the firmware's own landing when control is handed back; a guess
LEAST_LAND_TIME = 1.0  # s
BELOW_GROUND = 0.05  # m below where it stood, at which its landing ends: so that it reaches the ground, guess
HIGHEST = 100.0  # m: a state that is further off makes the firmware begin its estimate anew (kalman_supervisor.c)
MOST_VOLTAGE = 26.0  # V: six full cells, more than any of its models takes, a guess
ANSWER_TIME = 5.0  # s without any packet, before the tables of contents are there, until it is tried anew; a guess
EVENTS = 4096  # that wait between two calls of poll at most


def open_crazyflie(uri: str, vehicle: Vehicle, **options: Any) -> CrazyflieLink:
    """Link to a Crazyflie; options as of :class:`CrazyflieLink`.

    Raises
    ------
    UserError
        Where cflib is missing.
    """
    try:
        crtp = importlib.import_module("cflib.crtp")
        crazyflie = importlib.import_module("cflib.crazyflie")
        log = importlib.import_module("cflib.crazyflie.log")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cflib":
            raise
        raise UserError(
            f"link 'crazyflie:{uri}' needs cflib, which is GPL-3 and therefore an extra: "
            "pip install 'neural-lander[crazyflie]'"
        ) from error
    logging.getLogger("cflib").addHandler(logging.NullHandler())  # else its warnings are written over the display
    if not crtp.CLASSES:  # else each opening would add them once more
        crtp.init_drivers(enable_serial_driver=True)
    return CrazyflieLink(crazyflie.Crazyflie(), log.LogConfig, uri, vehicle, **options)


class CrazyflieLink:
    """See the module, and :class:`firmware_bridge.link.Link` for its methods.

    Parameters
    ----------
    crazyflie : cflib.crazyflie.Crazyflie
        Not yet connected.
    log_config : type
        cflib's LogConfig.
    uri : str
        Where it is.
    vehicle : Vehicle
        Rotors in the firmware's order, M1 front right and on clockwise.
    thrust_map : object, optional
        With a method ``fraction`` of full PWM; without one the link can only observe.
    """

    capabilities = Capabilities("crazyflie", rates_setpoints=False, rotor_speed=True, position=True)

    def __init__(
        self,
        crazyflie: Any,
        log_config: Callable[..., Any],
        uri: str,
        vehicle: Vehicle,
        *,
        thrust_map: Thrusts | None = None,
    ) -> None:
        self.voltage: float | None = None
        """V of the battery."""
        self.fraction: float | None = None
        """Of full PWM, as last sent."""
        self._crazyflie, self._uri, self._vehicle = crazyflie, uri, vehicle
        self._thrust_map = thrust_map
        # cflib calls back from a thread of its own: a deque takes that, and poll alone looks into it
        self._events: deque[tuple[str, Any]] = deque(maxlen=EVENTS)
        self._arrivals: deque[float] = deque(maxlen=EVENTS)
        self._logs, self._clock = LogBlocks(log_config, self._listener), LogClock()
        self._attitude: np.ndarray | None = None
        self._attitude_at = -math.inf
        self._height, self._ground = 0.0, BELOW_GROUND
        self._info = 0
        self._connected = self._taken = self._released = self._unlocked = self._disarming = False
        self._polled = -math.inf
        self._answers, self._answered_at = False, math.inf
        for name in ("connected", "connection_failed", "connection_lost", "disconnected"):
            getattr(crazyflie, name).add_callback(self._listener(name))
        crazyflie.packet_received.add_callback(self._hear)
        crazyflie.link_statistics.latency_updated.add_callback(self._listener("round trip"))
        crazyflie.open_link(uri)

    def _listener(self, name: str) -> Callable[..., None]:
        def listen(*details: Any) -> None:
            self._events.append((name, details))

        return listen

    def _hear(self, packet: object) -> None:
        del packet
        self._answers = True

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`."""
        reports: list[Report] = []
        while self._events:
            name, details = self._events.popleft()
            if name == "connected":
                self._connected = True
                self._logs.start(self._crazyflie.log, now)
            elif name == "round trip":
                self._clock.take_round_trip(number(details[0]) / 1000)
            elif name in BLOCKS:
                reports += self._take(name, number(details[0]) / 1000, details[1], now)
            else:
                why = details[1] if len(details) > 1 else "the link was closed"
                raise LinkLost(
                    f"Crazyflie at {self._uri} is gone ({why}); look at its battery, its address and the radio"
                )
        self._polled = now
        self._logs.revive(now)
        if not self._connected:
            self._expect_answers(now)
        return reports

    def _expect_answers(self, now: float) -> None:
        """Over UDP cflib asks for each entry of a table once, and waits for ever."""
        self._answered_at = now if self._answers else min(self._answered_at, now)
        self._answers = False
        if now - self._answered_at > ANSWER_TIME:
            raise LinkLost(f"Crazyflie at {self._uri} does not answer; look at its battery and its address")

    def _take(self, block: str, stamp: float, values: object, now: float) -> list[Report]:
        """A packet of a log block; one without a stamp is none, and counts as not heard."""
        if not 0 <= stamp < STAMP_RANGE:
            return []
        self._arrivals.append(now)
        self._logs.hear(block, now)
        restarted = self._clock.see(stamp, now)
        if restarted:
            self._released, self._unlocked = True, False
        read = self._read(block, values if isinstance(values, Mapping) else {}, now)
        return [*([RestartReport(now, "its clock began again")] if restarted else []), *read]

    def _read(self, block: str, values: Mapping[str, object], now: float) -> Sequence[Report]:
        if block == "status":
            info = number(values.get("supervisor.info"))
            return (self._status(int(info), now),) if math.isfinite(info) else ()
        report = report_of(block, values, self._clock, now)
        if isinstance(report, PositionReport):
            height = float(report.position[2])
            self._height = height if abs(height) <= HIGHEST else self._height
        elif isinstance(report, AttitudeReport):
            self._attitude, self._attitude_at = report.attitude, now
        elif isinstance(report, BatteryReport):
            self.voltage = report.voltage if 0.0 < report.voltage < MOST_VOLTAGE else None
        return () if report is None else (report,)

    def _status(self, info: int, now: float) -> StatusReport:
        self._info = info
        if not info & FLYING:
            self._ground = self._height
            if self._disarming and info & ARMED and not info & ARMS_ITSELF:
                self._ask_to_arm(False)
            self._disarming = False
        return status_of(info, now, self._unlocked, self._taken and not self._released)

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """See :class:`firmware_bridge.link.Link`. Thrust is PWM, of which the firmware cuts what exceeds 60000.

        Nothing goes out before control is taken, since the firmware would follow; nor while it is being disarmed.
        """
        check_setpoint(setpoint, self._vehicle)
        if not isinstance(setpoint, AttitudeSetpoint):
            raise UserError("setpoint: body rates are not sent to a Crazyflie; send attitude and thrust")
        if self._released:
            raise UserError("setpoint: control was handed back; take control again first")
        roll, pitch, rate = tilt_and_rate(setpoint, self._attitude, now - self._attitude_at)
        if self._thrust_map is None:
            raise UserError("setpoint: there is no thrust map; give one, with the PWM fraction that hovers")
        fraction = self._thrust_map.fraction(setpoint.thrust, self.voltage)
        pwm = min(round(FULL_PWM * fraction), MOST_PWM)
        self.fraction = pwm / FULL_PWM
        if not self._taken or self._disarming:
            return False
        # pitch is nose down here, as in our body frame (cflib turns its sign), but the yaw rate is clockwise
        self._crazyflie.commander.send_setpoint(roll / DEGREE, pitch / DEGREE, -rate / DEGREE, pwm)
        return True

    def arm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        del now
        self._unlocked = True
        if not self._info & ARMS_ITSELF:
            self._ask_to_arm(True)

    def disarm(self, now: float) -> None:
        """Stop the motors, and disarm once the firmware sees that it does not fly: after touchdown only."""
        del now
        self._crazyflie.commander.send_stop_setpoint()
        self._crazyflie.commander.send_notify_setpoint_stop()
        self._unlocked, self._disarming = False, True

    def _ask_to_arm(self, arm: bool) -> None:
        """By cflib's ``supervisor``, which versions before 0.1.31 lack; it warns of a firmware that is older."""
        asked = getattr(self._crazyflie, "supervisor", None) or self._crazyflie.platform
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked.send_arming_request(arm)

    def take_control(self, now: float) -> None:
        """Unlock the thrust: the firmware wants to see a setpoint without any first."""
        del now
        self._taken, self._released = True, False
        if self._connected:
            self._crazyflie.commander.send_setpoint(0.0, 0.0, 0.0, 0)

    def hand_back(self, now: float) -> None:
        """Let the firmware's high-level commander land where it stood before, at a stated speed.

        Given control with nothing to do it stops the motors in the air: hence twice, so that a lost packet costs no
        vehicle.
        """
        del now
        self._released = True
        target = self._ground - BELOW_GROUND
        duration = max((self._height - target) / LAND_SPEED, LEAST_LAND_TIME)
        for _ in range(2):
            self._crazyflie.high_level_commander.land(target, duration)
            self._crazyflie.commander.send_notify_setpoint_stop()

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        if not self._connected:
            return [CheckResult("firmware", False, f"no answer from {self._uri} yet: look at its address and battery")]
        missing, silent = self._logs.missing, self._logs.silent(self._polled)
        needed = [name for name in NEEDED if self._logs.lacking(name)]
        found = [f"not told: {', '.join(missing)}"] if missing else []
        found += [f"silent: {', '.join(silent)}"] if silent else []
        remedy = "; flash a newer firmware" if needed else ""
        arms = "; it arms itself, so that only --arm takes off" if self._info & ARMS_ITSELF else ""
        return [
            CheckResult("firmware", True, f"Crazyflie at {self._uri}{arms}"),
            CheckResult(
                "log blocks", not needed and not NEEDED & set(silent), ("; ".join(found) or "all log blocks") + remedy
            ),
        ]

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`. Blocks of the last second that anything came in."""
        newest = self._arrivals[-1] if self._arrivals else 0.0
        return (
            f"{sum(newest - t < 1.0 for t in self._arrivals)} log blocks/s",
            f"{len(self._logs.missing)} kinds missing",
        )

    def close(self) -> None:
        """See :class:`firmware_bridge.link.Link`. cflib would send a setpoint without thrust, also in the air."""
        link, self._crazyflie.link = self._crazyflie.link, None
        if link is not None:
            link.close()
        self._crazyflie.close_link()
