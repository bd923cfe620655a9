"""From collective thrust and moments to the four u = n^2, with priorities where a rotor saturates.

Priority: thrust direction (roll and pitch) over collective thrust over yaw. All steps are closed forms; the
underlying problem is a QP with four box constraints.
"""

from __future__ import annotations

import numpy as np

from neural_lander.arrays import Array, clip, constant, namespace
from neural_lander.vehicle import Vehicle


class Allocation:
    """u = B0^-1 (T, tau) where that is feasible, else the nearest by priority."""

    def __init__(self, vehicle: Vehicle) -> None:
        inverse = vehicle.B0_inverse
        self._moment_columns_T = np.ascontiguousarray(inverse[:, 1:].T)
        self._thrust_column = inverse[:, 0]
        self._tilt_columns_T = np.ascontiguousarray(inverse[:, 1:3].T)
        self._yaw_column = inverse[:, 3]
        self._u_max = vehicle.u_max

    def moment_part(self, moment: Array) -> Array:
        """B0^-1 (0, tau), ``(..., 3) N m -> (..., 4) (rad/s)^2``, feasible or not."""
        return moment @ constant(self._moment_columns_T, moment)

    def __call__(self, thrust: Array, moment: Array) -> tuple[Array, bool | Array]:
        """u within 0..u_max, ``(..., 4)``, and where a rotor saturated, ``(...)``."""
        xp = namespace(moment)
        u = self.moment_part(moment) + thrust[..., None] * constant(self._thrust_column, moment)
        if type(u) is np.ndarray and u.ndim == 1:  # one vehicle: four floats need no array functions
            saturated = min(u) < 0.0 or max(u) > self._u_max
            return (self._prioritised(thrust, moment) if saturated else u), bool(saturated)
        saturated = xp.any((u < 0.0) | (u > self._u_max), axis=-1)
        return xp.where(saturated[..., None], self._prioritised(thrust, moment), u), saturated

    def _prioritised(self, thrust: Array, moment: Array) -> Array:
        xp = namespace(moment)
        u_max = self._u_max
        tilt = moment[..., :2] @ constant(self._tilt_columns_T, moment)
        spread = xp.max(tilt, axis=-1) - xp.min(tilt, axis=-1)
        tilt = tilt * xp.minimum(u_max / xp.maximum(spread, u_max + 0 * spread), 1.0 + 0 * spread)[..., None]
        column = constant(self._thrust_column, moment)
        low, high = xp.max(-tilt / column, axis=-1), xp.min((u_max - tilt) / column, axis=-1)
        base = tilt + xp.minimum(xp.maximum(thrust, low), high)[..., None] * column
        yaw = moment[..., 2:] * constant(self._yaw_column, moment)
        room = xp.where(yaw > 0, u_max - base, base) / xp.maximum(xp.abs(yaw), 1e-12 + 0 * yaw)
        share = xp.minimum(xp.maximum(xp.min(room, axis=-1), 0 * spread), 1.0 + 0 * spread)
        u = base + share[..., None] * yaw
        return clip(u, 0.0, u_max)  # rounding only
