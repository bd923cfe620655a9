"""Which controller ``fly`` flies: by name, with its gains, within the guard or without; and whether it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import CheckResult
from neural_lander.bundle import Bundle
from neural_lander.certificate.check_tracking import gains_sha256
from neural_lander.certificate.tracking import isotropic, values_of
from neural_lander.control.build import build_controller
from neural_lander.control.certified import why_not_certified
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded
from neural_lander.control.kinds import ControllerKind, chosen_parameters, controller_named
from neural_lander.control.trim import Trim
from neural_lander.control.tuned import load_tuned
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

WITH_BUNDLE, WITHOUT_BUNDLE = "neural-lander-trim", "pd-trim"


@dataclass(frozen=True)
class Chosen:
    """A controller, and what is said of it on the screen and in the log."""

    kind: ControllerKind
    controller: Controller
    gains: Mapping[str, Any] = field(default_factory=dict)
    """By name with unit; of a controller that a user brings whole, its tracking law's."""
    tuned: Path | None = None

    @property
    def learned(self) -> bool:
        """Whether anything that was learned from logs flies in it."""
        return self.kind.residual != "none"

    @property
    def metadata(self) -> dict[str, Any]:
        """For the log."""
        return {
            "controller": self.kind.name,
            "controller_gains": dict(self.gains),
            "tuned_gains": None if self.tuned is None else str(self.tuned),
            "guard": self.kind.guarded,
            **({"uncertified": self.controller.uncertified} if self.controller.uncertified else {}),
        }

    @property
    def check(self) -> CheckResult:
        """Said with the checks before the flight: who flies."""
        gains = ", ".join(f"{name} {_short(value)}" for name, value in self.gains.items())
        origin = "default gains" if self.tuned is None else f"gains of {self.tuned}"
        return CheckResult("controller", True, f"{self.kind.label}; {origin}: {gains}")


def choose_controller(
    name: str | None, vehicle: Vehicle, bundle: Bundle | None, tuned: Path | None, guard: bool
) -> Chosen:
    """The controller of that name, by default Neural-Lander with trim, without a bundle PD with trim.

    Raises
    ------
    UserError
        For a name or a file that is not known, a controller that lacks its bundle or its certificate, gains of another
        vehicle, or a guard that is wanted and not.
    """
    name = name or (WITHOUT_BUNDLE if bundle is None else WITH_BUNDLE)
    kind = controller_named(name)
    if kind.guarded and not guard:
        raise UserError(f"--controller {name} and --no-guard contradict each other: leave one of them out")
    gains = None if tuned is None else _tuned(tuned, vehicle, kind)
    learned = None if bundle is None or kind.residual == "none" else bundle.learned
    kind = kind.within_guard if guard else kind
    controller = build_controller(kind, vehicle, learned, tuned=gains)
    return Chosen(kind, controller, _gains(kind, controller, gains), tuned)


def _tuned(path: Path, vehicle: Vehicle, kind: ControllerKind) -> Mapping[str, float]:
    """Gains of the controller, which are the same within the guard and without."""
    if kind.estimate == "user":
        raise UserError(f"--tuned holds no gains of '{kind.name}', which brings its own: leave it out")
    return load_tuned(path, vehicle, [kind.name])[kind.name]


def _gains(kind: ControllerKind, controller: Controller, tuned: Mapping[str, float] | None) -> dict[str, Any]:
    if kind.estimate != "user":
        return dict(chosen_parameters(kind, tuned=tuned))
    gains = controller.tracking.gains
    return {"Lambda_1_s": gains.Lambda.tolist(), "K_v_kg_s": gains.K_v.tolist(), "Gamma_1_s": gains.Gamma}


def _short(value: Any) -> str:
    return "/".join(f"{x:.3g}" for x in value) if isinstance(value, list) else f"{value:.3g}"


def check_certificate(bundle: Bundle | None, guidance: Guidance, kind: ControllerKind, rate: float) -> CheckResult:
    """Whether what flies is certified for the vehicle and the factor that the loop has at ``rate`` in Hz."""
    if guidance.controller.uncertified:
        return CheckResult("certificate", True, f"NONE, flown by the user's word: {guidance.controller.uncertified}")
    factor = guidance.controller.contraction_factor
    if missing := why_not_certified(guidance.residual, guidance.vehicle, factor):
        return CheckResult("certificate", False, f"{bundle.path if bundle else kind.label}: {missing}")
    if bundle is None or kind.residual != "network":
        return CheckResult("certificate", True, f"{kind.label}: no network in it")
    words = f"{bundle.path} is sealed and its certificate holds; contraction factor {factor:.3f}"
    return CheckResult("certificate", True, f"{words}; {_closed_loop(bundle, guidance.controller, rate)}")


def _closed_loop(bundle: Bundle, controller: Controller | Guarded, rate: float) -> str:
    """For whose gains and step the certificate bounds the closed loop's errors."""
    loops, law = bundle.certificate["tracking"], controller.tracking
    if not loops:
        return "no bound on the closed loop's errors"
    try:
        lam, Lam = isotropic(law.gains, controller.vehicle)
    except UserError:  # gains that differ between axes, which no certificate is about
        return "its bound on the closed loop's errors is for other gains"
    digest = gains_sha256(Lam, controller.vehicle.mass * lam, law.gains.Gamma)
    steps = [values_of(loop)["controller_step"] for loop in loops if loop["gains_sha256"] == digest]
    if not steps or not isinstance(law.estimate, Trim):
        return "its bound on the closed loop's errors is for other gains"
    here = abs(steps[0] * rate - 1) < 1e-6
    return f"it bounds the closed loop's errors at these gains{'' if here else f', but at {1 / steps[0]:.0f} Hz'}"
