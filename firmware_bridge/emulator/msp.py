"""An emulated autopilot that speaks MSP as Betaflight or INAV: bytes in, bytes out, no sockets and no clock.

What a companion has to cope with, each measured on or read in the real firmware: nothing comes unasked; one request is
answered each turn of the serial task, in order; SET_RAW_RC sets every channel, those left out to zero; an override
holds the last frame for ever; the heading comes in whole degrees, INAV's body rates in whole degrees per second; the
scale of Betaflight's accelerometer is told nowhere.
"""

from __future__ import annotations

import math
import struct
from collections import Counter, deque

import numpy as np

from firmware_bridge.emulator.sticks import ANGLE_LIMIT, RANGES, RATE_CENTRE, RATE_FULL, Refusal, StickAutopilot
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.codec import NO_REPLY, REFUSAL, REPLY, REQUEST, Decoder, Frame, encode
from firmware_bridge.msp.identity import INAV_RX_MSP, INAV_SETTINGS, RX_MSP_FEATURE
from firmware_bridge.msp.sticks import AETR, RATES_ACTUAL
from neural_lander.components import euler_angles
from neural_lander.frames import swap_yaw
from neural_lander.units import DEGREE, RPM, STANDARD_GRAVITY

TASK_RATE = 1000.0  # Hz of the serial task, one request a turn; Betaflight's default is 100
INBOX = 256  # requests that wait at most, what a receive buffer of 2 kB holds
RECENT = 4096  # setpoints that are kept to be looked at
COUNTS_PER_G = 2048  # of a common accelerometer at 16 g
BOXES = {msg.ARM: "ARM", msg.ANGLE: "ANGLE", msg.HORIZON: "HORIZON", 27: "FAILSAFE", msg.OVERRIDE: "MSP OVERRIDE"}
BETAFLIGHT_BITS = {
    Refusal.FAILSAFE: 1, Refusal.RX_LOSS: 2, Refusal.NOT_DISARMED: 3, Refusal.THROTTLE: 7, Refusal.ANGLE: 8,
    Refusal.BOOT: 9, Refusal.CALIBRATION: 12, Refusal.ARM_SWITCH: 25,
}  # fmt: skip
INAV_BITS = {
    Refusal.FAILSAFE: 7, Refusal.ANGLE: 8, Refusal.CALIBRATION: 9, Refusal.BOOT: 9, Refusal.ARM_SWITCH: 14,
    Refusal.NOT_DISARMED: 14, Refusal.RX_LOSS: 18, Refusal.THROTTLE: 19,
}  # fmt: skip
BETAFLIGHT_FLAGS = 26  # of version 4.5
NO_SENSOR, OUT_OF_RANGE, RANGE_LIMIT = 0, -1, 4.0  # cm, cm, m


