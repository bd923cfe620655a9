"""The certificate: what is proved, measured or assumed about a network on a vehicle, each number with unit and norm.

Here: the product bounds of the network and the contraction of the thrust iteration. Everything in it follows from the
weights and the vehicle, so that a certificate is checked by writing it again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neural_lander.certificate.contraction import contraction_factor, iterations_for, thrust_direction
from neural_lander.certificate.norms import network_bounds
from neural_lander.errors import UserError
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle

FORMAT_VERSION = 1
TOLERANCE = 1e-4  # of the weight: the accuracy of the thrust that iterations are counted for, below accelerometer noise
AGREEMENT = 1e-9  # relative difference of recomputed numbers: another LAPACK rounds differently
EUCLIDEAN = "Euclidean norm in and out"
METHOD = "product of float64 singular values of the exported weights"


def network_sha256(network: ReluNetwork) -> str:
    """Hash of the input's name, every weight and bias, and the clipping range, with their shapes."""
    digest = hashlib.sha256(network.feature_name.encode())
    for values in (*network.weights, *network.biases, network.state_low, network.state_high):
        array = np.ascontiguousarray(values, dtype="<f4")
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def certify(network: ReluNetwork, vehicle: Vehicle) -> dict[str, Any]:
    """The certificate of a network on a vehicle as JSON values."""
    bounds = network_bounds(network)
    factor = contraction_factor(bounds, vehicle)
    thrust_range = 4 * vehicle.thrust_coefficient * vehicle.u_max
    direction = float(np.linalg.norm(thrust_direction(vehicle)))
    unit_mixed = "N per SI unit of the input"
    entries = {
        "lipschitz_total": _proved(bounds.total, unit_mixed, METHOD, "mixed units: m, m/s, 1, N"),
        "lipschitz_state": _proved(bounds.state, unit_mixed, METHOD, "mixed units: m, m/s, 1"),
        "lipschitz_height": _proved(bounds.height, "N/m", METHOD),
        "lipschitz_rotor_thrust": _proved(bounds.rotor_thrust, "N/N", METHOD, "over (T_1..T_4)"),
        "lipschitz_rotor_speed_squared": _proved(
            bounds.rotor_thrust * vehicle.thrust_coefficient, "N s^2/rad^2", f"{METHOD}, times c_T", "L_u over u = n^2"
        ),
        "lipschitz_collective": _proved(
            bounds.collective, "N/N", f"{METHOD}, first layer folded with (1,1,1,1)/4", "no rotor saturated"
        ),
        "thrust_column": _proved(direction, "N/N", "|c_T B0^-1 e_1| of the vehicle profile"),
        "contraction_factor": _proved(
            factor, "1", "|c_T B0^-1 e_1| times lipschitz_rotor_thrust", "any rotors saturated"
        ),
        "attitude_and_torque_held": {
            "value": True,
            "unit": "1",
            "norm": "none",
            "status": "assumed",
            "how": "R_d and tau_d are fixed within the thrust iteration, and allocation comes once, after it",
        },
        "rotor_speed_max": {
            "value": vehicle.rotor_speed_max,
            "unit": "rad/s",
            "norm": "none",
            "status": "assumed",
            "how": "vehicle profile; it sets the range that iterations are counted from",
        },
    }
    if factor < 1:
        entries["iterations_to_tolerance"] = _proved(
            iterations_for(TOLERANCE * vehicle.weight, factor, thrust_range),
            "1",
            f"Banach: to {TOLERANCE:g} of the weight from anywhere between zero and full thrust",
            norm="absolute value of the collective thrust",
        )
    return {
        "format": "neural-lander-certificate",
        "format_version": FORMAT_VERSION,
        "network_sha256": network_sha256(network),
        "vehicle_sha256": vehicle.sha256,
        "vehicle_name": vehicle.name,
        "contracts": factor < 1,
        "entries": entries,
    }


def check_certificate(document: Mapping[str, Any], network: ReluNetwork, vehicle: Vehicle, source: str) -> None:
    """Refuse a certificate that is not the one of this network and vehicle.

    Every entry is computed again; ``source`` is named in errors.

    Raises
    ------
    UserError
        On another version, other hashes, or numbers that differ.
    """
    if not isinstance(document, Mapping) or document.get("format") != "neural-lander-certificate":
        raise UserError(f"{source} is not a certificate: run 'neural-lander train' again")
    if document.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{source} has certificate version {document.get('format_version')!r}, this program reads {FORMAT_VERSION}"
        )
    fresh = certify(network, vehicle)
    for key, what in (("network_sha256", "weights"), ("vehicle_sha256", "vehicle")):
        if document.get(key) != fresh[key]:
            raise UserError(
                f"{source} was made for another {what} ({key} differs): the bundle must not fly; train it again"
            )
    difference = _difference(document, fresh)
    if difference:
        raise UserError(
            f"{source} does not follow from the weights: {difference}; the bundle must not fly; train it again"
        )


def _difference(stored: Any, fresh: Any, where: str = "certificate") -> str:
    """First place where two documents differ beyond rounding, or nothing."""
    if isinstance(fresh, Mapping):
        if not isinstance(stored, Mapping) or set(stored) != set(fresh):
            return f"{where} has other entries"
        return next(filter(None, (_difference(stored[k], fresh[k], f"{where}.{k}") for k in fresh)), "")
    if isinstance(fresh, float):
        number = isinstance(stored, (int, float)) and not isinstance(stored, bool)
        same = number and math.isclose(stored, fresh, rel_tol=AGREEMENT)
    else:
        same = type(stored) is type(fresh) and stored == fresh
    return "" if same else f"{where} is {stored!r}, recomputed {fresh!r}"


def _proved(value: float, unit: str, how: str, remark: str = "", norm: str = EUCLIDEAN) -> dict[str, Any]:
    entry = {"value": value, "unit": unit, "norm": norm, "status": "proved", "how": how}
    return {**entry, "remark": remark} if remark else entry
