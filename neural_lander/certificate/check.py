"""Check a bundle's certificate by NumPy and the standard library: ``python -m neural_lander.certificate.check PATH``.

Nothing that wrote the bundle is trusted. Hashes are computed again, and every proved number follows here from weights,
vehicle profile and multipliers alone. With F the first layer folded with the inputs a bound is about, and t >= 0,

    rho |x_0|^2 + sum_k 2 t_k . x_k (x_k - W_k x_(k-1)) - |W_L x_(L-1)|^2 >= 0 for all x,   W_1 = F

proves |df_a| <= sqrt(rho) |dx_0|, since a ReLU's slopes lie in [0, 1] (LipSDP-Neuron, Fazlyab et al. 2019), whatever
the biases. The form is shown positive definite by a Cholesky factorisation that leaves room for rounding (Rump 2006).
What flies clips its inputs to the network's state range and to the certificate's range of rotor thrusts; neurons that
no input within activates, by interval arithmetic, are left out.
"""

import hashlib
import json
import math
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.certificate.check_tracking import tracking_problems

FORMAT_VERSION = 5
FILES = ("residual.safetensors", "bundle.json", "vehicle.toml", "certificate.json")
ROTORS = 4
ROUNDING = 1e-13  # relative, of products of a few float64 numbers and of singular values of matrices this small
ROUND_UP = 1 + 1e-12  # what whoever writes a certificate adds to products of norms and columns
FINE = 1e-3  # of the weight: an iteration that is counted to no finer a thrust promises nothing
MOST_ITERATIONS = 1000  # that an iteration may promise: a control step has time for no more, even of a small network
VEHICLE_NUMBERS = {
    "mass": "kg", "rotor_radius": "m", "thrust_coefficient": "N s^2/rad^2", "torque_ratio": "m",
    "rotor_speed_max": "rad/s", "motor_time_constant": "s", "inertia": "kg m^2", "rotor_positions": "m",
    "rotor_directions": "1", "gear_points": "m",
}  # fmt: skip
PATTERNS = [p for size in range(ROTORS, 0, -1) for p in combinations(range(ROTORS), size)]
"""Rotors that follow the collective thrust while the others are saturated."""


def pattern_name(pattern: tuple[int, ...]) -> str:
    """Entry of the bound along collective thrust where these rotors follow it."""
    rotors = "".join(str(i + 1) for i in pattern)
    return "lipschitz_collective" if len(pattern) == ROTORS else f"lipschitz_collective_rotors_{rotors}"


NORM = "Euclidean norm in and out"
SLOPES = {"lipschitz_total": "N per SI unit of the input", "lipschitz_state": "N per SI unit of the input"}
SLOPES |= {"lipschitz_height": "N/m", "lipschitz_rotor_thrust": "N/N", **{pattern_name(p): "N/N" for p in PATTERNS}}
HELD = ("true or false", "none", "assumed")
LABELS = {
    **{name: (unit, NORM, "proved") for name, unit in SLOPES.items()},
    **{f"{name}_reached": (unit, NORM, "measured") for name, unit in SLOPES.items()},
    "lipschitz_rotor_speed_squared": ("N s^2/rad^2", NORM, "proved"),
    "thrust_column": ("N/N", NORM, "proved"),
    "contraction_factor": ("1", "absolute value", "proved"),
    "contraction_factor_reached": ("1", "absolute value", "measured"),
    "iterations_to_tolerance": ("1", "absolute value", "proved"),
    "thrust_tolerance": ("N", "absolute value", "assumed"),
    "rotor_thrust_low": ("N", "none", "assumed"),
    "rotor_thrust_high": ("N", "none", "assumed"),
    "rotor_speed_max": ("rad/s", "none", "assumed"),
    "attitude_and_torque_held": HELD,
}
"""Unit, norm and status of every number a certificate may hold."""
OPTIONAL = {name for name in LABELS if name.endswith("_reached") or name == "iterations_to_tolerance"}


