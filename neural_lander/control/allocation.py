"""From collective thrust and moments to the four u = n^2, with priorities where a rotor saturates.

Priority: thrust direction (roll and pitch) over collective thrust over yaw; each takes the value nearest to what is
asked for that those before it leave possible, so that the result is continuous in the request. Roll and pitch keep
their direction and take what the rotors can give of them without yaw.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from neural_lander.arrays import Array, along, clip, constant, namespace, rows_times
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
        # u_i = 0 and u_i = u_max are the lines T = intercept - slope tau_z, i = 0..3 twice
        slopes = self._yaw_column / self._thrust_column
        self._slopes = np.tile(np.where(slopes == 0.0, np.finfo(float).tiny, slopes), 2)  # yaw limits no rotor there
        pairs = [(i, j) for i, j in combinations(range(8), 2) if self._slopes[i] != self._slopes[j]]
        self._first, self._second = [i for i, _ in pairs], [j for _, j in pairs]
        self._crossing = 1.0 / (self._slopes[self._first] - self._slopes[self._second])
        self._rounding = 1e-9 * self._u_max / float(np.min(self._thrust_column))  # N
        # which lines bound tau_z from above: rotors that yaw slows towards 0, or speeds up towards u_max
        self._above = (self._slopes < 0) == (np.arange(8) < 4)

    def moment_part(self, moment: Array) -> Array:
        """B0^-1 (0, tau), ``(..., 3) N m -> (..., 4) (rad/s)^2``, feasible or not."""
        return rows_times(moment, constant(self._moment_columns_T, moment))

    def __call__(self, thrust: Array, moment: Array, moment_part: Array | None = None) -> tuple[Array, bool | Array]:
        """u within 0..u_max, ``(..., 4)``, and where a rotor saturated, ``(...)``.

        Pass :meth:`moment_part` of this moment if it is already computed.
        """
        xp = namespace(moment)
        part = self.moment_part(moment) if moment_part is None else moment_part
        u = part + along(thrust, constant(self._thrust_column, moment))
        if type(u) is np.ndarray and u.ndim == 1:  # one vehicle: four floats need no array functions
            speeds = u.tolist()
            saturated = min(speeds) < 0.0 or max(speeds) > self._u_max
            return (self._prioritised(thrust, moment) if saturated else u), saturated
        saturated = xp.any((u < 0.0) | (u > self._u_max), axis=-1)
        return self._settle(u, saturated, thrust, moment), saturated

    def _settle(self, u: Array, saturated: Array, thrust: Array, moment: Array) -> Array:
        """u of a batch where no rotor saturates, else by priority: that is rare, and costs 28 corners each."""
        xp = namespace(moment)
        if not xp.any(saturated):
            return u
        return xp.where(saturated[..., None], self._prioritised(thrust, moment), u)

    def _prioritised(self, thrust: Array, moment: Array) -> Array:
        xp = namespace(moment)
        u_max = self._u_max
        tilt = moment[..., :2] @ constant(self._tilt_columns_T, moment)
        column, slopes = constant(self._thrust_column, moment), constant(self._slopes, moment)
        tilt = tilt * self._share_that_fits(tilt, column)[..., None]
        intercepts = xp.concat([-tilt / column, (u_max - tilt) / column], axis=-1)
        yaw = moment[..., 2]
        thrust = self._nearest_thrust(thrust, yaw, intercepts)
        limits = (intercepts - thrust[..., None]) / slopes
        above = constant(self._above, slopes > 0)
        most = xp.min(xp.where(above, limits, xp.inf + 0 * limits), axis=-1)
        least = xp.max(xp.where(above, -xp.inf + 0 * limits, limits), axis=-1)
        yaw = xp.where(yaw > 0, xp.minimum(yaw, most), xp.maximum(yaw, least))
        u = tilt + thrust[..., None] * column + yaw[..., None] * constant(self._yaw_column, moment)
        return clip(u, 0.0, u_max)  # rounding only

    def _share_that_fits(self, tilt: Array, column: Array) -> Array:
        """Largest share f of roll and pitch, at most 1, for which some T keeps each f tilt_i + T column_i in 0..u_max.

        That is T between the largest of -f tilt_i / column_i and the smallest of (u_max - f tilt_j) / column_j.
        """
        xp = namespace(tilt)
        needs = tilt / column
        over = xp.max((needs - xp.min(needs, axis=-1)[..., None]) * column, axis=-1) / self._u_max
        return 1.0 / xp.maximum(over, 1.0 + 0 * over)

    def _nearest_thrust(self, thrust: Array, yaw: Array, intercepts: Array) -> Array:
        """Collective thrust nearest to what is asked for, at any yaw moment between 0 and ``yaw`` in N m.

        The rotors' limits bound a polygon in the plane of (tau_z, T); its extremes in T are at its corners.
        """
        xp = namespace(intercepts)
        corners = (intercepts[..., self._first] - intercepts[..., self._second]) * constant(self._crossing, intercepts)
        corners = xp.concat([0 * yaw[..., None], yaw[..., None], corners], axis=-1)
        low, high = xp.minimum(yaw, 0 * yaw)[..., None], xp.maximum(yaw, 0 * yaw)[..., None]
        corners = xp.minimum(xp.maximum(corners, low), high)
        lines = intercepts[..., None, :] - corners[..., None] * constant(self._slopes, intercepts)
        low, high = xp.max(lines[..., :4], axis=-1), xp.min(lines[..., 4:], axis=-1)
        inside = low <= high + self._rounding
        lowest = xp.min(xp.where(inside, low, xp.inf + 0 * low), axis=-1)
        highest = xp.max(xp.where(inside, high, -xp.inf + 0 * high), axis=-1)
        return xp.minimum(xp.maximum(thrust, lowest), highest)
