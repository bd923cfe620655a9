"""The files of a bundle: what lies in the folder, how it is written, and whether what is read is whole.

What a bundle means is ``bundle``'s; here are bytes, hashes and shapes. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from neural_lander.bundle_folder import check_destination, read_folder, replace_folder
from neural_lander.errors import UserError
from neural_lander.residual.features import ROTORS, features_named
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle, parse_vehicle

FORMAT = "neural-lander-bundle"
FORMAT_VERSION = 2
WEIGHTS, INFO, VEHICLE, CERTIFICATE = "residual.safetensors", "bundle.json", "vehicle.toml", "certificate.json"
FILES = (WEIGHTS, INFO, VEHICLE, CERTIFICATE)
HISTORY = "history.zip"

Parts = tuple[dict[str, bytes], dict[str, Any], ReluNetwork, Vehicle]
"""Files by name, ``bundle.json``, network and vehicle."""


def read_files(path: str | Path) -> dict[str, bytes]:
    """The files of a bundle by name, its history among them where it has one; not checked.

    Raises
    ------
    UserError
        Where there is no folder, or one of the four is missing or cannot be read.
    """
    path = Path(path)
    try:
        return read_folder(path, FILES, (HISTORY,))
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_dir():
            problem = f"is not a whole bundle: {Path(error.filename).name} is missing"
        else:
            problem = "is no bundle: it is no folder" if path.exists() else "is no bundle: there is no such folder"
        raise UserError(f"{path} {problem}; write one with 'neural-lander train'") from error
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error


def write_files(path: str | Path, contents: Mapping[str, bytes]) -> None:
    """Put the files of a bundle at ``path``, in place of a bundle if there is one: all of them or none.

    Raises
    ------
    UserError
        Where something else is at ``path``, or the place cannot be written.
    """
    replace_folder(Path(path), contents, FILES, (HISTORY,))


def check_bundle_destination(path: str | Path) -> None:
    """Refuse a place where :func:`save_bundle` would refuse to write, before the work of training.

    Raises
    ------
    UserError
        Where something other than a bundle is there.
    """
    check_destination(Path(path), FILES, (HISTORY,))


def read_parts(path: Path) -> Parts:
    """The files of a bundle, and what they hold but for the certificate."""
    contents = read_files(path)
    info = decode(contents[INFO], path / INFO)
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise UserError(f"{path / INFO} does not describe a bundle: expected format '{FORMAT}'")
    if info.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has bundle version {info.get('format_version')!r}, this program reads {FORMAT_VERSION}: train it"
        )
    if info.get("sha256") != own_hash(info):
        raise UserError(f"{path / INFO} was changed after it was written (its hash differs): train the bundle again")
    if not isinstance(info.get("files"), dict) or not isinstance(info.get("network"), dict):
        raise UserError(f"{path / INFO} lacks 'files' or 'network': train the bundle again")
    for name in (WEIGHTS, VEHICLE):
        if info["files"].get(name) != sha256_of(contents[name]):
            raise UserError(
                f"{path / name} was changed after it was written (its hash differs): train the bundle again"
            )
    try:
        profile = contents[VEHICLE].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path / VEHICLE} is no text in UTF-8: {error}; train the bundle again") from error
    vehicle = parse_vehicle(profile, str(path / VEHICLE))
    network = network_from(contents[WEIGHTS], info["network"].get("features"), path / WEIGHTS)
    return contents, info, network, vehicle


def tensors_of(network: ReluNetwork) -> dict[str, np.ndarray]:
    """Weights, biases and clipping range by name, float32."""
    tensors = {"state_low": network.state_low, "state_high": network.state_high}
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors[f"W{k}"], tensors[f"b{k}"] = W, b
    return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in tensors.items()}


def network_from(data: bytes, feature_name: Any, source: Path) -> ReluNetwork:
    """Network from the bytes of the weights' file; shapes must chain and values be finite."""
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise UserError(f"{source} cannot be read: {error}; train the bundle again") from error
    n = features_named(feature_name).size
    layers = (len(tensors) - 2) // 2
    names = {"state_low", "state_high", *(f"{kind}{k}" for kind in "Wb" for k in range(layers))}
    if set(tensors) != names or layers < 1:
        raise UserError(
            f"{source} holds the tensors {sorted(tensors)}, expected {sorted(names)}; train the bundle again"
        )
    W, b = [tensors[f"W{k}"] for k in range(layers)], [tensors[f"b{k}"] for k in range(layers)]
    low, high = tensors["state_low"], tensors["state_high"]
    columns = [n + ROTORS, *(len(bias) for bias in b)]
    chained = all(w.shape == (len(bias), width) for w, bias, width in zip(W, b, columns[:-1], strict=True))
    if not chained or columns[-1] != 3 or low.shape != (n,) or high.shape != (n,):
        raise UserError(
            f"{source}: the layers do not fit the features '{feature_name}' or each other; train the bundle again"
        )
    if not all(np.all(np.isfinite(values)) for values in tensors.values()):
        raise UserError(f"{source} holds values that are not finite; train the bundle again")
    return ReluNetwork(tuple(W), tuple(b), feature_name, low, high)


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON as a bundle holds it."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("utf-8")


def decode(data: bytes, source: Path) -> Any:
    """JSON of a file; ``source`` is named in errors."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is no JSON: {error}; train the bundle again") from error


def sha256_of(data: bytes) -> str:
    """Hash of a file's bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def own_hash(info: Mapping[str, Any]) -> str:
    """Hash of everything in ``bundle.json`` but this hash."""
    rest = {key: value for key, value in info.items() if key != "sha256"}
    return sha256_of(json.dumps(rest, sort_keys=True).encode("utf-8"))
