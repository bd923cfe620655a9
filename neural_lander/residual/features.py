"""What a residual model sees: a state part, then the thrust of each rotor.

The control input u = n^2 enters as rotor thrust T_i = c_T u_i in newtons. That is the same quantity in a unit
in which weights, bounds and logs without rotor speed are readable; a bound in u follows by the factor c_T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from neural_lander.arrays import Array
from neural_lander.components import Rows, Scalar, Vector, columns, join, sign, split
from neural_lander.errors import UserError

ROTORS = 4


class Observed(Protocol):
    """What features are made of: a state in flight, or the samples of a log. World frame, SI."""

    @property
    def height(self) -> Array:
        """(...) m, lowest gear point above the terrain."""
        ...

    @property
    def velocity(self) -> Array:
        """(..., 3) m/s."""
        ...

    @property
    def attitude(self) -> Array:
        """(..., 4) unit quaternion (w, x, y, z), body to world."""
        ...

    @property
    def rows(self) -> Rows:
        """Rotation matrix body to world, as components."""
        ...

    @property
    def heading(self) -> tuple[Scalar, Scalar]:
        """Cosine and sine of the yaw."""
        ...

    @property
    def battery(self) -> Any:
        """(...) V, or None where it is not known."""
        ...


@dataclass(frozen=True)
class Features:
    """A named choice of the state part zeta of the network's input."""

    name: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    scale_floor: tuple[float, ...]
    """Smallest scale an input is divided by in training, in its unit: inputs that hardly vary carry noise, not
    information, and dividing by their spread ruins landings."""
    of: Callable[[Observed], Array]
    """zeta (..., n) of a state or of samples."""
    heading_frame: bool = False
    """Whether inputs and force are in the frame that yaws with the vehicle, z up: the model then turns with it."""

    @property
    def size(self) -> int:
        """Number of state inputs."""
        return len(self.labels)


def to_heading(v: Vector, cosine: Scalar, sine: Scalar) -> Vector:
    """Components of a world vector in the heading frame."""
    return cosine * v[0] + sine * v[1], cosine * v[1] - sine * v[0], v[2]


def to_world(v: Vector, cosine: Scalar, sine: Scalar) -> Vector:
    """Inverse of :func:`to_heading`."""
    return to_heading(v, cosine, -sine)


def _paper(x: Observed) -> Array:
    w, qx, qy, qz = split(x.attitude)
    up = sign(w)  # q and -q are one attitude
    return join([x.height, *split(x.velocity), up * w, up * qx, up * qy, up * qz])


def _height_velocity(x: Observed) -> Array:
    return join([x.height, *split(x.velocity)])


def _heading(x: Observed) -> Array:
    lean, v = to_heading(columns(x.rows)[2], *x.heading), to_heading(split(x.velocity), *x.heading)
    return join([x.height, *v, lean[0], lean[1]])


def _paper_battery(x: Observed) -> Array:
    if x.battery is None:
        raise UserError("features 'paper-battery' need the battery voltage, which is not logged or not measured here")
    w, qx, qy, qz = split(x.attitude)
    up = sign(w)
    return join([x.height, *split(x.velocity), up * w, up * qx, up * qy, up * qz, x.battery])


_VELOCITY = ("v_x", "v_y", "v_z")
_QUATERNION = ("q_w", "q_x", "q_y", "q_z")
FEATURES: Mapping[str, Features] = {
    f.name: f
    for f in (
        Features(
            "paper",
            ("h", *_VELOCITY, *_QUATERNION),
            ("m", "m/s", "m/s", "m/s", "1", "1", "1", "1"),
            (0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
            _paper,
        ),
        Features(
            "height-velocity", ("h", *_VELOCITY), ("m", "m/s", "m/s", "m/s"), (0.1, 0.2, 0.2, 0.2), _height_velocity
        ),
        Features(
            "heading",
            ("h", "v_forward", "v_left", "v_z", "lean_forward", "lean_left"),
            ("m", "m/s", "m/s", "m/s", "1", "1"),
            (0.1, 0.2, 0.2, 0.2, 0.2, 0.2),
            _heading,
            heading_frame=True,
        ),
        Features(
            "paper-battery",
            ("h", *_VELOCITY, *_QUATERNION, "battery"),
            ("m", "m/s", "m/s", "m/s", "1", "1", "1", "1", "V"),
            (0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.5),
            _paper_battery,
        ),
    )
}
"""Scale floors are guesses of what a flight must excite for its spread to mean anything: 0.1 m, 0.2 m/s, 0.2 (23°),
0.5 V. ``heading`` is the paper's input but for the yaw, which it is equivariant to; lean is the body's z axis."""


def features_named(name: str) -> Features:
    """Feature set by name, or an error that lists the known ones."""
    if name not in FEATURES:
        raise UserError(f"features '{name}' are not known; use one of: {', '.join(sorted(FEATURES))}")
    return FEATURES[name]
