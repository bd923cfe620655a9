"""Crazyflie over CRTP, through cflib: an optional extra, since cflib is GPL-3. Imported only when asked for.

Written from Bitcraze's documentation and the firmware's source, and tested with a stand-in for cflib only: **never
flown with this code**. Its address is a URI of cflib (``radio://0/80/2M/E7E7E7E7E7``, ``serial://ttyAMA0``; cflib's
serial line is CPX at a fixed 576000 baud).

The dead-man is the firmware's: 500 ms without a setpoint it levels, 2000 ms without one it stops the motors. World and
body are ours already; the log's body rates are in degrees per second, its acceleration in g.
"""

from __future__ import annotations

import importlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    Capabilities,
    CheckResult,
    ImuReport,
    LinkLost,
    PositionReport,
    RangeReport,
    Report,
    RestartReport,
    RotorReport,
    Setpoint,
    StatusReport,
)
from firmware_bridge.msp import Thrusts
from firmware_bridge.msp_messages import DEGREE, RPM, STANDARD_GRAVITY
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.tilt import tilt_in_heading, yaw_rate
from neural_lander.errors import UserError
from neural_lander.rotation import normalise
from neural_lander.vehicle import Vehicle

FULL_PWM = 65_535
MOST_PWM = 60_000  # the firmware cuts what is above
ATTITUDE_AGE = 0.2  # s, of the heading that a setpoint is turned into; a guess
LAND_SPEED = 0.3  # m/s, of the firmware's own landing when control is handed back; a guess
LEAST_LAND_TIME = 1.0  # s
RANGE_LIMIT_MM = 4000  # of the VL53L1x on the Z-ranger deck
RESTART = 1.0  # s by which the firmware's clock must go back
EVENTS = 4096  # that wait between two calls of poll at most

