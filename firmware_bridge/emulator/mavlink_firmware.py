"""What PX4 and ArduCopter do differently where a companion can see it: names, numbers, parameters, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.modes import Mode, OnLoss, Settings

HOVER_ERROR = 1.02  # stored over true hover throttle: a vehicle that was calibrated on another battery, guess
LOSS_TIME = 0.5  # s without a setpoint that either is set to wait for
MOTOR_CURVE = 0.65  # e of the motors: what ArduPilot takes for propellers of 10 inches, MOT_THST_EXPO
ARM_BY_RADIO, THRUST_AS_THRUST = 1, 8  # bits of GUID_OPTIONS
_REAL = dialect.MAV_PARAM_TYPE_REAL32


@dataclass
class Parameter:
    """One parameter."""

    value: float
    kind: int = _REAL
    """MAV_PARAM_TYPE."""
    apply: Callable[[Settings, float], None] | None = None
    """What changes when it is set."""


@dataclass(frozen=True)
class Firmware:
    """One autopilot's face to MAVLink."""

    name: str
    autopilot: int
    """MAV_AUTOPILOT."""
    version: int
    """As in AUTOPILOT_VERSION.flight_sw_version."""
    modes: Mapping[Mode, tuple[int, int]]
    """Mode -> (number, sub mode) as DO_SET_MODE has them."""
    parameters: Callable[[Autopilot], dict[str, Parameter]]
    settings: Callable[[], Settings]
    """Before any parameter is applied."""
    refused: int
    """MAV_RESULT of arming, disarming and modes that are refused."""
    unknown_interval: int
    """MAV_RESULT of an interval for a message that it does not stream."""
    heartbeat_is_fixed: bool
    """Whether an interval for HEARTBEAT is refused: then mode and arming are told once a second."""
    interval: Callable[[float], float]
    """What it makes of an interval in s that it is asked for."""
    bitwise_integers: bool
    """Whether integers lie bit by bit in PARAM_VALUE's float (PX4) or as numbers (ArduPilot)."""
    checks_setpoints: bool
    """Whether setpoints with ignored throttle or a quaternion off unit norm are dropped (ArduPilot)."""
    timesync_rate: float
    """Hz at which it asks for our time itself."""

    def custom_mode(self, mode: Mode) -> int:
        """HEARTBEAT.custom_mode."""
        main, sub = self.modes[mode]
        return main if self is ARDUPILOT else main << 16 | sub << 24

    def mode_of(self, main: int, sub: int) -> Mode | None:
        """Mode of the numbers of DO_SET_MODE; None for one that is not emulated."""
        return next((mode for mode, numbers in self.modes.items() if numbers == (main, sub)), None)


def _timeout(settings: Settings, value: float) -> None:
    settings.setpoint_timeout = value


def _guided_options(settings: Settings, value: float) -> None:
    settings.thrust_is_climb_rate = not int(value) & THRUST_AS_THRUST
    settings.pilot_arms_in_companions_mode = bool(int(value) & ARM_BY_RADIO)


def _on_loss(settings: Settings, value: float) -> None:
    settings.on_loss = OnLoss.LAND if int(value) == 4 else OnLoss.HOLD


def _disarm_delay(settings: Settings, value: float) -> None:
    settings.disarm_delay = value


def _disarm_land(settings: Settings, value: float) -> None:
    settings.disarm_delay = settings.land_disarm_delay = value if value > 0 else 1e9


def _climb(settings: Settings, value: float) -> None:
    settings.climb_speed = value / 100


def _sink(settings: Settings, value: float) -> None:
    settings.sink_speed = value / 100


def _thrust_factor(settings: Settings, value: float) -> None:
    settings.thrust_curve = value


def _angle_boost(settings: Settings, value: float) -> None:
    settings.boosts_tilt = bool(value)


def _ardupilot_parameters(autopilot: Autopilot) -> dict[str, Parameter]:
    """Defaults of ArduCopter 4.5, but for what is measured on a vehicle, and GUID_OPTIONS and GUID_TIMEOUT.

    Those two are as a companion needs them; their defaults are 0 and 3 s.
    """
    int8, int16 = dialect.MAV_PARAM_TYPE_INT8, dialect.MAV_PARAM_TYPE_INT16
    return {
        "SYSID_THISMAV": Parameter(1, int16),
        "ARMING_CHECK": Parameter(1, dialect.MAV_PARAM_TYPE_INT32),
        "FRAME_CLASS": Parameter(1, int8),
        "GUID_OPTIONS": Parameter(ARM_BY_RADIO | THRUST_AS_THRUST, dialect.MAV_PARAM_TYPE_INT32, _guided_options),
        "GUID_TIMEOUT": Parameter(LOSS_TIME, _REAL, _timeout),
        "MOT_THST_HOVER": Parameter(round(HOVER_ERROR * autopilot.hover_throttle, 4)),
        "MOT_THST_EXPO": Parameter(MOTOR_CURVE, _REAL, _thrust_factor),
        "ATC_ANGLE_BOOST": Parameter(1, int8, _angle_boost),
        "PILOT_THR_FILT": Parameter(0.0),
        "MOT_BAT_VOLT_MAX": Parameter(0.0),
        "MOT_BAT_VOLT_MIN": Parameter(0.0),
        "DISARM_DELAY": Parameter(10, int8, _disarm_delay),
        "FS_GCS_ENABLE": Parameter(0, int8),
        "ANGLE_MAX": Parameter(3000, int16),
        "LAND_SPEED": Parameter(50, int16),
        "EK3_SRC1_POSZ": Parameter(1, int8),
        "WPNAV_SPEED_UP": Parameter(250.0, _REAL, _climb),
        "WPNAV_SPEED_DN": Parameter(150.0, _REAL, _sink),
        "RNGFND1_TYPE": Parameter(10, int8),
    }