def input_maps(inputs: int, direction: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs each slope is about as columns (inputs, m); ``direction`` (4,) is c_T B0^-1 e_1."""
    eye = np.eye(inputs)
    maps = {"lipschitz_total": eye, "lipschitz_state": eye[:, :-ROTORS], "lipschitz_height": eye[:, :1]}
    maps["lipschitz_rotor_thrust"] = eye[:, -ROTORS:]
    for pattern in PATTERNS:
        maps[pattern_name(pattern)] = np.zeros((inputs, 1))
        for i in pattern:
            maps[pattern_name(pattern)][inputs - ROTORS + i] = direction[i]
    return maps


def norm_of(W: np.ndarray) -> float:
    """Largest singular value; 0 of a layer without neurons."""
    return float(np.linalg.norm(W, 2)) if W.size else 0.0


def product_bound(F: np.ndarray, rest: list[np.ndarray]) -> float:
    """Product of spectral norms."""
    return math.prod(norm_of(W) for W in (F, *rest)) * (1 + ROUNDING)


def without_silent(
    W: list[np.ndarray], b: list[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases without the neurons that no input within low..high activates, by interval arithmetic.

    Raises OverflowError where numbers on the way are too large for it to say anything.
    """
    W, b = list(W), list(b)
    for k in range(len(W) - 1):
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(W[k]) @ np.maximum(np.abs(low), np.abs(high)) + np.abs(b[k])
            middle, half = W[k] @ (low + high) / 2 + b[k], np.abs(W[k]) @ (high - low) / 2 + 1e-12 * size
        if not np.all(size < 1e300) or not np.all(half < 1e300):
            raise OverflowError(f"what goes into the neurons of layer {k} may be too large to compute with")
        kept = middle + half > 0
        W[k], b[k], W[k + 1] = W[k][kept], b[k][kept], W[k + 1][:, kept]
        low, high = np.maximum(middle - half, 0.0)[kept], np.maximum(middle + half, 0.0)[kept]
    return W, b


def stacked(layers: list[np.ndarray]) -> np.ndarray:
    """What goes into each neuron and what comes out in the end, as rows over (x_0, all neurons)."""
    rows = np.zeros((sum(len(W) for W in layers), sum(W.shape[1] for W in layers)))
    row = column = 0
    for W in layers:
        rows[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    return rows


def proves(t: Any, bound: float, F: np.ndarray, rest: list[np.ndarray]) -> bool:
    """Whether the multipliers t (h,) of all hidden neurons prove that the network's slope is at most ``bound``."""
    norms = [norm_of(W) or 1.0 for W in (F, *rest)]  # any positive numbers would do: ReLU is homogeneous
    rows = stacked([W / norm for W, norm in zip((F, *rest), norms, strict=True)])
    t, n, outputs = np.asarray(t, dtype=np.float64), F.shape[1], len(rest[-1])
    if t.shape != (len(rows) - outputs,) or not np.all(np.isfinite(t)) or not np.all(t > 0):
        return False
    rho = (bound / math.prod(norms)) ** 2
    M = np.diag(np.concatenate([np.full(n, rho), 2 * t]))
    M[n:] -= t[:, None] * rows[:-outputs]
    M[:, n:] -= (t[:, None] * rows[:-outputs]).T
    diagonal = np.diag(M).copy()  # before anything cancels, so that each entry of the scaled M errs by a few u at most
    M -= rows[-outputs:].T @ rows[-outputs:]
    if not np.all(np.isfinite(M)) or not np.all(diagonal > 0):
        return False
    M = M / np.sqrt(diagonal[:, None] * diagonal) - 1e-15 * len(M) ** 2 * np.eye(len(M))
    try:
        np.linalg.cholesky(M)  # completes only where the exact M is positive definite: size^2 u covers its rounding
    except np.linalg.LinAlgError:
        return False
    return True


def slope_at(x: np.ndarray, E: np.ndarray, W: list[np.ndarray], b: list[np.ndarray]) -> float:
    """|df_a/dx E| at one input x."""
    J = W[0] @ E
    for k in range(1, len(W)):
        z = W[k - 1] @ x + b[k - 1]
        x, J = np.maximum(z, 0), W[k] @ ((z > 0)[:, None] * J)
    return float(np.linalg.norm(J, 2))


def problems(contents: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with the four files of a bundle, by name; nothing where all that is claimed is true."""
    try:
        info = json.loads(contents["bundle.json"], object_pairs_hook=_once)
        for name in (name for name in FILES if name != "bundle.json"):
            if info["files"][name] != hashlib.sha256(contents[name]).hexdigest():
                yield f"{name} was changed after it was written: its hash differs"
        rest = json.dumps({key: value for key, value in info.items() if key != "sha256"}, sort_keys=True)
        if info["sha256"] != hashlib.sha256(rest.encode()).hexdigest():
            yield "bundle.json was changed after it was written: its hash differs"
        document = json.loads(contents["certificate.json"], object_pairs_hook=_once)
        if document["format"] != "neural-lander-certificate" or document["format_version"] != FORMAT_VERSION:
            yield f"certificate.json is not a certificate of version {FORMAT_VERSION}"
            return
        profile = tomllib.loads(contents["vehicle.toml"].decode())
        numbers = [np.asarray(profile[name]["value"], dtype="<f8") for name in VEHICLE_NUMBERS]
        for name, unit in VEHICLE_NUMBERS.items():
            if profile[name]["unit"] != unit:
                yield f"vehicle.toml gives {name} in {profile[name]['unit']!r}, expected {unit!r}"
        if document["vehicle_sha256"] != hashlib.sha256(b"".join(n.tobytes() for n in numbers)).hexdigest():
            yield "certificate.json was made for another vehicle: vehicle_sha256 differs"
        if document["vehicle_name"] != profile["name"]:
            yield f"certificate.json names the vehicle {document['vehicle_name']!r}, not {profile['name']!r}"
        tensors = read_tensors(contents["residual.safetensors"])
        depth = (len(tensors) - 2) // 2
        names = [*(f"W{k}" for k in range(depth)), *(f"b{k}" for k in range(depth)), "state_low", "state_high"]
        if misshapen := _misshapen(tensors, names):
            yield misshapen
            return
        digest = hashlib.sha256(info["network"]["features"].encode())
        for name in names:
            digest.update(repr(tensors[name].shape).encode() + tensors[name].tobytes())
        if document["network_sha256"] != digest.hexdigest():
            yield "certificate.json was made for another network: network_sha256 differs"
        for entry in document.get("tracking", []):
            mass, L_u = profile["mass"]["value"], document["entries"]["lipschitz_rotor_thrust"]["value"]
            yield from tracking_problems(entry, mass, L_u)
        yield from false_claims(document, {name: tensors[name].astype(np.float64) for name in names}, profile)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        yield f"the bundle is malformed: {type(error).__name__}: {error}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object none of whose keys comes twice: readers differ in which of them they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key comes twice among {sorted(found)[:5]}")
    return found


def _misshapen(tensors: Mapping[str, np.ndarray], names: list[str]) -> str:
    """What keeps the tensors from being a network of three forces in finite numbers; empty where nothing does."""
    depth = (len(names) - 2) // 2
    if tensors.keys() != set(names) or depth < 1:
        return f"residual.safetensors holds {sorted(tensors)}, expected {sorted(names)}"
    sizes = [len(tensors["state_low"]) + ROTORS, *(len(tensors[f"b{k}"]) for k in range(depth))]
    expected = {f"W{k}": (sizes[k + 1], sizes[k]) for k in range(depth)} | {
        f"b{k}": (sizes[k + 1],) for k in range(depth)
    }
    expected |= dict.fromkeys(("state_low", "state_high"), (sizes[0] - ROTORS,))
    for name, shape in expected.items():
        if tensors[name].shape != shape or sizes[-1] != 3:
            return f"{name} of residual.safetensors has shape {tensors[name].shape}, expected {shape} and 3 outputs"
        if not np.all(np.isfinite(tensors[name])):
            return f"{name} of residual.safetensors is not finite"
    return ""


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file: 8 bytes of header length, a JSON header, then raw little-endian data."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = {
        name: t for name, t in json.loads(data[8:start], object_pairs_hook=_once).items() if name != "__metadata__"
    }
    if any(t["dtype"] != "F32" for t in header.values()):
        raise ValueError("weights are not all float32")
    spans = {name: slice(*(start + o for o in t["data_offsets"])) for name, t in header.items()}
    return {name: np.frombuffer(data[spans[name]], "<f4").reshape(t["shape"]) for name, t in header.items()}


def false_claims(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], profile: Any) -> Iterator[str]:
    """Claims of a certificate that do not follow from the weights and the vehicle profile."""
    entries, depth = document["entries"], (len(tensors) - 2) // 2
    W, b = [tensors[f"W{k}"] for k in range(depth)], [tensors[f"b{k}"] for k in range(depth)]
    if missing := LABELS.keys() - OPTIONAL - entries.keys():
        yield f"{min(missing)} is missing"
        return
    for name, entry in entries.items():
        if (entry["unit"], entry["norm"], entry["status"]) != LABELS.get(name):
            yield f"{name} is labelled {entry['unit']}, {entry['norm']}, {entry['status']}: expected {LABELS.get(name)}"
        number = isinstance(entry["value"], bool if LABELS.get(name) == HELD else (int, float))
        if not number or not 0 <= entry["value"] <= sys.float_info.max or not entry["source"]:
            yield f"{name} = {entry['value']!r} is no number of at least 0 with a source"
            return
    value = {name: entry["value"] for name, entry in entries.items()}

    c_T, torque_ratio, n_max = (profile[k]["value"] for k in ("thrust_coefficient", "torque_ratio", "rotor_speed_max"))
    x, y, _ = np.asarray(profile["rotor_positions"]["value"], dtype=np.float64).T
    turns = np.asarray(profile["rotor_directions"]["value"], dtype=np.float64)
    direction = np.linalg.inv(np.stack([np.ones(ROTORS), y, -x, -turns * torque_ratio]))[:, 0]  # c_T B0^-1 e_1
    column, full = float(np.linalg.norm(direction)), c_T * n_max**2
    low = np.concatenate([tensors["state_low"], np.full(ROTORS, value["rotor_thrust_low"])])
    high = np.concatenate([tensors["state_high"], np.full(ROTORS, value["rotor_thrust_high"])])
    if not np.all(low < high):
        yield "rotor_thrust_low and rotor_thrust_high, or state_low and state_high, leave no input between them"
        return
    alive, _ = without_silent(W, b, low, high)

    for name, E in input_maps(W[0].shape[1], direction).items():
        t, F, rest = document["multipliers"].get(name), alive[0] @ E, alive[1:]
        if not product_bound(F, rest) <= value[name] and (t is None or not proves(t, value[name], F, rest)):
            yield f"{name} = {value[name]!r} does not follow from the weights"
        if (reached := value.get(f"{name}_reached")) is not None:
            at = np.asarray(document["reached_at"][name], dtype=np.float64)
            saturated = [i for i in range(len(at) - ROTORS, len(at)) if "collective" in name and not E[i].any()]
            inside = np.all(low <= at) and np.all(at <= high) and all(at[i] in (low[i], high[i]) for i in saturated)
            if not inside or not reached <= slope_at(at, E, W, b) * (1 + ROUNDING):
                yield f"{name}_reached = {reached!r} is not the slope at the input that it names"

    patterns = [pattern_name(p) for p in PATTERNS]
    L_u = value["lipschitz_rotor_thrust"]
    shown = min(column * L_u, max(value[name] for name in patterns))
    found = max(value.get(f"{name}_reached", 0.0) for name in patterns)
    tolerance, factor = value["thrust_tolerance"], value["contraction_factor"]
    spread = value["rotor_thrust_high"] - value["rotor_thrust_low"]
    start = 2 * spread * L_u  # |T_0 - T*| <= L_u |u_0 - u*|, both clipped to this range in each of four rotors
    count = value.get("iterations_to_tolerance")
    for name, true in {
        "thrust_column": value["thrust_column"] >= column * (1 + ROUNDING),
        "lipschitz_rotor_speed_squared": value["lipschitz_rotor_speed_squared"] >= L_u * c_T * (1 + ROUNDING),
        "contraction_factor": factor >= shown * (1 + ROUNDING),
        "contraction_factor_reached": value.get("contraction_factor_reached", 0.0) <= found,
        "contracts": document["contracts"] is (factor < 1) and (count is not None) is (factor < 1),
        "iterations_to_tolerance": count is None
        or (isinstance(count, int) and 1 <= count <= MOST_ITERATIONS and factor**count * start <= tolerance),
        "thrust_tolerance": 0 < tolerance <= FINE * profile["mass"]["value"] * 9.81,
        "rotor_speed_max": value["rotor_speed_max"] == n_max,
        "rotor_thrust_high": value["rotor_thrust_high"] <= full * (1 + ROUNDING),
        "attitude_and_torque_held": value["attitude_and_torque_held"] is True,
    }.items():
        if not true:
            yield f"{name} = {value.get(name, document.get(name))!r} does not follow from the weights and the vehicle"


def main(arguments: list[str]) -> int:
    """Print VALID or what fails; exit code 0 or 1."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m neural_lander.certificate.check BUNDLE\n")
        return 2
    try:
        found = list(problems({name: (Path(arguments[0]) / name).read_bytes() for name in FILES}))
    except OSError as error:
        found = [f"{error.filename} cannot be read: {error.strerror}"]
    sys.stdout.write("\n".join(f"INVALID: {text}" for text in found) + "\n" if found else f"VALID: {arguments[0]}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
