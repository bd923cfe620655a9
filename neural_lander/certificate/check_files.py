"""What the four files of a bundle hold, and whether they belong together: NumPy and the standard library alone."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neural_lander.certificate.check_slopes import ROTORS

FORMAT_VERSION = 5
FILES = ("residual.safetensors", "bundle.json", "vehicle.toml", "certificate.json")
VEHICLE_NUMBERS = {
    "mass": "kg", "rotor_radius": "m", "thrust_coefficient": "N s^2/rad^2", "torque_ratio": "m",
    "rotor_speed_max": "rad/s", "motor_time_constant": "s", "inertia": "kg m^2", "rotor_positions": "m",
    "rotor_directions": "1", "gear_points": "m",
}  # fmt: skip


def strange_files(info: Mapping[str, Any], contents: Mapping[str, bytes]) -> Iterator[str]:
    """Files that were changed after ``bundle.json``, whose content is ``info``, was sealed."""
    for name in (name for name in FILES if name != "bundle.json"):
        if info["files"][name] != hashlib.sha256(contents[name]).hexdigest():
            yield f"{name} was changed after it was written: its hash differs"
    rest = json.dumps({key: value for key, value in info.items() if key != "sha256"}, sort_keys=True)
    if info["sha256"] != hashlib.sha256(rest.encode()).hexdigest():
        yield "bundle.json was changed after it was written: its hash differs"


def strange_vehicle(document: Mapping[str, Any], profile: Mapping[str, Any]) -> Iterator[str]:
    """What makes the vehicle profile another one than the certificate's."""
    for name, unit in VEHICLE_NUMBERS.items():
        if profile[name]["unit"] != unit:
            yield f"vehicle.toml gives {name} in {profile[name]['unit']!r}, expected {unit!r}"
    numbers = (np.asarray(profile[name]["value"], dtype="<f8").tobytes() for name in VEHICLE_NUMBERS)
    if document["vehicle_sha256"] != hashlib.sha256(b"".join(numbers)).hexdigest():
        yield "certificate.json was made for another vehicle: vehicle_sha256 differs"
    if document["vehicle_name"] != profile["name"]:
        yield f"certificate.json names the vehicle {document['vehicle_name']!r}, not {profile['name']!r}"


def strange_network(document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], features: str) -> Iterator[str]:
    """Whether the network is another one than the certificate's."""
    digest = hashlib.sha256(features.encode())
    for name in tensor_names(tensors):
        digest.update(repr(tensors[name].shape).encode() + tensors[name].tobytes())
    if document["network_sha256"] != digest.hexdigest():
        yield "certificate.json was made for another network: network_sha256 differs"


def strange_entries(
    entries: Mapping[str, Any], labels: Mapping[str, tuple[str, str, str]], optional: set[str], where: str = ""
) -> Iterator[str]:
    """Entries that are missing, or no number of at least 0 with its unit, norm and status and a source."""
    for name in sorted(labels.keys() - optional - entries.keys()):
        yield f"{where}{name} is missing"
    for name, entry in entries.items():
        label, value, source = (entry["unit"], entry["norm"], entry["status"]), entry["value"], entry["source"]
        if label != labels.get(name):
            yield f"{where}{name} is labelled {', '.join(map(str, label))}: expected {labels.get(name)}"
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
    """Arrays of a safetensors file: 8 bytes of header length, a JSON header, then raw little-endian data."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = {name: t for name, t in read_json(data[8:start]).items() if name != "__metadata__"}
    if any(t["dtype"] != "F32" for t in header.values()):
        raise ValueError("weights are not all float32")
    spans = {name: slice(*(start + o for o in t["data_offsets"])) for name, t in header.items()}
    return {name: np.frombuffer(data[spans[name]], "<f4").reshape(t["shape"]) for name, t in header.items()}
