"""What the four files of a bundle hold, and whether they belong together: NumPy and the standard library alone."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.certificate.check_slopes import ROTORS

SCHEMA = json.loads(Path(__file__).with_name("certificate.schema.json").read_bytes())
FORMAT_VERSION, BUNDLE_VERSION = SCHEMA["properties"]["format_version"]["const"], 2
FEATURES = {
    "paper": "h v_x v_y v_z q_w q_x q_y q_z",
    "height-velocity": "h v_x v_y v_z",
    "heading": "h v_forward v_left v_z lean_forward lean_left",
    "paper-battery": "h v_x v_y v_z q_w q_x q_y q_z battery",
}
"""Inputs of a network before its four rotor thrusts."""
UNITS = {"h": "m", "v": "m/s", "q": "1", "lean": "1", "battery": "V", "T": "N"}
"""By the first word of an input's name."""
OUTPUT = "f_a, N, world"
GRAVITY = 9.81  # m/s^2
FILES = ("residual.safetensors", "bundle.json", "vehicle.toml", "certificate.json")
PARTS = {"value", "unit", "norm", "status", "source"}  # of an entry
VEHICLE_NUMBERS: dict[str, tuple[str, tuple[int, ...]]] = {
    "mass": ("kg", ()), "rotor_radius": ("m", ()), "thrust_coefficient": ("N s^2/rad^2", ()), "torque_ratio": ("m", ()),
    "rotor_speed_max": ("rad/s", ()), "motor_time_constant": ("s", ()), "inertia": ("kg m^2", (3,)),
    "rotor_positions": ("m", (ROTORS, 3)), "rotor_directions": ("1", (ROTORS,)), "gear_points": ("m", (-1, 3)),
}  # fmt: skip
"""Unit and shape, -1 for any length. All but coordinates and directions are above 0."""
ANYWHERE = ("rotor_positions", "rotor_directions", "gear_points")


def strange_files(info: Mapping[str, Any], contents: Mapping[str, bytes]) -> Iterator[str]:
    """Files that were changed after ``bundle.json``, whose content is ``info``, was sealed."""
    if info["format"] != "neural-lander-bundle" or repr(info["format_version"]) != str(BUNDLE_VERSION):
        yield f"bundle.json describes no bundle of version {BUNDLE_VERSION}"
    for name in (name for name in FILES if name != "bundle.json"):
        if info["files"][name] != hashlib.sha256(contents[name]).hexdigest():
            yield f"{name} was changed after it was written: its hash differs"
    rest = json.dumps({key: value for key, value in info.items() if key != "sha256"}, sort_keys=True)
    if info["sha256"] != hashlib.sha256(rest.encode()).hexdigest():
        yield "bundle.json was changed after it was written: its hash differs"


def strange_vehicle(document: Mapping[str, Any], info: Mapping[str, Any], profile: Mapping[str, Any]) -> Iterator[str]:
    """What makes the vehicle profile another one than the certificate's and the bundle's."""
    digest = hashlib.sha256()
    for name, (unit, shape) in VEHICLE_NUMBERS.items():
        if profile[name]["unit"] != unit:
            yield f"vehicle.toml gives {name} in {profile[name]['unit']!r}, expected {unit!r}"
        values = numbers(profile[name]["value"])
        digest.update(values.astype("<f8").tobytes())
        fits = values.ndim == len(shape) and all(n in (m, -1) for n, m in zip(shape, values.shape, strict=True))
        if not fits or not np.all(np.isfinite(values)) or (name not in ANYWHERE and not np.all(values > 0)):
            yield f"vehicle.toml gives {name} = {profile[name]['value']!r}, expected positive numbers of shape {shape}"
    mass, c_T, n_max = (profile[k]["value"] for k in ("mass", "thrust_coefficient", "rotor_speed_max"))
    if not mass * GRAVITY < ROTORS * c_T * n_max**2:
        yield f"vehicle.toml describes a vehicle of {mass!r} kg that its rotors do not lift"
    if document["vehicle_sha256"] != digest.hexdigest():
        yield "certificate.json was made for another vehicle: vehicle_sha256 differs"
    if document["vehicle_name"] != profile["name"]:
        yield f"certificate.json names the vehicle {document['vehicle_name']!r}, not {profile['name']!r}"
    if info["vehicle"] != {"name": profile["name"], "sha256": digest.hexdigest()}:
        yield f"bundle.json describes another vehicle than vehicle.toml: {info['vehicle']!r}"