class MspAutopilot:
    """The protocol side of one :class:`StickAutopilot`.

    Parameters
    ----------
    autopilot : StickAutopilot
        With the default sticks of the variant: what it tells of them are those.
    variant : str
        "BTFL" (4.5.5) or "INAV" (9.1.0).
    task_rate : float
        Hz of the serial task.
    rangefinder : bool
        Whether it has one.
    esc_telemetry : bool
        Whether its ESCs tell their speed.
    """

    def __init__(
        self,
        autopilot: StickAutopilot,
        variant: str = "BTFL",
        *,
        task_rate: float = TASK_RATE,
        rangefinder: bool = True,
        esc_telemetry: bool = True,
    ) -> None:
        self.autopilot, self.variant = autopilot, variant
        self.rangefinder, self.esc_telemetry = rangefinder, esc_telemetry
        self.received: Counter[int] = Counter()
        """Requests by command."""
        self.setpoints: deque[tuple[float, list[int]]] = deque(maxlen=RECENT)
        """(s, channels in us) of the last SET_RAW_RC."""
        self.taken = 0
        """How many there were."""
        self.frozen = False
        """Whether measurements are served again and again as they were."""
        self._turn = 1 / task_rate
        self._gear: list[list[float]] = autopilot.vehicle.gear_points.tolist()
        order = msg.quadrant_order(autopilot.vehicle) or range(4)
        self._rotor_of_motor = [list(order).index(motor) for motor in range(4)]
        self._boot()

    def _boot(self) -> None:
        self._boots = self.autopilot.boots
        self._decoder = Decoder()
        self._inbox: deque[Frame] = deque(maxlen=INBOX)
        self._next_turn = -math.inf
        self._kept: dict[int, bytes | None] = {}

    def reboot(self) -> None:
        """Lose power for a moment."""
        self.autopilot.reboot()

    def step(self, now: float, received: bytes = b"", room: int = 1 << 30) -> list[bytes]:
        """Run up to ``now`` in s with what came in since the last call; returns the frames that go out."""
        self.autopilot.advance(now)
        if self.autopilot.boots != self._boots:
            self._boot()
        if not self.autopilot.running:
            return []
        self._inbox += [frame for frame in self._decoder.feed(received) if frame.arrow == REQUEST]
        self._next_turn = max(self._next_turn, now - 1.0)
        frames: list[bytes] = []
        while self._next_turn <= now:
            self._next_turn += self._turn
            if self._inbox and room > 0:
                frames += self._serve(self._inbox.popleft(), now)
                room -= len(frames[-1]) if frames else 0
        return frames

    def _serve(self, request: Frame, now: float) -> list[bytes]:
        """The answer to one request; INAV keeps silent where it is told to, Betaflight does not."""
        self.received[request.command] += 1
        if request.command == msg.SET_RAW_RC:
            count = len(request.payload) // 2
            channels = list(struct.unpack_from(f"<{count}H", request.payload))
            self.setpoints.append((now, channels))
            self.taken += 1
            self.autopilot.take_frame(channels, now)
            payload: bytes | None = b""
        else:
            payload = self._answer(request.command, request.payload)
            if self.frozen and request.command in (msg.RAW_IMU, msg.ATTITUDE, msg.SONAR_ALTITUDE):
                payload = self._kept.setdefault(request.command, payload)
            else:
                self._kept.pop(request.command, None)
        if request.flags & NO_REPLY and self.variant == "INAV":
            return []
        arrow = REFUSAL if payload is None else REPLY
        return [encode(Frame(request.command, payload or b"", arrow, version=request.version))]

    # Answers

    def _answer(self, command: int, argument: bytes) -> bytes | None:
        """Payload of an answer; None where the request is not known."""
        state, sticks = self.autopilot.estimator.state, self.autopilot.sticks
        match command:
            case msg.FC_VARIANT:
                return self.variant.encode()
            case msg.BOARD_INFO:
                return b"EMUL" + bytes(5)
            case msg.RX_CONFIG:
                return struct.pack("<BHHH", 0, 1900, sticks.centre, sticks.lowest)
            case msg.RX_MAP:
                return bytes((*AETR, 4, 5, 6, 7))
            case msg.RC_DEADBAND:
                return struct.pack("<BBBH", sticks.roll.deadband, sticks.yaw.deadband, 40, 50)
            case msg.MODE_RANGES:
                rows = ((r.box, r.channel - 4, (r.low - 900) // 25, (r.high - 900) // 25) for r in RANGES)
                return b"".join(map(bytes, rows)) + bytes(4 * (20 - len(RANGES)))
            case msg.BOXIDS:
                return b"" if argument == b"\1" else bytes(BOXES)
            case msg.BOXNAMES:
                return b"" if argument == b"\1" else "".join(f"{name};" for name in BOXES.values()).encode()
            case msg.RAW_IMU:
                return self._raw_imu()
            case msg.ATTITUDE:
                return self._attitude()
            case msg.RC:
                return struct.pack("<16H", *self._logical_channels())
            case msg.SONAR_ALTITUDE:
                return struct.pack("<i", self._altitude())
            case msg.ALTITUDE:
                return struct.pack("<ih", round(100 * state.position[2]), round(100 * state.velocity[2]))
            case _:
                return self._inav(command, argument) if self.variant == "INAV" else self._betaflight(command)

    def _betaflight(self, command: int) -> bytes | None:
        volts = self.autopilot.voltage
        match command:
            case msg.API_VERSION:
                return bytes((0, 1, 46))
            case msg.FC_VERSION:
                return bytes((4, 5, 5))
            case msg.RC_TUNING:
                centre, full = round(RATE_CENTRE / 10), round(RATE_FULL / 10)
                rates = (centre, 0, full, full, full, 0, 50, 0, 0, 0, 0, centre, centre, 0, 0, 100)
                return bytes(rates) + struct.pack("<3HB", 1998, 1998, 1998, RATES_ACTUAL)
            case msg.PID_ADVANCED:
                return bytes(17) + bytes((round(ANGLE_LIMIT),)) + bytes(20)
            case msg.FEATURE_CONFIG:
                return struct.pack("<I", 0 if self.autopilot.has_radio else RX_MSP_FEATURE)
            case msg.STATUS_EX:
                return self._betaflight_status()
            case msg.BATTERY_STATE:
                return struct.pack("<BHBHHBH", 4, 4000, round(10 * volts), 400, 0, 0, round(100 * volts))
            case msg.MOTOR_TELEMETRY:
                return b"\4" + b"".join(struct.pack("<IHBHHH", rpm, 0, 0, 0, 0, 0) for rpm in self._rpm())
        return None

    def _inav(self, command: int, argument: bytes) -> bytes | None:
        volts, sticks = self.autopilot.voltage, self.autopilot.sticks
        match command:
            case msg.API_VERSION:
                return bytes((0, 2, 5))
            case msg.FC_VERSION:
                return bytes((9, 1, 0))
            case msg.RC_TUNING:
                return bytes((100, 0, 20, 20, round(sticks.yaw.effect[-1] / DEGREE / 10), 0, 50, 0, 0, 0, 0))
            case msg.COMMON_SETTING:
                values = {
                    "max_roll": struct.pack("<H", round(10 * sticks.roll.effect[-1] / DEGREE)),
                    "max_pitch": struct.pack("<H", round(10 * sticks.pitch.effect[-1] / DEGREE)),
                    "receiver": bytes((1 if self.autopilot.has_radio else INAV_RX_MSP,)),
                    "override_mask": struct.pack("<H", 0b1111),
                }
                return {key + b"\0": values[name] for name, key in INAV_SETTINGS.items()}.get(argument)
            case msg.INAV_STATUS:
                return self._inav_status()
            case msg.INAV_ANALOG:
                return struct.pack("<BHHIIIIBH", 0, round(100 * volts), 0, 0, 400, 0, 3600, 90, 0)
            case msg.INAV_ESC_RPM:
                return struct.pack("<4I", *self._rpm())
        return None

    def _raw_imu(self) -> bytes:
        estimator = self.autopilot.estimator
        scale = (msg.INAV_ACC_1G if self.variant == "INAV" else COUNTS_PER_G) / STANDARD_GRAVITY
        counts, rates = estimator.accelerometer * scale, estimator.gyroscope / msg.RATE_UNIT[self.variant]
        values = np.clip(np.rint(np.concatenate([counts, rates])), -32768, 32767).astype(int)
        return struct.pack("<9h", *values.tolist(), 0, 0, 0)

    def _attitude(self) -> bytes:
        roll, pitch, yaw = euler_angles(self.autopilot.estimator.state.rows)
        heading = float(swap_yaw(np.array(yaw))) / DEGREE % 360
        return struct.pack("<3h", round(10 * roll / DEGREE), round(10 * pitch / DEGREE), int(heading))

    def _logical_channels(self) -> list[int]:
        channels = self.autopilot.channels
        return [channels[place] for place in AETR] + channels[4:]

    def _altitude(self) -> int:
        """cm, multiplied by the cosine of the tilt."""
        if not self.rangefinder:
            return NO_SENSOR
        distance = self.autopilot.estimator.distance(self._gear)
        cosine = self.autopilot.estimator.state.rows[2][2]
        return round(100 * distance * cosine) if 0 < distance < RANGE_LIMIT else OUT_OF_RANGE

    def _rpm(self) -> list[int]:
        speeds = self.autopilot.estimator.rotor_speed if self.esc_telemetry else np.zeros(4)
        return [max(round(speeds[rotor] / RPM), 0) for rotor in self._rotor_of_motor]

    def _box_bits(self) -> int:
        pilot = self.autopilot
        active = {box for box in BOXES if pilot.active(box)} | ({27} if pilot.failsafe else set())
        return sum(1 << k for k, box in enumerate(BOXES) if box in active)

    def _betaflight_status(self) -> bytes:
        refusals = sum(1 << bit for refusal, bit in BETAFLIGHT_BITS.items() if refusal in self.autopilot.refusals)
        head = struct.pack("<HHHIBHBB", 125, 0, 0b100001, self._box_bits(), 0, 10, 4, 0)
        return head + b"\0" + struct.pack("<BIBH", BETAFLIGHT_FLAGS, refusals, 0, 40)

    def _inav_status(self) -> bytes:
        pilot = self.autopilot
        flags = {1 << bit for refusal, bit in INAV_BITS.items() if refusal in pilot.refusals}
        bits = sum(flags) | pilot.armed * msg.INAV_ARMED | pilot.ever_armed * msg.INAV_WAS_EVER_ARMED
        return struct.pack("<HHHHBIQB", 500, 0, 0b100001, 10, 0, bits, self._box_bits(), 0)
