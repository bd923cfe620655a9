"""Check a bundle's certificate by NumPy and the standard library: ``python -m neural_lander.certificate.check PATH``.

Nothing that wrote the bundle is trusted. Hashes are computed again (``check_files``), and every proved number follows
here from weights, vehicle profile and multipliers alone: the slopes of the network by ``check_slopes``, the tracking
bound by ``check_tracking``, the rest below. These four files are the whole checker.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.certificate.check_files import (
    FILES,
    FORMAT_VERSION,
    GRAVITY,
    SCHEMA,
    labels,
    numbers,
    read_json,
    read_network,
    read_profile,
    strange_entries,
    strange_files,
    strange_network,
    strange_vehicle,
)
from neural_lander.certificate.check_slopes import (
    PATTERNS,
    ROTORS,
    ROUNDING,
    input_maps,
    pattern_name,
    product_bound,
    proves,
    rounded,
    slope_at,
    thrust_direction,
    without_silent,
)
from neural_lander.certificate.check_tracking import asked_sha256, tracking_problems

FINEST, FINE = 1e-4, 1e-3  # of the weight: what flies iterates to the first; counted to less, it promises nothing
MOST_GAINS = 10  # that a closed loop is bounded at: more take the checker long
MOST_ITERATIONS = 1000  # that an iteration may promise: a control step has time for no more, even of a small network

L_U = "lipschitz_rotor_thrust"
ENTRIES = SCHEMA["properties"]["entries"]
LABELS = labels(ENTRIES)
"""Unit, norm and status of every number a certificate may hold."""


def problems(contents: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with the four files of a bundle, by name; nothing where all that is claimed is true."""
    try:
        info = read_json(contents["bundle.json"])
        yield from strange_files(info, contents)
        document = read_json(contents["certificate.json"])
        if document["format"] != "neural-lander-certificate" or repr(document["format_version"]) != str(FORMAT_VERSION):
            yield f"certificate.json is not a certificate of version {FORMAT_VERSION}"
            return
        profile, tensors = read_profile(contents["vehicle.toml"]), read_network(contents["residual.safetensors"])
        yield from strange_vehicle(document, info, profile)
        yield from strange_network(document, info, tensors)
        loops = document["tracking"]
        if (
            not isinstance(loops, list)
            or len({t["gains_sha256"] for t in loops}) != len(loops)
            or len(loops) > MOST_GAINS
        ):
            yield f"tracking is no list of at most {MOST_GAINS} bounds, each for other gains"
            return
        yield from false_claims(document, {name: t.astype(np.float64) for name, t in tensors.items()}, profile)
        for entry in loops:
            yield from tracking_problems(entry, profile, asked_sha256(document, info["domain"]))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        yield f"the bundle is malformed: {type(error).__name__}: {error}"