def _px4_parameters(autopilot: Autopilot) -> dict[str, Parameter]:
    """Defaults of PX4 1.15, but for what is measured on a vehicle (hover throttle, thrust curve), and COM_OF_LOSS_T.

    That is as a companion needs it; its default is 1 s.
    """
    integer = dialect.MAV_PARAM_TYPE_INT32
    return {
        "MAV_SYS_ID": Parameter(1, integer),
        "COM_OF_LOSS_T": Parameter(LOSS_TIME, _REAL, _timeout),
        "COM_OBL_RC_ACT": Parameter(0, integer, _on_loss),
        "COM_RC_IN_MODE": Parameter(0, integer),
        "COM_RCL_EXCEPT": Parameter(0, integer),
        "COM_DISARM_LAND": Parameter(2.0, _REAL, _disarm_land),
        "COM_DISARM_PRFLT": Parameter(10.0),
        "MPC_THR_HOVER": Parameter(round(HOVER_ERROR * autopilot.hover_throttle, 4)),
        "MPC_THR_MIN": Parameter(0.12),
        "MPC_THR_MAX": Parameter(1.0),
        "MPC_USE_HTE": Parameter(1, integer),
        "MPC_TILTMAX_AIR": Parameter(45.0),
        "THR_MDL_FAC": Parameter(MOTOR_CURVE, _REAL, _thrust_factor),
        "MC_BAT_SCALE_EN": Parameter(0, integer),
        "MPC_LAND_SPEED": Parameter(0.7),
        "EKF2_HGT_REF": Parameter(1, integer),
        "EKF2_EV_CTRL": Parameter(15, integer),
    }


ARDUPILOT = Firmware(
    name="ardupilot",
    autopilot=dialect.MAV_AUTOPILOT_ARDUPILOTMEGA,
    version=0x04050000,
    modes={Mode.LEVEL: (0, 0), Mode.HOLD: (5, 0), Mode.TAKEOFF: (5, 0), Mode.COMPANION: (4, 0), Mode.LAND: (9, 0)},
    parameters=_ardupilot_parameters,
    settings=lambda: Settings(
        setpoint_timeout=LOSS_TIME,
        on_loss=OnLoss.LEVEL,
        lands_in_companions_mode=False,
        minds_take_off_by_thrust=True,
        spool_time=2.5,  # ARMING_DELAY_SEC of 2 s and MOT_SPOOL_TIME of 0.5 s; 2.4 s were seen
        disarm_delay=10.0,
        land_disarm_delay=0.0,
        thrust_curve=MOTOR_CURVE,
        landed_share=0.02,  # any positive thrust means take-off; the lower limit of throttle means landed
    ),
    refused=dialect.MAV_RESULT_FAILED,
    unknown_interval=dialect.MAV_RESULT_DENIED,
    heartbeat_is_fixed=False,
    interval=lambda asked: max(int(asked * 1e3 + 1e-6), 3) * 1e-3,  # whole ms, at most 0.8 of the main loop's rate
    bitwise_integers=False,
    checks_setpoints=True,
    timesync_rate=0.1,
)
PX4 = Firmware(
    name="px4",
    autopilot=dialect.MAV_AUTOPILOT_PX4,
    version=0x010F0000,
    modes={Mode.LEVEL: (7, 0), Mode.HOLD: (3, 0), Mode.TAKEOFF: (4, 2), Mode.COMPANION: (6, 0), Mode.LAND: (4, 6)},
    parameters=_px4_parameters,
    settings=lambda: Settings(
        setpoint_timeout=LOSS_TIME,
        on_loss=OnLoss.HOLD,
        stream_before_switch=1.0,
        disarm_delay=2.0,
        land_disarm_delay=2.0,
        thrust_curve=MOTOR_CURVE,
    ),
    refused=dialect.MAV_RESULT_TEMPORARILY_REJECTED,
    unknown_interval=dialect.MAV_RESULT_FAILED,
    heartbeat_is_fixed=True,
    interval=lambda asked: max(asked, 1 / 400),  # a turn of our main loop
    bitwise_integers=True,
    checks_setpoints=False,
    timesync_rate=10.0,
)
FIRMWARES: Mapping[str, Firmware] = {"px4": PX4, "ardupilot": ARDUPILOT}
