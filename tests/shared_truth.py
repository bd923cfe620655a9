"""What is true of a simulated vehicle in another process."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import SynchronizedArray

import numpy as np

from firmware_bridge.emulator.world import RigidBodyWorld

START_TIME = 20.0  # s
FLOWN = 0.1  # m of height from which a contact is a touchdown
VECTORS = {
    "position": (0, 3), "velocity": (3, 6), "attitude": (6, 10), "body_rates": (10, 13), "motors": (13, 17),
}  # fmt: skip
NUMBERS = {"height": 17, "steps": 18, "highest": 19, "touchdown_speed": 20}


class Truth:
    """Written by the vehicle's process, read by the test's.

    Vectors are ``position``, ``velocity``, ``attitude``, ``body_rates``, and ``motors`` from 0 to 1 in the firmware's
    order. ``touchdown_speed`` in m/s is that of the last contact after a flight.
    """

    def __init__(self) -> None:
        self._values: SynchronizedArray = multiprocessing.Array("d", 21)
        self._flown, self._falling = False, 0.0
        self.listening = multiprocessing.Event()
        """Set once the vehicle can be talked to."""

    def put(self, world: RigidBodyWorld, motors: np.ndarray, steps: int) -> None:
        """Tell a step."""
        state, height = world.state, float(world.state.height)
        self._flown |= height > FLOWN
        highest, touchdown = self._values[19], self._values[20]
        if self._flown and state.contact:
            self._flown, touchdown = False, self._falling
        self._falling = -float(state.velocity[2])
        vectors = np.concatenate((state.position, state.velocity, state.attitude, state.body_rates, motors)).tolist()
        with self._values.get_lock():
            self._values[:] = [*vectors, height, steps, max(highest, height), touchdown]

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in VECTORS:
            raise AttributeError(name)
        begin, end = VECTORS[name]
        with self._values.get_lock():
            return np.array(self._values[begin:end])

    @property
    def height(self) -> float:
        """m, of the gear."""
        return self._values[NUMBERS["height"]]

    @property
    def steps(self) -> int:
        """So far."""
        return int(self._values[NUMBERS["steps"]])

    @property
    def highest(self) -> float:
        """m, of the gear."""
        return self._values[NUMBERS["highest"]]

    @property
    def touchdown_speed(self) -> float:
        """See the class."""
        return self._values[NUMBERS["touchdown_speed"]]


@contextlib.contextmanager
def served(serve: Callable[[Truth], None], truth: Truth) -> Iterator[None]:
    """A process of its own is the vehicle, from when it can be talked to."""
    vehicle = multiprocessing.Process(target=serve, args=(truth,), daemon=True)
    vehicle.start()
    try:
        assert truth.listening.wait(START_TIME)
        yield
    finally:
        vehicle.kill()
