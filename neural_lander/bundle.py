"""The bundle: what moves from one stage to the next. A folder of weights, description, vehicle and certificate.

    residual.safetensors   weights in physical units
    bundle.json            input, training, data, fit report, hashes of the other three
    vehicle.toml           the profile it was trained for
    certificate.json       bounds that follow from weights and vehicle
    history.zip            only after a retraining: what the four were before (see ``bundle_history``)

Loading needs neither torch nor SciPy, and unpickles nothing. A bundle that was changed after it was written, or whose
certificate claims what ``certificate.check`` cannot prove from its weights, does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_lander.bundle_contents import bundle_contents
from neural_lander.bundle_files import (
    CERTIFICATE,
    INFO,
    Parts,
    decode,
    encode,
    own_hash,
    read_parts,
    sha256_of,
    write_files,
)
from neural_lander.certificate import check, check_files
from neural_lander.certificate.document import certify
from neural_lander.control.learned import Learned
from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.residual.model import Certified, ReluNetwork, WithinThrusts
from neural_lander.vehicle import Vehicle

if TYPE_CHECKING:
    from neural_lander.residual.training import TrainingResult

UNPROVED_FACTOR = 0.95  # reckoned with where nothing is proved and the bundle flies for research: some 200 passes


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle, checked."""

    model: ReluNetwork
    cheeseman_bennett: CheesemanBennett
    """The fitted law, the baseline that was trained on the same flights."""
    mean: np.ndarray  # (3,) N, world
    """Mean label of the training samples."""
    vehicle: Vehicle
    domain: Domain
    """Where it was trained."""
    certificate: Mapping[str, Any]
    info: Mapping[str, Any]
    """``bundle.json``."""
    path: Path
    uncertified: str = ""
    """Why no certificate lets it fly; empty where one does. What flies all the same writes it into every log."""

    @property
    def flying(self) -> FadingResidual:
        """What a controller subtracts: the network, faded out where it was not trained.

        Where the certificate holds for a part of what a rotor can give, it is asked within that part. Thrusts below 0
        or above a rotor's most are for the caller to clip, as the controller does: there no bound is claimed.
        """
        low, high = (self._value(f"rotor_thrust_{end}") for end in ("low", "high"))
        whole = low <= 0 and high >= self.vehicle.full_rotor_thrust
        return FadingResidual(self.model if whole else WithinThrusts(self.model, low, high), self.domain)

    @property
    def contraction_factor(self) -> float:
        """Proved bound on the contraction of the thrust iteration."""
        return self._value("contraction_factor")

    @property
    def flown_factor(self) -> float:
        """The factor that a controller reckons with: the proved one, and below 1 even where none is proved.

        Raises
        ------
        UserError
            Where the thrust iteration is not shown to contract, and it was not loaded for research.
        """
        if self.contraction_factor >= 1 and not self.uncertified:
            raise UserError(f"bundle {self.path} must not fly: {_not_contracting(self.certificate)}")
        return min(self.contraction_factor, UNPROVED_FACTOR) if self.uncertified else self.contraction_factor

    @property
    def iterations(self) -> int | None:
        """Passes of the thrust iteration that the certificate counts to its tolerance; None without one."""
        entry = self.certificate["entries"].get("iterations_to_tolerance")
        return None if entry is None or self.uncertified else int(entry["value"])

    @property
    def learned(self) -> Learned:
        """What a controller takes of it; raises as :attr:`flown_factor`."""
        return Learned(self.flying, self.cheeseman_bennett, self.flown_factor, self.iterations, self.uncertified)

    def _value(self, name: str) -> float:
        return float(self.certificate["entries"][name]["value"])


def save_bundle(path: str | Path, result: TrainingResult) -> Bundle:
    """Write the bundle of a training and load it again, so that what is on disk is known to be whole.

    The folder appears complete or not at all. An existing bundle is replaced, any other folder is left alone.

    Raises
    ------
    UserError
        Where something else is at ``path``, or the vehicle has no profile text.
    """
    path = Path(path)
    certificate = certify(result.predictors.network, result.vehicle)
    write_files(path, bundle_contents(result, certificate))
    return load_bundle(path)


