"""What stands behind a certificate: for each slope a bound with multipliers that prove it, and the steepest found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neural_lander.certificate.check_slopes import (
    PATTERNS,
    ROUND_UP,
    input_maps,
    pattern_name,
    product_bound,
    rounded,
    thrust_direction,
    without_silent,
)
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.steepest import InputBox, slopes, steepest
from neural_lander.residual.features import ROTORS
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle

CONTRACTS = 0.95  # largest contraction factor that is sought where a range of thrusts must be found; 90 passes
LEAST_RANGE = 0.25  # of the way from hover to no thrust and to all of it: less lands nothing, guess

Solver = Callable[[np.ndarray, list[np.ndarray]], tuple[float, np.ndarray | None]]
"""Of LipSDP: first layer and the others -> bound, and the multipliers that prove it or None."""


@dataclass(frozen=True, eq=False)
class Slope:
    """One slope of f_a_hat, Euclidean norms."""

    bound: float
    """Proved: by ``multipliers``, else by the product of layer norms."""
    multipliers: np.ndarray | None = None  # (h,)
    """Of every hidden neuron that some input activates, first layer first."""
    reached: float | None = None
    """Measured, at the input ``at``."""
    at: np.ndarray | None = None  # (n + 4,)
    """State in the units of the features, rotor thrusts in N."""


@dataclass(frozen=True)
class ThrustRange:
    """Rotor thrusts in N that the network is asked for; what flies clips them."""

    low: float
    high: float


def full_range(vehicle: Vehicle) -> ThrustRange:
    """All that the rotors give."""
    return ThrustRange(0.0, vehicle.full_rotor_thrust)


def product_slopes(network: ReluNetwork, vehicle: Vehicle) -> dict[str, Slope]:
    """Product bounds alone, all rotor thrusts: milliseconds."""
    W, b, low, high = network_layers(network, full_range(vehicle))
    maps = maps_of(W, vehicle)
    W, found = without_silent(W, b, low, high)[0], dict[str, Slope]()
    for name, E in maps.items():
        bound = product_bound(W[0] @ E, W[1:]) * ROUND_UP + 2 * rounded(W[0], E, W[1:])
        found[name] = Slope(bound + _misdirected(name, found, vehicle))
    return found


def _misdirected(name: str, found: Mapping[str, Slope], vehicle: Vehicle) -> float:
    """By how much a slope along collective thrust may be larger than along its direction as computed."""
    _, off = thrust_direction(vehicle.rotor_positions, vehicle.rotor_directions)
    return 2 * off * found["lipschitz_rotor_thrust"].bound if "collective" in name else 0.0


def proved_slopes(
    network: ReluNetwork,
    vehicle: Vehicle,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
    solve: Solver = lipschitz_bound,
    thrusts: ThrustRange | None = None,
) -> dict[str, Slope]:
    """LipSDP bounds and what a search reaches: some 6 s at the default size.

    A pattern of saturated rotors that is proved to lie below what another reaches is not searched.

    Parameters
    ----------
    seed
        Of the search.
    progress
        Called with the fraction done in 0..1.
    solve
        Of LipSDP: ``lipsdp.lipschitz_bound``, or one of ``lipsdp_cvxpy``. What it returns is checked.
    thrusts
        That the network is asked for; default all.
    """
    from neural_lander.certificate.cells import climb  # SciPy, which what flies does without

    W, b, low, high = network_layers(network, thrusts or full_range(vehicle))
    maps, (alive, _) = maps_of(W, vehicle), without_silent(W, b, low, high)
    done, steps = 0, 2 * len(maps)

    def step() -> None:
        nonlocal done
        done += 1
        progress(done / steps)

    found: dict[str, Slope] = {}
    for name, E in maps.items():
        bound, t = solve(alive[0] @ E, alive[1:])
        found[name] = Slope(bound + 2 * rounded(alive[0], E, alive[1:]) + _misdirected(name, found, vehicle), t)
        step()
    starts: list[np.ndarray] = []  # what is steep along some inputs is a start for more of them
    worst = 0.0  # of all patterns of saturated rotors: the contraction factor
    for name in sorted(maps, key=lambda name: (maps[name].shape[1], -found[name].bound)):
        E, pattern = maps[name], "collective" in name
        if not pattern or found[name].bound > worst:
            held = [i for i in range(len(low) - ROTORS, len(low)) if pattern and not E[i].any()]
            domain = InputBox(low, high, tuple(held))
            _, at = steepest(W, b, E, domain, seed, starts)
            at = climb(W, b, E, domain, at)
            reached = float(slopes(W, b, E, at[None])[0])
            found[name] = replace(found[name], reached=reached, at=at)
            starts.append(at)
            worst = max(worst, reached) if pattern else worst
        step()
    for name in ("lipschitz_state", "lipschitz_height"):  # parts of the whole input, which was searched last
        at = climb(W, b, maps[name], InputBox(low, high), starts[-1])
        reached = float(slopes(W, b, maps[name], at[None])[0])
        if reached > (found[name].reached or 0.0):
            found[name] = replace(found[name], reached=reached, at=at)
    return found


def contracting_range(network: ReluNetwork, vehicle: Vehicle, solve: Solver = lipschitz_bound) -> ThrustRange | None:
    """The widest range of rotor thrusts around hover that a contraction factor below 1 is proved for, to 1 %.

    None where not even the narrowest that a vehicle can be landed with has one.
    """
    hover, full = vehicle.weight / ROTORS, full_range(vehicle).high

    def reach(share: float) -> ThrustRange:
        return ThrustRange(hover * (1 - share), hover + share * (full - hover))

    def contracts(share: float) -> bool:
        W, b, low, high = network_layers(network, reach(share))
        maps = maps_of(W, vehicle)
        W = without_silent(W, b, low, high)[0]
        layers = ((W[0] @ maps[pattern_name(p)], W[1:]) for p in PATTERNS)
        return all(min(product_bound(F, rest), solve(F, rest)[0]) < CONTRACTS for F, rest in layers)

    if not contracts(LEAST_RANGE):
        return None
    low, high = LEAST_RANGE, 1.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if contracts(middle) else (low, middle)
    return reach(low)


def maps_of(W: list[np.ndarray], vehicle: Vehicle) -> dict[str, np.ndarray]:
    """The inputs of layers W that each slope is about."""
    return input_maps(W[0].shape[1], thrust_direction(vehicle.rotor_positions, vehicle.rotor_directions)[0])


def network_layers(
    network: ReluNetwork, thrusts: ThrustRange
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray]:
    """Weights, biases, and the ends of the inputs, in float64."""
    low, high = _float64([network.state_low, network.state_high])
    low, high = (np.concatenate([e, np.full(ROTORS, t)]) for e, t in ((low, thrusts.low), (high, thrusts.high)))
    return _float64(network.weights), _float64(network.biases), low, high


def _float64(arrays: tuple[np.ndarray, ...] | list[np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(values, dtype=np.float64) for values in arrays]
