"""What a residual model sees: a state part, then the thrust of each rotor.

The control input u = n^2 enters as rotor thrust T_i = c_T u_i in newtons. That is the same quantity in a unit
in which weights, bounds and logs without rotor speed are readable; a bound in u follows by the factor c_T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import join, sign, split
from neural_lander.errors import UserError

ROTORS = 4


@dataclass(frozen=True)
class Features:
    """A named choice of the state part zeta of the network's input."""

    name: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    scale_floor: tuple[float, ...]
    """Smallest scale an input is divided by in training, in its unit: inputs that hardly vary carry noise, not
    information, and dividing by their spread ruins landings."""
    of: Callable[[Array, Array, Array], Array]
    """(height (...) m, velocity (..., 3) m/s, attitude (..., 4)) -> zeta (..., n)."""

    @property
    def size(self) -> int:
        """Number of state inputs."""
        return len(self.labels)


def _paper(height: Array, velocity: Array, attitude: Array) -> Array:
    w, x, y, z = split(attitude)
    up = sign(w)  # q and -q are one attitude
    return join([height, *split(velocity), up * w, up * x, up * y, up * z])


def _height_velocity(height: Array, velocity: Array, attitude: Array) -> Array:
    del attitude
    return join([height, *split(velocity)])


_VELOCITY = ("v_x", "v_y", "v_z")
FEATURES: Mapping[str, Features] = {
    f.name: f
    for f in (
        Features(
            "paper",
            ("h", *_VELOCITY, "q_w", "q_x", "q_y", "q_z"),
            ("m", "m/s", "m/s", "m/s", "1", "1", "1", "1"),
            (0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
            _paper,
        ),
        Features(
            "height-velocity", ("h", *_VELOCITY), ("m", "m/s", "m/s", "m/s"), (0.1, 0.2, 0.2, 0.2), _height_velocity
        ),
    )
}
"""Scale floors are guesses of what a flight must excite for its spread to mean anything: 0.1 m, 0.2 m/s, 0.2 (23°)."""


def features_named(name: str) -> Features:
    """Feature set by name, or an error that lists the known ones."""
    if name not in FEATURES:
        raise UserError(f"features '{name}' are not known; use one of: {', '.join(sorted(FEATURES))}")
    return FEATURES[name]
