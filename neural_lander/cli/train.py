"""``neural-lander train``: from flight logs to a certified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from neural_lander.bundle import Bundle, replace_certificate, save_bundle
from neural_lander.bundle_files import check_bundle_destination
from neural_lander.certificate.document import certified_slopes, certify
from neural_lander.cli.log_options import Columns, read_given
from neural_lander.cli.output import emit, progress
from neural_lander.cli.tables import certificate_table, error_table, evidence_line, left_lines, slope_line
from neural_lander.errors import UserError
from neural_lander.flightlog.fitness import without_useless
from neural_lander.residual.features import FEATURES
from neural_lander.residual.options import DEFAULT_EPOCHS, DEFAULT_GAMMA, DEFAULT_THRUST_SLOPE, TrainingOptions
from neural_lander.vehicle import load_vehicle

STAGES = ("samples", "held-out fit", "final fit", "domain", "certificate")


def train(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs, or folders of them.")],
    vehicle: Annotated[str, typer.Option(help="Profile of the vehicle that flew: a built-in name or a file.")],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder; an existing bundle is replaced.")],
    seed: Annotated[int, typer.Option(help="Seed of the split, the first weights and the order of samples.")] = 0,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="Lipschitz bound over the whole input, in vehicle weights per metre; "
            f"default: {DEFAULT_GAMMA:g}, more where flights are steep, the fit falls short or the vehicle is tiny."
        ),
    ] = None,
    thrust_slope: Annotated[
        float | None,
        typer.Option(
            help=f"Bound on the contraction factor of the thrust iteration, below 1; default: {DEFAULT_THRUST_SLOPE:g}."
        ),
    ] = None,
    lipschitz: Annotated[
        float | None, typer.Option(help="The first bound as L in N per SI unit of the input, instead of --gamma.")
    ] = None,
    rotor_lipschitz: Annotated[
        float | None, typer.Option(help="The second as L_u in N per N of rotor thrust, instead of --thrust-slope.")
    ] = None,
    bounded: Annotated[
        str, typer.Option(help="What L bounds: all, or thrust (the rotor thrusts' columns alone, L_u).")
    ] = TrainingOptions.bounded,
    layers: Annotated[
        str, typer.Option(help="How norms are held: aol, or projection (spectral normalisation).")
    ] = TrainingOptions.layers,
    hidden: Annotated[str, typer.Option(help="Sizes of the hidden layers.")] = "25,30,15",
    features: Annotated[
        str, typer.Option(help=f"State part of the input: {', '.join(FEATURES)}.")
    ] = TrainingOptions.features,
    thrust_input: Annotated[
        str,
        typer.Option(help="Rotor thrusts as inputs: auto (bounded tightly where flights do not identify), on, off."),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(
            help=f"Passes over the samples; default: {DEFAULT_EPOCHS}, and more where the network falls short of what "
            "the flights show."
        ),
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of flights that the fit report is made on.")] = 0.2,
    any_log: Annotated[
        bool,
        typer.Option("--any-log", help="Learn also from logs without height above ground or with too coarse rates."),
    ] = False,
    columns: Columns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Learn the residual force from flight logs, bound it, and write a bundle.

    Logs that hold no height above the ground, or whose rates are too coarse, are left out, each with a warning.
    Flights are held out whole, by seed, for the fit report; the network in the bundle is then fitted on all of them.
    """
    if lipschitz is not None and gamma is not None:
        raise UserError("--lipschitz stands instead of --gamma: give one of them")
    if rotor_lipschitz is not None and thrust_slope is not None:
        raise UserError("--rotor-lipschitz stands instead of --thrust-slope: give one of them")
    profile = load_vehicle(vehicle)
    if lipschitz is not None:
        gamma = lipschitz / profile.weight
    if rotor_lipschitz is not None:
        thrust_slope = rotor_lipschitz * float(np.linalg.norm(profile.thrust_direction))
    options = TrainingOptions(
        hidden=_sizes(hidden),
        features=features,
        gamma=gamma,
        thrust_slope=DEFAULT_THRUST_SLOPE if thrust_slope is None else thrust_slope,
        seed=seed,
        epochs=epochs,
        thrust_input=thrust_input,
        held_out=held_out,
        bounded=bounded,
        layers=layers,
    )
    check_bundle_destination(out)
    logs = read_given(paths, columns)
    if not any_log:
        try:
            logs = without_useless(logs, profile)
        except UserError as error:
            raise UserError(f"{error}; --any-log learns from it all the same, where you know better") from error
    from neural_lander.residual.training import train_residual  # torch: after everything that can be refused

    with progress() as bars:
        tasks = {stage: bars.add_task(stage, total=1.0) for stage in STAGES}
        result = train_residual(
            logs, profile, options, lambda stage, fraction: bars.update(tasks[stage], completed=fraction)
        )
        bundle = save_bundle(out, result)
        slopes, thrusts = certified_slopes(
            bundle.model, profile, seed, lambda fraction: bars.update(tasks["certificate"], completed=fraction)
        )
    bundle = replace_certificate(out, certify(bundle.model, profile, slopes, thrusts=thrusts))
    summary = {
        "bundle": out,
        "vehicle": profile.name,
        "flights": len(logs),
        "training_samples": result.training_samples,
        "optimisation_s": result.optimisation_s,
        "shortfall": result.shortfall.to_json(),
        "options_used": result.used.to_json(),
        "split": result.split,
        "fit_report": result.fit_report,
        "thrust_slope_evidence": result.slope.to_json(),
        "cheeseman_bennett": bundle.info["cheeseman_bennett"],
        "datasets": result.datasets,
        "certificate": bundle.certificate,
    }
    emit(summary, as_json, lambda: _render(bundle, summary))


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--hidden '{text}' must be layer sizes like 25,30,15") from error


def _render(bundle: Bundle, summary: dict[str, Any]) -> Group:
    report = summary["fit_report"]
    excluded: dict[str, int] = {}
    for entry in summary["datasets"]:
        for name, count in entry["exclusions"].items():
            excluded[name] = excluded.get(name, 0) + count
    named = ", ".join(f"{name} {count}" for name, count in excluded.items() if count) or "none"
    parts: list[Text | Table] = [
        Text(
            f"{bundle.path}: {summary['vehicle']}, {summary['flights']} flights, {summary['training_samples']} samples"
        ),
        Text(f"left out of training: {named}"),
    ]
    if report is None:
        parts.append(Text("nothing was held out: no fit report"))
    else:
        parts += [
            Text(f"fit report, {summary['split']['kind']}: {', '.join(summary['split']['held_out'])}"),
            Text("\nwithout each flight's own bias (per-flight trim):"),
            error_table(report["flight_trim"]),
            Text("raw:"),
            error_table(report),
            *(Text(line, style="yellow") for line in left_lines(report["flight_trim"])),
            Text(slope_line(report["thrust_slope"])),
        ]
    parts.append(Text(evidence_line(summary["thrust_slope_evidence"])))
    return Group(*parts, certificate_table(bundle.certificate))