BLOCKS: Mapping[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "position": (10, tuple((f"stateEstimate.{name}", "float") for name in ("x", "y", "z", "vx", "vy", "vz"))),
    "attitude": (
        10,
        (
            *((f"stateEstimate.{name}", "float") for name in ("qw", "qx", "qy", "qz")),
            *((f"gyro.{axis}", "FP16") for axis in "xyz"),
        ),
    ),
    "inertial": (
        10,
        (*((f"acc.{axis}", "float") for axis in "xyz"), *((f"gyro.{axis}", "FP16") for axis in "xyz")),
    ),
    "range": (20, (("range.zrange", "uint16_t"),)),
    "rotors": (20, tuple((f"rpm.m{motor}", "uint16_t") for motor in range(1, 5))),
    "status": (100, (("supervisor.info", "uint16_t"), ("pm.vbat", "float"), ("pm.batteryLevel", "uint8_t"))),
}
"""Log blocks: period in ms, and variables with the type they are fetched as; at most 26 bytes each. A block whose
variables the firmware lacks is left out."""
NEEDED = ("position", "attitude", "inertial", "status")
CAN_BE_ARMED, ARMED, CAN_FLY, FLYING = 1, 2, 8, 16  # bits of supervisor.info
REFUSALS = {32: "tumbled", 64: "locked: restart it", 128: "crashed"}


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
    crtp.init_drivers()
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

    capabilities = Capabilities(
        "crazyflie", attitude_setpoints=True, rates_setpoints=False, rotor_speed=True, position=True
    )

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
        self._crazyflie, self._log_config, self._uri, self._vehicle = crazyflie, log_config, uri, vehicle
        self._thrust_map = thrust_map
        # cflib calls back from a thread of its own: a deque takes that, and poll alone looks into it
        self._events: deque[tuple[str, Any]] = deque(maxlen=EVENTS)
        self._arrivals: deque[float] = deque(maxlen=EVENTS)
        self._missing: list[str] = []
        self._attitude: np.ndarray | None = None
        self._attitude_at = -math.inf
        self._height = 0.0
        self._released = self._connected = False
        self._stamp = self._offset = math.inf
        for name in ("connected", "connection_failed", "connection_lost", "disconnected"):
            getattr(crazyflie, name).add_callback(self._listener(name))
        crazyflie.open_link(uri)

    def _listener(self, name: str) -> Callable[..., None]:
        def listen(*details: Any) -> None:
            self._events.append((name, details))

        return listen

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`."""
        reports: list[Report] = []
        while self._events:
            name, details = self._events.popleft()
            if name == "connected":
                self._connected = True
                self._start_logs()
            elif name in BLOCKS:
                self._arrivals.append(now)
                stamp, values = details[0] / 1000, details[1]
                if stamp < self._stamp - RESTART and math.isfinite(self._stamp):
                    self._offset = math.inf
                    self._released = True
                    reports.append(RestartReport(now, "its clock began again"))
                self._stamp = stamp
                # the packet that was fastest sets the clock's offset; what is slower was older
                self._offset = min(now - stamp, self._offset)
                reports += self._read(name, values, stamp + self._offset, now)
            else:
                why = details[1] if len(details) > 1 else "the link was closed"
                raise LinkLost(
                    f"Crazyflie at {self._uri} is gone ({why}); look at its battery, its address and the radio"
                )
        return reports

    def _start_logs(self) -> None:
        for name, (period, variables) in BLOCKS.items():
            block = self._log_config(name=name, period_in_ms=period)
            for variable, kind in variables:
                block.add_variable(variable, kind)
            try:
                self._crazyflie.log.add_config(block)
            except KeyError as error:  # the firmware has no such variable, or the deck is not there
                self._missing.append(f"{name} ({error.args[0]})")
                continue
            block.data_received_cb.add_callback(self._listener(name))
            block.start()

    def _read(self, block: str, values: Mapping[str, float], t: float, now: float) -> Sequence[Report]:
        v = [float(values[name]) for name, _ in BLOCKS[block][1]]
        match block:
            case "position":
                self._height = v[2]
                return (PositionReport(t, now, np.array(v[:3]), np.array(v[3:])),)
            case "attitude":
                if not 0.9 < math.hypot(*v[:4]) < 1.1:
                    return ()
                self._attitude, self._attitude_at = normalise(np.array(v[:4])), now
                return (AttitudeReport(t, now, self._attitude, DEGREE * np.array(v[4:])),)
            case "inertial":
                return (ImuReport(t, now, STANDARD_GRAVITY * np.array(v[:3]), DEGREE * np.array(v[3:])),)
            case "range":
                return (RangeReport(t, now, v[0] / 1000, 0 < v[0] < RANGE_LIMIT_MM),)
            case "rotors":
                return (RotorReport(t, now, RPM * np.array(v)),)
        return self._status(int(v[0]), v[1], v[2], now)

    def _status(self, info: int, volts: float, percent: float, now: float) -> Sequence[Report]:
        self.voltage = volts
        refusals = tuple(why for bit, why in REFUSALS.items() if info & bit)
        if not info & (ARMED | CAN_BE_ARMED) and not refusals:
            refusals = ("its supervisor does not say that it can be armed",)
        armed = bool(info & ARMED)
        mode = "flying" if info & FLYING else "can fly" if info & CAN_FLY else "armed" if armed else "disarmed"
        accepts = bool(info & (CAN_FLY | FLYING)) and not self._released
        status = StatusReport(now, armed, mode, accepts, not info & FLYING, () if armed else refusals)
        return (BatteryReport(now, volts, percent / 100), status)

    def send(self, setpoint: Setpoint, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`. Thrust is PWM, of which the firmware cuts what exceeds 60000."""
        check_setpoint(setpoint, self._vehicle)
        if not isinstance(setpoint, AttitudeSetpoint):
            raise UserError("setpoint: body rates are not sent to a Crazyflie; send attitude and thrust")
        if self._released:
            raise UserError("setpoint: control was handed back; take control again first")
        if self._attitude is None or now - self._attitude_at > ATTITUDE_AGE:
            raise UserError(
                f"setpoint: no attitude came for {ATTITUDE_AGE} s, so a tilt has no direction; wait for one"
            )
        if self._thrust_map is None:
            raise UserError("setpoint: there is no thrust map; give one, with the PWM fraction that hovers")
        roll, pitch, turn = tilt_in_heading(setpoint.attitude, self._attitude)
        fraction = self._thrust_map.fraction(setpoint.thrust, self.voltage)
        pwm = min(round(FULL_PWM * fraction), MOST_PWM)
        self.fraction = pwm / FULL_PWM
        rate = yaw_rate(setpoint.yaw_rate, turn)
        # pitch is nose down and yaw counter-clockwise here, as in our body frame: cflib turns the pitch's sign
        self._crazyflie.commander.send_setpoint(roll / DEGREE, pitch / DEGREE, rate / DEGREE, pwm)

    def arm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        del now
        self._crazyflie.platform.send_arming_request(True)

    def disarm(self, now: float) -> None:
        """Stop the motors, then disarm: after touchdown only."""
        del now
        self._crazyflie.commander.send_stop_setpoint()
        self._crazyflie.platform.send_arming_request(False)
        self._released = True

    def take_control(self, now: float) -> None:
        """Unlock the thrust: the firmware wants to see a setpoint without any first."""
        del now
        self._released = False
        if self._connected:
            self._crazyflie.commander.send_setpoint(0.0, 0.0, 0.0, 0)

    def hand_back(self, now: float) -> None:
        """Let the firmware's high-level commander land, at a stated speed from the height it last told."""
        del now
        self._released = True
        self._crazyflie.commander.send_notify_setpoint_stop()
        duration = max(self._height / LAND_SPEED, LEAST_LAND_TIME)
        self._crazyflie.high_level_commander.land(0.0, duration)

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        if not self._connected:
            return [CheckResult("firmware", False, f"no answer from {self._uri} yet: look at its address and battery")]
        needed = [name for name in self._missing if name.startswith(NEEDED)]
        logs = f"not told: {', '.join(self._missing)}" if self._missing else "all log blocks"
        remedy = ": flash a newer firmware" if needed else ""
        return [
            CheckResult("firmware", True, f"Crazyflie at {self._uri}"),
            CheckResult("log blocks", not needed, f"{logs}{remedy}"),
        ]

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`. Blocks of the last second that anything came in."""
        newest = self._arrivals[-1] if self._arrivals else 0.0
        return f"{sum(newest - t < 1.0 for t in self._arrivals)} log blocks/s", f"{len(self._missing)} kinds missing"

    def close(self) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._crazyflie.close_link()
