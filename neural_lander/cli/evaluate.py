"""``neural-lander evaluate``: judge a bundle on flights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group
from rich.text import Text

from neural_lander.bundle import load_bundle
from neural_lander.cli.log_options import Columns, read_given
from neural_lander.cli.output import emit, progress, to_json
from neural_lander.cli.tables import error_table, evidence_line, flight_table, left_lines, slope_line
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.files import replacing
from neural_lander.flightlog.fitness import why_useless
from neural_lander.residual.digest import recorded
from neural_lander.residual.evaluation import Predictors, trimmed
from neural_lander.residual.evaluation import evaluate as errors_of
from neural_lander.residual.judged import outside_domain
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.scoring import scoring_rule
from neural_lander.residual.trim import TRIMS, trim_height

TRIM_HELP = (
    "Offset that every predictor gets from its own errors far from the ground: none, flight (mean over the flight), "
    "online (a filter over what came before)."
)
OUTSIDE = {"none": "nothing", "whole": "whole network", "faded": "faded as in flight"}
HEADER = "t,label_x,label_y,label_z,pred_x,pred_y,pred_z,scored"


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Bundle written by train.")],
    paths: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Flight logs, or folders of them.")],
    predictions: Annotated[
        Path | None,
        typer.Option(help="CSV of labels and predictions at 100 Hz. With several logs one each, the log's name added."),
    ] = None,
    trim: Annotated[str, typer.Option(help=TRIM_HELP)] = "none",
    page: Annotated[
        Path | None, typer.Option("--report", help="Write a page (HTML) with figures, for desk or phone.")
    ] = None,
    columns: Columns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge a bundle on flight logs it has not seen: errors in f_a,z against zero, mean and Cheeseman-Bennett."""
    if trim not in TRIMS:
        raise UserError(f"--trim {trim} is unknown; choose one of: {', '.join(TRIMS)}")
    loaded = load_bundle(bundle)
    logs = read_given(paths, columns)
    for reason in filter(None, (why_useless(log, loaded.vehicle) for log in logs)):
        warnings.warn(f"judged by it all the same: {reason}", NeuralLanderWarning, stacklevel=2)
    cut_off = loaded.info["training"]["cut_off"]
    with progress() as bars:
        tracked = bars.track(logs, description="samples")
        flights = [residual_samples(log, loaded.vehicle, cut_off=cut_off) for log in tracked]
    predictors = Predictors(loaded.model, loaded.cheeseman_bennett, loaded.mean)
    above = trim_height(loaded.vehicle)
    report = errors_of(predictors, flights, trim=TRIMS[trim], trim_above=above)
    written: list[Path] = []
    if predictions is not None:
        for path, flight in zip(_names(predictions, flights), flights, strict=True):
            write_predictions(path, flight, trimmed(predictors, flight, TRIMS[trim], above)["network"])
            written.append(path)
    domain = outside_domain(predictors, loaded.domain, flights, TRIMS[trim], above)
    known = [entry for entry in loaded.info["datasets"] if entry.get("role", "train") == "train"]
    result = {
        "bundle": bundle,
        "vehicle": loaded.vehicle.name,
        "low_below_m": scoring_rule(loaded.vehicle).low_below,
        "trim": trim,
        "trim_above_m": above,
        **report,
        "domain": domain,
        "thrust_slope_evidence": loaded.info["training"].get("thrust_slope_evidence"),
        "flights": [
            {**entry, "trained_on": recorded(log, known) is not None}
            for entry, log in zip(report["flights"], logs, strict=True)
        ],
        "predictions": written,
        "report": page,
    }
    if page is not None:
        from neural_lander.pages.fit_page import write_fit_page  # SciPy and plotly: only where there is a page

        write_fit_page(loaded, flights, to_json(result), page)
    emit(result, as_json, lambda: _render(result))


