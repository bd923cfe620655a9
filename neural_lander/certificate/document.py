"""The certificate: what is proved, measured or assumed about a network on a vehicle, each number with unit and norm.

``certificate.check`` says what each number means and whether it is true; ``certificate.schema.json`` is its form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neural_lander.certificate.check import LABELS
from neural_lander.certificate.check_files import FORMAT_VERSION
from neural_lander.certificate.check_slopes import (
    PATTERNS,
    ROUND_UP,
    norm_of,
    pattern_name,
    product_bound,
    thrust_direction,
)
from neural_lander.certificate.contraction import farthest_start, iterations_for
from neural_lander.certificate.evidence import (
    Slope,
    Solver,
    ThrustRange,
    contracting_range,
    full_range,
    product_slopes,
    proved_slopes,
)
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle

TOLERANCE = 1e-4  # of the weight: the accuracy of the thrust that iterations are counted for, below accelerometer noise
BY_PRODUCT = "product of the layers' spectral norms"
BY_LIPSDP = "LipSDP-Neuron, by the multipliers given"
BY_SEARCH = "steepest slope that a search found, at the input given"
ABOUT: Mapping[str, str] = {
    "lipschitz_total": "over the whole input",
    "lipschitz_state": "over the state at fixed rotor thrusts",
    "lipschitz_height": "over height alone",
    "lipschitz_rotor_thrust": "L_u: over the four rotor thrusts at a fixed state",
    **{
        pattern_name(p): "over collective thrust, "
        + ("no rotor saturated" if len(p) == 4 else f"only rotors {', '.join(str(i + 1) for i in p)} not saturated")
        for p in PATTERNS
    },
}


def certified_slopes(
    network: ReluNetwork,
    vehicle: Vehicle,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    solve: Solver = lipschitz_bound,
) -> tuple[dict[str, Slope], ThrustRange | None]:
    """Slopes over all rotor thrusts, or over the widest range that contracts where not all do; and that range.

    The range is None where the slopes hold for all of them. Parameters as of ``evidence.proved_slopes``.
    """
    slopes = proved_slopes(network, vehicle, seed, progress, solve)
    if certify(network, vehicle, slopes)["contracts"]:
        return slopes, None
    thrusts = contracting_range(network, vehicle, solve)
    return (slopes if thrusts is None else proved_slopes(network, vehicle, seed, progress, solve, thrusts)), thrusts


def certify(
    network: ReluNetwork,
    vehicle: Vehicle,
    slopes: Mapping[str, Slope] | None = None,
    tracking: Sequence[Mapping[str, Any]] = (),
    thrusts: ThrustRange | None = None,
) -> dict[str, Any]:
    """The certificate of a network on a vehicle as JSON values.

    Parameters
    ----------
    slopes
        What is known of each slope, as from ``evidence.proved_slopes``. Default: product bounds.
    tracking
        What was measured of the closed loop, as from ``tracking.measure_tracking``, for each choice of gains.
    thrusts
        Rotor thrusts that the slopes hold for, and that the network is then asked for; default all.
    """
    slopes = slopes or product_slopes(network, vehicle)
    thrusts = thrusts or full_range(vehicle)
    direction, off = thrust_direction(vehicle.rotor_positions, vehicle.rotor_directions)
    column, bound = float(np.linalg.norm(direction)) + off, {n: s.bound for n, s in slopes.items()}
    patterns = [pattern_name(p) for p in PATTERNS]
    worst = max(patterns, key=bound.__getitem__)
    general = column * bound["lipschitz_rotor_thrust"]
    factor = min(general, bound[worst]) * ROUND_UP
    tolerance = TOLERANCE * vehicle.weight
    start = farthest_start(bound["lipschitz_rotor_thrust"], thrusts.high - thrusts.low) * ROUND_UP
    numbers: dict[str, tuple[Any, str]] = {}
    for name, slope in slopes.items():
        how = BY_PRODUCT if slope.multipliers is None else BY_LIPSDP
        numbers[name] = (slope.bound, f"{ABOUT[name]}; {how}")
        if slope.reached is not None:
            numbers[f"{name}_reached"] = (slope.reached, f"{ABOUT[name]}; {BY_SEARCH}")
    layers = [W.astype(np.float64) for W in network.weights]
    norms, product = ", ".join(f"{norm_of(W):.4g}" for W in layers), product_bound(layers[0], layers[1:])
    numbers |= {
        "lipschitz_product": (product * ROUND_UP, f"of the layers' spectral norms: {norms}"),
        "lipschitz_rotor_speed_squared": (
            bound["lipschitz_rotor_thrust"] * vehicle.thrust_coefficient * ROUND_UP,
            "L_u over u = n^2: lipschitz_rotor_thrust times c_T",
        ),
        "thrust_column": (column * ROUND_UP, "|c_T B0^-1 e_1| of the vehicle profile"),
        "contraction_factor": (
            factor,
            f"of the thrust iteration: slope {ABOUT[worst]}, the largest of all patterns of saturated rotors"
            if bound[worst] < general
            else "of the thrust iteration: thrust_column times lipschitz_rotor_thrust, any rotors saturated",
        ),
        "thrust_tolerance": (tolerance, f"{TOLERANCE:g} of the weight, chosen: what the iterations are counted for"),
        "attitude_and_torque_held": (
            True,
            "R_d and tau_d are fixed within the thrust iteration, and allocation comes once, after it",
        ),
        "rotor_thrust_low": (
            thrusts.low,
            "thrusts are clipped to it before the network sees them, whose slope is 0 below",
        ),
        "rotor_thrust_high": (
            thrusts.high,
            "thrusts are clipped to it before the network sees them, whose slope is 0 above",
        ),
        "rotor_speed_max": (vehicle.rotor_speed_max, "vehicle profile"),
    }
    reached = [s.reached for n, s in slopes.items() if n in patterns and s.reached is not None]
    if reached:
        numbers["contraction_factor_reached"] = (
            max(reached),
            "steepest slope found over the patterns of saturated rotors, body z along the force",
        )
    if factor < 1:
        numbers["iterations_to_tolerance"] = (
            iterations_for(tolerance, factor, start),
            "to thrust_tolerance from any rotor thrusts: contraction_factor^k 2 L_u times their range (Banach)",
        )
    return {
        "format": "neural-lander-certificate",
        "format_version": FORMAT_VERSION,
        "network_sha256": network.sha256,
        "vehicle_sha256": vehicle.sha256,
        "vehicle_name": vehicle.name,
        "contracts": factor < 1,
        "entries": {name: _entry(name, *numbers[name]) for name in LABELS if name in numbers},
        "multipliers": {n: s.multipliers.tolist() for n, s in slopes.items() if s.multipliers is not None},
        "reached_at": {n: s.at.tolist() for n, s in slopes.items() if s.at is not None},
        "tracking": [dict(entry) for entry in tracking],
    }


def _entry(name: str, value: Any, source: str) -> dict[str, Any]:
    unit, norm, status = LABELS[name]
    return {"value": value, "unit": unit, "norm": norm, "status": status, "source": source}
