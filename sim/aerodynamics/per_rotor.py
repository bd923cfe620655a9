"""Thrust that each rotor gains from what lies under it, and the force and moment that come of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from neural_lander.arrays import Array
from neural_lander.components import Scalar, columns, join, rotate, scaled, split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Surface

AIR_DENSITY = 1.225  # kg/m^3, ISA at sea level
HUB = ((0.0, 0.0),)


def extra_lift(
    state: State,
    rotor_speeds: Array,
    vehicle: Vehicle,
    terrain: Surface,
    increase: Callable[[Scalar, Vehicle], Scalar],
    points: Sequence[tuple[float, float]] = HUB,
) -> tuple[Array, Array]:
    """Force (world, N) and moment (body, N m) where each rotor's thrust grows from T to T / (1 - s), at its hub.

    A tilted vehicle, or one over an edge, so feels a moment too.

    Parameters
    ----------
    increase
        s of a rotor at rest at a height in m above the terrain; what forward speed leaves of it is :func:`calm`.
    points
        (x, y) m in the plane of the disc, from the hub: s is its mean over the heights there.
    """
    rows, (x, y, z) = state.rows, split(state.position)
    share = calm(state, vehicle) / len(points)
    total, roll, pitch = 0.0, 0.0, 0.0
    for hub, n in zip(vehicle.hubs, split(rotor_speeds), strict=True):
        s = 0.0
        for a, b in points:
            ahead, aside, above = rotate(rows, (hub[0] + a, hub[1] + b, hub[2]))
            s = s + increase(z + above - terrain.height(x + ahead, y + aside), vehicle)
        s = s * share
        extra = vehicle.thrust_coefficient * n * n * (s / (1.0 - s))
        total, roll, pitch = total + extra, roll + hub[1] * extra, pitch - hub[0] * extra
    return join(scaled(total, columns(rows)[2])), join([roll, pitch, 0.0 * pitch])


def calm(state: State, vehicle: Vehicle) -> Scalar:
    """1 / (1 + (V/v_i)^2): what forward speed V leaves of the images, v_i the induced velocity in hover.

    Cheeseman and Bennett, ARC R&M 3021, 1955.
    """
    v_x, v_y, _ = split(state.velocity)
    v_i2 = vehicle.weight / (8 * AIR_DENSITY * math.pi * vehicle.rotor_radius**2)
    return 1.0 / (1.0 + (v_x * v_x + v_y * v_y) / v_i2)
