"""Which firmware answers, and what it is set to: asked once, and judged before a flight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from firmware_bridge.link import CheckResult
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.messages import ModeRange, mode_ranges, range_of
from firmware_bridge.msp.pipeline import Request
from firmware_bridge.msp.sticks import AETR, Sticks, betaflight_sticks, inav_sticks, throttle_is_straight
from neural_lander.units import DEGREE

NAMES = {"BTFL": "Betaflight", "INAV": "INAV"}
RX_MSP_FEATURE = 1 << 14  # Betaflight
INAV_RX_MSP = 2  # receiver_type of INAV
LEAST_RATE = 150  # answers/s below which setpoints and telemetry get in each other's way; a guess
FLIGHT_CHANNELS = 0b1111  # of an override mask

BOXES = (msg.BOXIDS, msg.BOXNAMES)
FIRST = tuple(Request(command) for command in (msg.API_VERSION, msg.FC_VARIANT, msg.FC_VERSION, msg.BOARD_INFO))
COMMON = {
    "rc_tuning": msg.RC_TUNING,
    "deadband": msg.RC_DEADBAND,
    "rx_config": msg.RX_CONFIG,
    "rx_map": msg.RX_MAP,
    "modes": msg.MODE_RANGES,
}
INAV_SETTINGS = {
    "max_roll": b"max_angle_inclination_rll",
    "max_pitch": b"max_angle_inclination_pit",
    "receiver": b"receiver_type",
    "override_mask": b"msp_override_channels",
}


class Identity:
    """What was learnt of the autopilot so far."""

    def __init__(self) -> None:
        self.variant = ""
        """BTFL or INAV; empty until known."""
        self.version = self.board = ""
        self.api_major = self.api_minor = 0
        self.boxes: list[int] = []
        """Permanent numbers, in the order of the bits of the status."""
        self.box_names: dict[int, str] = {}
        self.sticks: Sticks | None = None
        self.problem = ""
        """Why the sticks cannot be used, once that is known."""
        self.replies: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self._box_pages: dict[tuple[int, int], bytes] = {}
        self._names: dict[Request, str] = {}

    def take(self, request: Request, payload: bytes) -> Sequence[Request]:
        """Take an answer in; what is to be asked next."""
        match request.command:
            case msg.API_VERSION:
                self.api_major, self.api_minor = payload[1], payload[2]
            case msg.FC_VARIANT:
                self.variant = payload[:4].decode("ascii", "replace")
                return self._settings() if self.variant in NAMES else ()
            case msg.FC_VERSION:
                self.version = ".".join(str(part) for part in payload[:3])
            case msg.BOARD_INFO:
                self.board = payload[:4].decode("ascii", "replace")
            case msg.BOXNAMES | msg.BOXIDS:
                return self._take_boxes(request, payload)
            case _ if request in self._names:
                self.replies[self._names[request]] = payload
                self._read_sticks()
        return ()

    def refuse(self, request: Request) -> None:
        """The autopilot does not know this request."""
        if request in self._names:
            self.refused.add(self._names[request])
            self._read_sticks()

    def knows(self, request: Request) -> bool:
        """Whether an answer to it belongs here."""
        return request in FIRST or request.command in BOXES or request in self._names

    @property
    def modes(self) -> tuple[ModeRange, ...]:
        """Switches of the boxes."""
        return mode_ranges(self.replies.get("modes", b""))

    @property
    def receiver_is_msp(self) -> bool:
        """Whether our frames are the only receiver, so that no pilot's radio is behind an override."""
        if self.variant == "INAV":
            return self.replies.get("receiver", b"")[:1] == bytes((INAV_RX_MSP,))
        return bool(int.from_bytes(self.replies.get("features", b""), "little") & RX_MSP_FEATURE)

    def active(self, bits: int) -> set[int]:
        """Permanent numbers of the boxes whose bits are set."""
        return {box for k, box in enumerate(self.boxes) if bits >> k & 1}

    def _settings(self) -> Sequence[Request]:
        requests = {name: Request(command) for name, command in COMMON.items()}
        pages: Iterable[bytes] = (b"",)
        if self.variant == "INAV":
            requests |= {name: Request(msg.COMMON_SETTING, key + b"\0") for name, key in INAV_SETTINGS.items()}
        else:
            requests |= {"pid_advanced": Request(msg.PID_ADVANCED), "features": Request(msg.FEATURE_CONFIG)}
            pages = (b"\0", b"\1")
        self._names = {request: name for name, request in requests.items()}
        return [*requests.values(), *(Request(command, page) for command in BOXES for page in pages)]

    def _take_boxes(self, request: Request, payload: bytes) -> Sequence[Request]:
        self._box_pages[request.command, request.payload == b"\1"] = payload
        ids, names = ([self._box_pages.get((command, page), b"") for page in (0, 1)] for command in BOXES)
        self.boxes = list(b"".join(ids))
        texts = b"".join(names).decode("ascii", "replace").split(";")
        self.box_names = dict(zip(self.boxes, texts, strict=False))
        return ()

    def _read_sticks(self) -> None:
        """Settle the sticks once all that they depend on is there."""
        needed = {"rc_tuning", "deadband", "rx_config"}
        needed |= {"max_roll", "max_pitch"} if self.variant == "INAV" else {"pid_advanced"}
        if missing := needed & self.refused:
            self.problem = f"the autopilot does not tell {', '.join(sorted(missing))}"
        elif needed <= set(self.replies):
            try:
                self.sticks = (
                    inav_sticks(self.replies)
                    if self.variant == "INAV"
                    else betaflight_sticks(self.api_minor, self.replies)
                )
            except ValueError as error:
                self.problem = f"{error} is not known: set rates_type = ACTUAL"
            except IndexError:
                self.problem = "the autopilot's replies are shorter than known: it is too old"

    def checks(self, answers: float, round_trip: float) -> list[CheckResult]:
        """Verdicts; ``answers`` per s as counted, ``round_trip`` in s."""
        if self.variant not in NAMES:
            found = f"'{self.variant}' answers, neither Betaflight (BTFL) nor INAV" if self.variant else "no answer yet"
            return [CheckResult("firmware", False, f"{found}: look at the port, its baud rate and its MSP switch")]
        name = f"{NAMES[self.variant]} {self.version} on {self.board}, MSP API {self.api_major}.{self.api_minor}"
        results = [CheckResult("firmware", True, name), self._sticks_check(), self._throttle_check(), self._map_check()]
        results += [self._mode_check(), self._override_check(), _rate_check(self.variant, answers, round_trip)]
        return results

    def _sticks_check(self) -> CheckResult:
        if not self.sticks:
            return CheckResult("sticks", False, self.problem or "rates and angle limit are not read yet")
        sticks = self.sticks
        roll, pitch, yaw = (curve.effect[-1] / DEGREE for curve in (sticks.roll, sticks.pitch, sticks.yaw))
        text = f"full stick is {roll:.0f} deg of roll, {pitch:.0f} deg of pitch, {yaw:.0f} deg/s of yaw"
        return CheckResult("sticks", True, f"{text}; centre {sticks.centre} us, throttle from {sticks.lowest} us")

    def _throttle_check(self) -> CheckResult:
        tuning = self.replies.get("rc_tuning", b"")
        if len(tuning) < 8:
            return CheckResult("throttle curve", False, "not read yet")
        if throttle_is_straight(tuning):
            return CheckResult("throttle curve", True, "straight, without limit")
        return CheckResult("throttle curve", False, "bent or limited: set thr_expo = 0 and throttle_limit_type = OFF")

    def _map_check(self) -> CheckResult:
        order = self.replies.get("rx_map", b"")[:4]
        if order == bytes(AETR):
            return CheckResult("channel order", True, "AETR")
        return CheckResult("channel order", False, f"{list(order) or 'not read yet'}: set map AETR1234")

    def _mode_check(self) -> CheckResult:
        if range_of(msg.ANGLE, self.modes):
            return CheckResult("angle mode", True, "on a switch")
        return CheckResult("angle mode", False, "no switch has ANGLE: give it one, or a range that is always on")

    def _override_check(self) -> CheckResult:
        if self.receiver_is_msp:
            passed = range_of(msg.ARM, self.modes) is not None
            remedy = "" if passed else "; no switch has ARM: give it one"
            text = f"MSP is the only receiver: no pilot can take over, this is for simulation{remedy}"
            return CheckResult("override", passed, text)
        if not range_of(msg.OVERRIDE, self.modes):
            return CheckResult("override", False, "no switch has MSP OVERRIDE: give the pilot one")
        mask = self.replies.get("override_mask")
        if mask is None:
            text = (
                "on a switch; its mask cannot be read: msp_override_channels_mask must be 15, never the arming switch"
            )
            return CheckResult("override", True, text)
        channels = int.from_bytes(mask, "little")
        return CheckResult(
            "override", channels == FLIGHT_CHANNELS, f"on a switch; msp_override_channels = {channels}, must be 15"
        )


def _rate_check(variant: str, answers: float, round_trip: float) -> CheckResult:
    text = (
        f"{answers:.0f} answers/s, shortest round trip {1e3 * round_trip:.1f} ms"
        if math.isfinite(round_trip)
        else "no answers"
    )
    if answers >= LEAST_RATE:
        return CheckResult("answer rate", True, text)
    remedy = "set serial_update_rate_hz = 1000" if variant == "BTFL" else "raise the baud rate of the MSP port"
    return CheckResult("answer rate", False, f"{text}; {LEAST_RATE} are needed: {remedy}")