def write_predictions(path: Path, samples: ResidualSamples, prediction: np.ndarray) -> None:
    """One row per sample of the 100 Hz grid: time in s, label and prediction in N, world, and whether it is scored.

    Raises
    ------
    UserError
        Where the file cannot be written; what was there before is then unharmed.
    """
    rows = np.column_stack([samples.t, samples.label, prediction, samples.scored])
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        np.savetxt(file, rows, fmt=["%.2f", *["%.9g"] * 6, "%d"], delimiter=",", header=HEADER, comments="")


def _names(path: Path, flights: list[ResidualSamples]) -> list[Path]:
    """The path itself for one log; for several ``p-LOG.csv``, numbered where logs share a name."""
    if len(flights) == 1:
        return [path]
    names: list[Path] = []
    for flight in flights:
        stem = f"{path.stem}-{Path(flight.source).stem}"
        name, k = path.with_name(f"{stem}{path.suffix}"), 2
        while name in names:
            name, k = path.with_name(f"{stem}-{k}{path.suffix}"), k + 1
        names.append(name)
    return names


def _render(result: dict[str, Any]) -> Group:
    seen = [flight["log"] for flight in result["flights"] if flight["trained_on"]]
    notes = [Text(f"in training, and no test of it: {', '.join(seen)}")] if seen else []
    if result["trim"] != "none":
        notes.append(
            Text(f"trim: {result['trim']}, from samples with the centre of mass above {result['trim_above_m']:g} m")
        )
        without = [flight["log"] for flight in result["flights"] if not flight["samples_for_trim"]]
        notes += [Text(f"without a sample to trim by: {', '.join(without)}")] if without else []
    evidence = result["thrust_slope_evidence"]
    return Group(
        error_table(result),
        flight_table(result),
        Text(f"near ground: centre of mass below {result['low_below_m']:g} m"),
        *(Text(line) for line in _unexplained_lines(result["unexplained"])),
        *(Text(line, style="yellow") for line in (left_lines(result) if result["trim"] != "none" else ())),
        Text(slope_line(result["thrust_slope"])),
        *([] if evidence is None else [Text(f"training: {evidence_line(evidence)}")]),
        Text(_domain_line(result["domain"])),
        *notes,
        *(Text(str(path)) for path in result["predictions"]),
        *([] if result["report"] is None else [Text(str(result["report"]))]),
    )


def _unexplained_lines(found: dict[str, Any]) -> Iterator[str]:
    """What of the network's error is noise, and what comes with motors that are cut or spun up."""
    if found["error_above_5_Hz_N"] is not None:
        yield (
            f"of the network's error {found['error_above_5_Hz_N']:.3g} N ({found['error_above_5_Hz_g']:.2f} g) are "
            "above 5 Hz: noise of the label, for the most part"
        )
    if found["samples_in_fast_thrust"]:
        near = found["share_of_square_in_fast_thrust_low"]
        yield (
            f"{100 * found['share_of_square_in_fast_thrust']:.0f} % of its square"
            + ("" if near is None else f", near the ground {100 * near:.0f} %,")
            + f" come from {found['samples_in_fast_thrust']} samples in which the motors are cut or spun up"
        )


def _domain_line(domain: dict[str, Any]) -> str:
    """How much of the flights lies outside the training, and what the fade-out does there."""
    beyond = (
        f"; thrust beyond what they hold in {domain['samples_beyond_thrust']} samples, "
        f"by {domain['furthest_beyond_thrust_N']:.3g} N at most"
        if domain["samples_beyond_thrust"]
        else ""
    )
    if not domain["samples_outside"]:
        return f"outside the domain of the training flights: no scored sample{beyond}"
    errors = ", ".join(
        f"{words} {domain[f'rmse_{name}_N']:.4g} (bias {domain[f'bias_{name}_N']:+.3g})"
        for name, words in OUTSIDE.items()
    )
    return (
        f"outside the domain of the training flights: {100 * domain['share_outside']:.1f} % of the scored samples; "
        f"RMSE there in N: {errors}{beyond}"
    )