def strange_network(
    document: Mapping[str, Any], info: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Whether the network is another one than the certificate's, or than the bundle says."""
    network, digest = info["network"], hashlib.sha256(info["network"]["features"].encode())
    for name in tensor_names(tensors):
        digest.update(repr(tensors[name].shape).encode() + tensors[name].tobytes())
    if document["network_sha256"] != digest.hexdigest():
        yield "certificate.json was made for another network: network_sha256 differs"
    inputs = [*FEATURES[network["features"]].split(), *(f"T_{i + 1}" for i in range(ROTORS))]
    sizes = [len(inputs), *(len(tensors[name]) for name in tensor_names(tensors) if name.startswith("b"))]
    units = [UNITS[name.split("_")[0]] for name in inputs]
    if network["inputs"] != inputs or network["sizes"] != sizes or tensors["W0"].shape[1] != len(inputs):
        yield f"bundle.json describes another network: expected inputs {inputs}, layers of {sizes}"
    if network["input_units"] != units or network["output"] != OUTPUT:
        yield f"bundle.json gives other units: expected {units} and {OUTPUT!r}"


def numbers(values: Any) -> np.ndarray:
    """Numbers of JSON or TOML, not what NumPy would also take for one: text, true, nothing.

    Raises
    ------
    TypeError
        Where there is something else.
    """
    pending = [values]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{value!r} is no number")
    return np.asarray(values, dtype=np.float64)


def labels(form: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Unit, norm and status of every number that entries of this part of the schema may hold."""
    parts = {name: entry["properties"] for name, entry in form["properties"].items()}
    return {name: (p["unit"]["const"], p["norm"]["const"], p["status"]["const"]) for name, p in parts.items()}


def strange_entries(entries: Mapping[str, Any], form: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Entries that are missing, or no number of at least 0 with its unit, norm and status and a source."""
    for name in sorted(set(form["required"]) - entries.keys()):
        yield f"{where}{name} is missing"
    expected = labels(form)
    for name, entry in entries.items():
        if entry.keys() != PARTS:
            yield f"{where}{name} holds {sorted(entry)}, expected {sorted(PARTS)}"
            continue
        label, value, source = (entry["unit"], entry["norm"], entry["status"]), entry["value"], entry["source"]
        if label != expected.get(name):
            yield f"{where}{name} is labelled {', '.join(map(str, label))}: expected {expected.get(name)}"
        number = isinstance(value, (int, float)) and isinstance(value, bool) is (label[0] == "true or false")
        if not number or not 0 <= value <= 1e300 or not isinstance(source, str) or not source.strip():
            yield f"{where}{name} = {value!r} is no number of at least 0 with a source"


def tensor_names(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Names that a network of this many tensors has, in the order of its hash."""
    depth = (len(tensors) - 2) // 2
    return [*(f"W{k}" for k in range(depth)), *(f"b{k}" for k in range(depth)), "state_low", "state_high"]


def read_json(data: bytes) -> Any:
    """JSON none of whose objects holds a key twice: readers differ in which of them they take."""
    return json.loads(data, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key comes twice among {sorted(found)[:5]}")
    return found


def read_profile(data: bytes) -> dict[str, Any]:
    """A vehicle profile."""
    return tomllib.loads(data.decode())


def read_network(data: bytes) -> dict[str, np.ndarray]:
    """Tensors of a network of three forces, of shapes that fit and in finite numbers."""
    tensors = read_tensors(data)
    names = tensor_names(tensors)
    if tensors.keys() != set(names) or "W0" not in tensors:
        raise ValueError(f"residual.safetensors holds {sorted(tensors)}, expected {sorted(names)}")
    biases = [tensors[name] for name in names if name.startswith("b")]
    sizes = [len(tensors["state_low"]) + ROTORS, *(len(b) for b in biases)]
    expected: dict[str, tuple[int, ...]] = {f"W{k}": (sizes[k + 1], sizes[k]) for k in range(len(biases))}
    expected |= {f"b{k}": (sizes[k + 1],) for k in range(len(biases))}
    expected |= dict.fromkeys(("state_low", "state_high"), (sizes[0] - ROTORS,))
    for name, shape in expected.items():
        if tensors[name].shape != shape or sizes[-1] != 3:
            found = tensors[name].shape
            raise ValueError(f"{name} of residual.safetensors has shape {found}, expected {shape} and 3 outputs")
        if not np.all(np.isfinite(tensors[name])):
            raise ValueError(f"{name} of residual.safetensors is not finite")
    return tensors


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file: 8 bytes of header length, a JSON header, then raw little-endian data, no gaps."""
    at = start = 8 + int.from_bytes(data[:8], "little")
    header = {name: t for name, t in read_json(data[8:start]).items() if name != "__metadata__"}
    tensors = {}
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = (start + offset for offset in t["data_offsets"])
        if t["dtype"] != "F32" or min(t["shape"], default=0) < 0 or not begin == at <= end:
            raise ValueError(f"{name} is no float32 tensor right after the one before")
        tensors[name], at = np.frombuffer(data[begin:end], "<f4").reshape(t["shape"]), end
    if at != len(data):
        raise ValueError(f"residual.safetensors has {len(data)} bytes, its tensors end at {at}")
    return tensors
