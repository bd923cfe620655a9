"""A stand-in for cflib and the firmware behind it, as both were found to behave (firmware of April 2024)."""

import types
from collections.abc import Callable
from typing import Any

CAN_BE_ARMED, ARMED, ARMS_ITSELF, CAN_FLY, FLYING, LOCKED = 1, 2, 4, 8, 16, 64
LEVELS, LOCKS, LANDED, DISARMS = 0.5, 2.0, 2.0, 3.0  # s
STEP = 0.02  # s


class Caller:
    """cflib's list of callbacks."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., None]] = []

    def add_callback(self, callback: Callable[..., None]) -> None:
        self.callbacks.append(callback)

    def call(self, *details: Any) -> None:
        for callback in self.callbacks:
            callback(*details)


class FakeLogConfig:
    """cflib's LogConfig."""

    def __init__(self, name: str, period_in_ms: int) -> None:
        self.name, self.period_in_ms = name, period_in_ms
        self.variables: list[tuple[str, str]] = []
        self.data_received_cb = Caller()
        self.started = 0

    def add_variable(self, name: str, fetch_as: str) -> None:
        self.variables.append((name, fetch_as))

    def start(self) -> None:
        self.started += 1


class FakeCrazyflie:
    """Records what it is told, and reacts as the firmware does while :meth:`elapse` moves its time.

    Parameters
    ----------
    lacks : tuple of str
        Groups of variables that the firmware does not have.
    arms_itself : bool
        As the models without ESCs.
    """

    def __init__(self, lacks: tuple[str, ...] = (), arms_itself: bool = False) -> None:
        self.connected, self.connection_failed, self.connection_lost, self.disconnected = (Caller() for _ in range(4))
        self.packet_received = Caller()
        self.told: list[tuple[Any, ...]] = []
        self.blocks: dict[str, FakeLogConfig] = {}
        self.lacks, self.arms_itself = lacks, arms_itself
        self.link: Any = types.SimpleNamespace(close=lambda: self.told.append(("link closed",)))
        self.link_statistics = types.SimpleNamespace(latency_updated=Caller())
        self.log = types.SimpleNamespace(add_config=self._add)
        self.commander = self._recorder("send_setpoint", "send_stop_setpoint", "send_notify_setpoint_stop")
        self.supervisor = self._recorder("send_arming_request")
        self.high_level_commander = self._recorder("land")
        self.uri = ""
        self.time = 0.0
        self.armed, self.state = arms_itself, "on the ground"
        self.flown: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Roll, nose down and counter-clockwise rate that are flown, in degrees (per second)."""
        self.thrust = 0
        self.landing = False
        self.lose = -1
        """How many packets until one is lost; none where it is negative."""
        self._thrust_locked, self._by_high_level = True, True
        self._setpoint_at = self._thrust_at = self._landed_at = 0.0

    @property
    def info(self) -> int:
        """``supervisor.info``."""
        info = ARMS_ITSELF if self.arms_itself else 0
        if self.state == "locked":
            return info | LOCKED
        info |= ARMED if self.armed else 0
        info |= CAN_FLY if self.armed or self.state == "landed" else CAN_BE_ARMED
        return info | (FLYING if self.state == "flying" else 0)

    def elapse(self, seconds: float) -> None:
        """Move on."""
        for _ in range(round(seconds / STEP)):
            self.time += STEP
            if self._by_high_level:
                self._setpoint_at = self.time
            if self.thrust or (self.landing and self._by_high_level):
                self._thrust_at, self.state = self.time, "flying"
            silence = self.time - self._setpoint_at
            if self.state == "flying" and silence > LOCKS:
                self._lock()
            elif self.state == "flying" and silence > LEVELS:
                self.flown = (0.0, 0.0, 0.0)
            elif self.state == "flying" and self.time - self._thrust_at >= LANDED:
                self.state, self._landed_at = "landed", self.time
            elif self.state == "landed" and self.time - self._landed_at > DISARMS:
                self.state, self.armed = "on the ground", self.arms_itself

    def _lock(self) -> None:
        self.state, self.armed, self.thrust, self.landing = "locked", False, 0, False

    def _recorder(self, *names: str) -> types.SimpleNamespace:
        def record(name: str) -> Callable[..., None]:
            def take(*values: Any) -> None:
                self.told.append((name, *values))
                if self.lose != 0:
                    getattr(self, "_" + name)(*values)
                self.lose -= 1

            return take

        return types.SimpleNamespace(**{name: record(name) for name in names})

    def _send_setpoint(self, roll: float, pitch: float, yaw_rate: float, thrust: int) -> None:
        self._thrust_locked &= thrust != 0
        self._setpoint_at, self._by_high_level, self.landing = self.time, False, False
        self.flown = (roll, pitch, -yaw_rate)
        allowed = self.armed and self.state != "locked" and not self._thrust_locked
        self.thrust = thrust if allowed and thrust >= 1000 else 0

    def _send_stop_setpoint(self) -> None:
        self.thrust, self._setpoint_at, self._by_high_level, self.landing = 0, self.time, False, False

    def _send_notify_setpoint_stop(self) -> None:
        self._by_high_level, self.thrust = True, 0

    def _land(self, height: float, duration: float) -> None:
        del height, duration
        self.landing = self.state == "flying"

    def _send_arming_request(self, arm: bool) -> None:
        if arm and self.state == "on the ground":
            self.armed = True
        elif not arm and self.state == "flying":
            self._lock()
        elif not arm:
            self.armed = False

    def _add(self, block: FakeLogConfig) -> None:
        for name, _ in block.variables:
            if name.partition(".")[0] in self.lacks:
                raise KeyError(f"Variable {name} not in TOC")
        self.blocks[block.name] = block

    def open_link(self, uri: str) -> None:
        self.uri = uri

    def close_link(self) -> None:
        """As cflib: what flies falls down."""
        if self.link is not None:
            self.commander.send_setpoint(0, 0, 0, 0)
        self.told.append(("close",))

    def tell(self, block: str, stamp_ms: int, *values: float) -> None:
        config = self.blocks[block]
        names = [name for name, _ in config.variables]
        config.data_received_cb.call(stamp_ms, dict(zip(names, values, strict=True)), config)
