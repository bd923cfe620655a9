"""What a training leaves for others: the four files of a bundle."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from neural_lander import __version__
from neural_lander.bundle_files import (
    CERTIFICATE,
    FORMAT,
    FORMAT_VERSION,
    INFO,
    VEHICLE,
    WEIGHTS,
    encode,
    own_hash,
    sha256_of,
    tensors_of,
)
from neural_lander.errors import UserError
from neural_lander.residual.features import ROTORS

if TYPE_CHECKING:
    from neural_lander.residual.training import TrainingResult


def bundle_contents(result: TrainingResult, certificate: Mapping[str, Any]) -> dict[str, bytes]:
    """The four files of the bundle of a training, by name.

    Raises
    ------
    UserError
        Where the vehicle has no profile text.
    """
    if not result.vehicle.text:
        raise UserError(
            f"vehicle '{result.vehicle.name}' was changed in a program: write a profile of it and load that"
        )
    contents = {
        WEIGHTS: safetensors.numpy.save(tensors_of(result.predictors.network)),
        VEHICLE: result.vehicle.text.encode("utf-8"),
        CERTIFICATE: encode(certificate),
    }
    contents[INFO] = encode(_describe(result, {name: sha256_of(data) for name, data in contents.items()}))
    return contents


def _describe(result: TrainingResult, files: Mapping[str, str]) -> dict[str, Any]:
    network, law = result.predictors.network, result.predictors.cheeseman_bennett
    info: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "files": dict(files),
        "network": {
            "features": network.feature_name,
            "inputs": [*network.features.labels, *(f"T_{i + 1}" for i in range(ROTORS))],
            "input_units": [*network.features.units, *["N"] * ROTORS],
            "output": "f_a, N, world",
            "sizes": [network.weights[0].shape[1], *(W.shape[0] for W in network.weights)],
        },
        "training": {
            **result.options.to_json(),
            "used": result.used.to_json(),
            "samples": result.training_samples,
            "thrust_slope_evidence": result.slope.to_json(),
            "acceleration": sorted({entry["acceleration"] for entry in result.datasets}),
            "thrust": sorted({entry["thrust"] for entry in result.datasets}),
        },
        "split": result.split,
        "fit_report": result.fit_report,
        "datasets": [{"role": "train", "added": 1, **entry} for entry in result.datasets],
        "cheeseman_bennett": {
            "mu": law.mu,
            "c_N": law.c,
            "rotor_radius_m": law.rotor_radius,
            "gear_clearance_m": law.gear_clearance,
        },
        "mean_fa_N": result.predictors.mean.tolist(),
        "domain": {**result.domain.to_json(), "calibration": result.fade.to_json()},
        "vehicle": {"name": result.vehicle.name, "sha256": result.vehicle.sha256},
        "versions": {"neural_lander": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    return {**info, "sha256": own_hash(info)}