def load_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises
    ------
    UserError
        Where a file is missing, was changed, is of another version, or does not fit the others.
    """
    path = Path(path)
    parts = read_parts(path)
    certificate = _checked_certificate(path, *parts[:2])
    return _bundle(path, parts, certificate, "")


def load_for_research(path: str | Path) -> Bundle:
    """Read a bundle whatever its certificate says: one that does not let it fly is named in ``uncertified``.

    Bounds are then those that follow at once from weights and vehicle, and nothing is claimed. ``--uncertified`` reads
    it so, of ``fly`` too: what is named in ``uncertified`` may fly for real then, by the user's word, and is said on
    the screen, in the log and in the results.

    Raises
    ------
    UserError
        As :func:`load_bundle`, but for the certificate.
    """
    path = Path(path)
    parts = read_parts(path)
    try:
        certificate = _checked_certificate(path, *parts[:2])
    except UserError as error:
        return _bundle(path, parts, certify(*parts[2:]), str(error))
    return _bundle(path, parts, certificate, "" if certificate["contracts"] else _not_contracting(certificate))


def load_uncertified(path: str | Path) -> tuple[ReluNetwork, Vehicle]:
    """Network and vehicle of a bundle, whatever its certificate says: to be certified, not to be flown.

    Raises
    ------
    UserError
        As :func:`load_bundle`, but for the certificate.
    """
    _, _, network, vehicle = read_parts(Path(path))
    return network, vehicle


def replace_certificate(path: str | Path, certificate: Mapping[str, Any]) -> Bundle:
    """Put another certificate into a bundle, all files at once or none, and load it again.

    Raises
    ------
    UserError
        As :func:`load_bundle` and :func:`save_bundle`.
    """
    path = Path(path)
    contents, info, _, _ = read_parts(path)
    contents[CERTIFICATE] = encode(certificate)
    info["files"][CERTIFICATE] = sha256_of(contents[CERTIFICATE])
    contents[INFO] = encode({**info, "sha256": own_hash(info)})
    write_files(path, contents)
    return load_bundle(path)


_AGAIN = "run 'neural-lander certify"


def _not_contracting(certificate: Mapping[str, Any]) -> str:
    factor = certificate["entries"]["contraction_factor"]["value"]
    return f"its iteration is not shown to contract (factor {factor:.3g}): train it with a smaller --thrust-slope"


def _checked_certificate(path: Path, contents: Mapping[str, bytes], info: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate, where it is whole and true.

    Raises
    ------
    UserError
        Where it is not.
    """
    if info["files"].get(CERTIFICATE) != sha256_of(contents[CERTIFICATE]):
        raise UserError(f"{path / CERTIFICATE} was changed after it was written (its hash differs): {_AGAIN} {path}'")
    certificate = decode(contents[CERTIFICATE], path / CERTIFICATE)
    if not isinstance(certificate, dict) or certificate.get("format_version") != check_files.FORMAT_VERSION:
        raise UserError(
            f"{path / CERTIFICATE} is not a certificate of version {check_files.FORMAT_VERSION}: {_AGAIN} {path}'"
        )
    problem = next(check.problems(contents), None)
    if problem:
        raise UserError(f"{path / CERTIFICATE} is not true: {problem}; the bundle must not fly: {_AGAIN} {path}'")
    return certificate


def _bundle(path: Path, parts: Parts, certificate: Mapping[str, Any], uncertified: str) -> Bundle:
    _, info, network, vehicle = parts
    try:
        law = info["cheeseman_bennett"]
        numbers = [float(law[key]) for key in ("mu", "c_N", "rotor_radius_m", "gear_clearance_m")]
        mean = np.asarray(info["mean_fa_N"], dtype=np.float64)
        domain = Domain.from_json(info["domain"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / INFO} lacks or garbles {error}: train the bundle again") from error
    if not uncertified:
        network = replace(network, certified=_certified(certificate))
    return Bundle(
        model=network,
        cheeseman_bennett=CheesemanBennett(*numbers),
        mean=mean,
        vehicle=vehicle,
        domain=domain,
        certificate=certificate,
        info=info,
        path=path,
        uncertified=uncertified,
    )


def _certified(certificate: Mapping[str, Any]) -> Certified:
    value = {name: entry["value"] for name, entry in certificate["entries"].items()}
    return Certified(
        certificate["network_sha256"],
        certificate["vehicle_sha256"],
        float(value["contraction_factor"]),
        float(value["rotor_thrust_low"]),
        float(value["rotor_thrust_high"]),
        int(value.get("iterations_to_tolerance", 0)),
    )
