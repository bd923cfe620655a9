"""``neural-lander certify``: bound a bundle's network and its thrust iteration, and write the certificate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from neural_lander.bundle import load_bundle, load_uncertified, replace_certificate
from neural_lander.bundle_files import check_bundle_destination
from neural_lander.certificate.check_tracking import asked_sha256
from neural_lander.certificate.document import certified_slopes
from neural_lander.certificate.document import certify as certificate_of
from neural_lander.certificate.evidence import Solver
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.meaning import tracking_lines
from neural_lander.cli.output import emit, progress
from neural_lander.cli.tables import certificate_table
from neural_lander.errors import NeuralLanderWarning, UserError

PYBULLET = "pybullet"


def certify(
    bundle: Annotated[Path, typer.Argument(help="Bundle written by train; its certificate is replaced.")],
    landings: Annotated[
        int, typer.Option(min=0, help="Landings in simulation to measure the closed loop on; 0: the network alone.")
    ] = 0,
    verify: Annotated[int, typer.Option(min=0, help="Other landings, to hold against the measured envelope.")] = 0,
    effect: Annotated[
        list[str] | None, typer.Option(help="Aerodynamic effect module:Class of these landings, repeatable.")
    ] = None,
    airframe: Annotated[int, typer.Option(min=0, help="Copy of the vehicle that flies them; as in collect.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of the PyBullet world.")] = 2,
    world: Annotated[
        str, typer.Option(help="World of these landings: pybullet, or batched for hundreds of them and more.")
    ] = PYBULLET,
    out: Annotated[
        Path | None, typer.Option(help="Page that explains each number, and plots envelope and landings.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the search for the steepest slopes, and of the landings.")
    ] = 0,
    solver: Annotated[
        str, typer.Option(help="Solver of the bounds: newton (ours: seconds), or scs or clarabel by cvxpy (minutes).")
    ] = "newton",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Prove the tightest bounds we know, search for what is reached, and put the certificate into the bundle.

    What was measured on landings stays in it until others are.

    Check it without this program: python -m neural_lander.certificate.check BUNDLE
    """
    if verify and not landings:
        raise UserError("--verify holds landings against what others measured: give --landings as well")
    if effect and not landings:
        raise UserError("--effect is about the landings that are flown: give --landings as well")
    effects = None
    if landings:
        from sim.plant import load_effects

        effects = load_effects(effect or [])  # before anything is changed
    if world != PYBULLET:
        from sim.comparison.worlds import world_named  # the simulator's, which a network alone does without

        world_named(world)
    if out is not None and out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file, for example certificate.html")
    solve = _solver(solver)
    network, vehicle = load_uncertified(bundle)
    check_bundle_destination(bundle)
    with progress() as bars:
        task = bars.add_task("slopes", total=1.0)
        slopes, thrusts = certified_slopes(
            network, vehicle, seed, lambda done: bars.update(task, completed=done), solve
        )
    kept = _measured_before(bundle, certificate_of(network, vehicle, slopes, thrusts=thrusts))
    certificate = replace_certificate(bundle, certificate_of(network, vehicle, slopes, kept, thrusts)).certificate
    measured = []
    if effects is not None and certificate["contracts"]:
        from neural_lander.cli.results import stages  # the simulator's, as what follows
        from sim.envelope import measure_envelope

        with stages() as stage:
            measured = measure_envelope(
                bundle,
                effects,
                airframe=airframe,
                landings=landings,
                verify=verify,
                seed=seed,
                workers=workers,
                stage=stage,
                world=world,
            )
        document = certificate_of(network, vehicle, slopes, [m.tracking for m in measured], thrusts)
        certificate = replace_certificate(bundle, document).certificate
    if out is not None:
        from sim.envelope import write_envelope_page

        write_envelope_page(measured, certificate, vehicle, out)
    verdict = "contracts" if certificate["contracts"] else "is not shown to contract"
    emit(
        {"bundle": bundle, **certificate},
        as_json,
        lambda: Group(
            Text(f"{bundle}: network on {vehicle.name}; the thrust iteration {verdict}"),
            certificate_table(certificate),
            *(Text(line) for entry in certificate["tracking"] for line in tracking_lines(entry)),
        ),
    )


def _measured_before(bundle: Path, after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the bundle's certificate says of the closed loop, where the network is asked for the same thrusts after."""
    try:
        loaded = load_bundle(bundle)
    except UserError:  # of a certificate that does not hold nothing is kept
        return []
    certificate, domain = loaded.certificate, loaded.info["domain"]
    if certificate["tracking"] and asked_sha256(certificate, domain) != asked_sha256(after, domain):
        warnings.warn(
            "what was measured of the closed loop is about a network that was asked for other thrusts, and is gone "
            "from the certificate: --landings N measures this one",
            NeuralLanderWarning,
            stacklevel=2,
        )
        return []
    return list(certificate["tracking"])


def _solver(name: str) -> Solver:
    if name == "newton":
        return lipschitz_bound
    if name not in ("scs", "clarabel"):
        raise UserError(f"--solver '{name}' is not known; use one of: newton, scs, clarabel")
    try:
        from neural_lander.certificate.lipsdp_cvxpy import cvxpy_bound
    except ImportError as error:
        raise UserError(f"--solver {name} needs cvxpy: pip install 'neural-lander[certify]'") from error
    return cvxpy_bound(name.upper())