def false_claims(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], profile: Any) -> Iterator[str]:
    """Claims of a certificate that do not follow from the weights and the vehicle profile."""
    entries, depth = document["entries"], (len(tensors) - 2) // 2
    W, b = [tensors[f"W{k}"] for k in range(depth)], [tensors[f"b{k}"] for k in range(depth)]
    if strange := list(strange_entries(entries, ENTRIES)):
        yield from strange
        return
    value = {name: entry["value"] for name, entry in entries.items()}

    c_T, n_max = (profile[k]["value"] for k in ("thrust_coefficient", "rotor_speed_max"))
    direction, off = thrust_direction(*(profile[k]["value"] for k in ("rotor_positions", "rotor_directions")))
    column, full = float(np.linalg.norm(direction)) + off, c_T * n_max**2
    low = np.concatenate([tensors["state_low"], np.full(ROTORS, value["rotor_thrust_low"])])
    high = np.concatenate([tensors["state_high"], np.full(ROTORS, value["rotor_thrust_high"])])
    if not np.all(low < high):
        yield "rotor_thrust_low and rotor_thrust_high, or state_low and state_high, leave no input between them"
        return
    alive, _ = without_silent(W, b, low, high)
    maps = input_maps(W[0].shape[1], direction)

    def at_most(name: str, bound: float) -> bool:
        """Whether the product of norms or the multipliers prove a slope to be no more."""
        E, t = maps[name], document["multipliers"].get(name)
        F, rest = alive[0] @ E, alive[1:]
        bound -= rounded(alive[0], E, rest) + ("collective" in name) * off * value[L_U]
        return product_bound(F, rest) <= bound or (t is not None and proves(numbers(t), bound, F, rest))

    for name, E in maps.items():
        if not at_most(name, value[name]):
            yield f"{name} = {value[name]!r} does not follow from the weights"
        if (reached := value.get(f"{name}_reached")) is not None:
            at = numbers(document["reached_at"][name])
            saturated = [i for i in range(len(at) - ROTORS, len(at)) if "collective" in name and not E[i].any()]
            inside = np.all(low <= at) and np.all(at <= high) and all(at[i] in (low[i], high[i]) for i in saturated)
            if not inside or not reached <= slope_at(at, E, W, b) * (1 + ROUNDING):
                yield f"{name}_reached = {reached!r} is not the slope at the input that it names"

    patterns = [pattern_name(p) for p in PATTERNS]
    found = max(value.get(f"{name}_reached", 0.0) for name in patterns)
    tolerance, factor = value["thrust_tolerance"], value["contraction_factor"]
    spread = 2 * (value["rotor_thrust_high"] - value["rotor_thrust_low"])  # |u_0 - u*| of four rotors, both in there
    count, one = value.get("iterations_to_tolerance"), 1 + ROUNDING

    def follows(name: str, bound: float) -> bool:
        """Whether a slope is at most ``bound`` by what is claimed of it, or by what proves that as well."""
        return value[name] <= bound or at_most(name, bound)

    for name, true in {
        "thrust_column": value["thrust_column"] >= column * one,
        "lipschitz_rotor_speed_squared": follows(L_U, value["lipschitz_rotor_speed_squared"] / (c_T * one)),
        "lipschitz_product": value["lipschitz_product"] >= product_bound(W[0], W[1:]),
        "contraction_factor": follows(L_U, factor / (column * one)) or all(follows(p, factor / one) for p in patterns),
        "contraction_factor_reached": value.get("contraction_factor_reached", 0.0) <= found,
        "contracts": document["contracts"] is (factor < 1) and (count is not None) is (factor < 1),
        "iterations_to_tolerance": count is None
        or (
            count % 1 == 0
            and 1 <= count <= MOST_ITERATIONS
            and follows(L_U, tolerance / max(factor**count * spread * one, 1e-300))  # |T_0 - T*| <= L_u |u_0 - u*|
        ),
        "thrust_tolerance": FINEST / one <= tolerance / (profile["mass"]["value"] * GRAVITY) <= FINE,
        "rotor_speed_max": value["rotor_speed_max"] == n_max,
        "rotor_thrust_high": value["rotor_thrust_high"] <= full * (1 + ROUNDING),
        "attitude_and_torque_held": value["attitude_and_torque_held"] is True,
    }.items():
        if not true:
            yield f"{name} = {value.get(name, document.get(name))!r} does not follow from the weights and the vehicle"


def main(arguments: list[str]) -> int:
    """Print VALID or what fails; exit code 0 or 1."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        sys.stderr.write("usage: python -m neural_lander.certificate.check BUNDLE\n")
        return 2
    try:
        found = list(problems({name: (Path(arguments[0]) / name).read_bytes() for name in FILES}))
    except OSError as error:
        found = [f"{error.filename} cannot be read: {error.strerror}"]
    for line in [f"INVALID: {text}" for text in found] or [f"VALID: {arguments[0]}"]:
        sys.stdout.write(line.encode("unicode_escape").decode() + "\n")  # whatever it names, it stays a line of ASCII
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
