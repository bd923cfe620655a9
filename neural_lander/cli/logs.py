"""``neural-lander logs``: look into flight logs, convert and plot them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from neural_lander.cli.log_options import Columns, load_map, read_given
from neural_lander.cli.logs_quality import quality
from neural_lander.cli.output import emit, progress
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log, write_csv, write_mcap
from neural_lander.flightlog.differentiate import VELOCITY_FROM
from neural_lander.flightlog.motion_capture import join_motion_capture
from neural_lander.flightlog.plot import plot_log
from neural_lander.flightlog.summary import summary
from neural_lander.residual.samples import residual_samples
from neural_lander.rotor_order import QUADRANTS_KEY
from neural_lander.vehicle import Vehicle, load_vehicle

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Look into flight logs: info, quality, convert, plot."
)
app.command()(quality)

WRITERS = {".mcap": write_mcap, ".csv": write_csv}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Input = Annotated[Path, typer.Argument(metavar="IN", help="Flight log; its format is recognised by content.")]


@app.command()
def info(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs, or folders of them.")],
    vehicle: Annotated[
        str | None, typer.Option(help="Vehicle profile, by name or file: adds gear height and thrust over weight.")
    ] = None,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Show what is in flight logs: format, duration, rate, gaps, height, damage, and whether to learn from them."""
    profile = load_vehicle(vehicle) if vehicle is not None else None
    figures = [_judged(log, profile) for log in read_given(paths, columns)]
    emit({"logs": figures}, as_json, lambda: _render(figures))


def _judged(log: FlightLog, vehicle: Vehicle | None) -> dict[str, Any]:
    """The summary; a log that is fit by itself is put to the vehicle as training would."""
    figures = summary(log, vehicle)
    verdict = figures["fit_for_learning"]
    if vehicle is not None and verdict["fit"]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NeuralLanderWarning)
                residual_samples(log, vehicle)
        except UserError as error:
            verdict["reasons"].append(str(error))
            verdict["fit"] = False
    return figures


@app.command()
def convert(
    source: Input,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .mcap (all) or .csv (numbers only).")],
    columns: Columns = None,
    mocap: Annotated[
        Path | None, typer.Option(help="Motion-capture CSV that gives pose and velocity; its clock is aligned.")
    ] = None,
    mocap_columns: Annotated[
        Path | None, typer.Option("--mocap-columns", help="Column map of that file, where it lacks our header.")
    ] = None,
    mocap_offset: Annotated[
        float | None,
        typer.Option(
            "--mocap-offset", help="Time in s after the log's first record at which that file begins; default: found."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a flight log as our MCAP or CSV, joined with motion capture where there is one."""
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise UserError(f"{out} ends in '{out.suffix}': a log is written as {' or '.join(WRITERS)}")
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError(f"{out} is the log that is read: choose another name")
    with progress() as bars:
        bars.add_task("read", total=None)
        log = read_log(source, column_map=load_map(columns))
    result: dict[str, Any] = {"in": source, "out": out}
    lines = []
    if mocap is None and mocap_offset is not None:
        raise UserError("--mocap-offset is about --mocap: name its file")
    if mocap is not None:
        log = join_motion_capture(log, mocap, load_map(mocap_columns), mocap_offset)
        result["motion_capture"] = aligned = log.metadata["motion_capture"]
        by = aligned["by"]
        if mocap_offset is None:
            by = f"{by} correlates by {aligned['correlation']:.2f}"
        lines.append(Text(f"{mocap}: its clock is {aligned['offset_s']:.3f} s behind the log's ({by})"))
    with progress() as bars:
        task = bars.add_task("write", total=1.0)
        write(log, out, lambda share: bars.update(task, completed=share))
    if write is write_csv and log.metadata.get(QUADRANTS_KEY):
        warnings.warn(
            f"{out}: CSV does not keep which rotor is in which quadrant, and is read as in the profile's order; MCAP "
            "keeps it",
            NeuralLanderWarning,
            stacklevel=2,
        )
    result |= {"records": len(log.t), "duration_s": log.duration}
    emit(result, as_json, lambda: Group(*lines, Text(f"{out}: {len(log.t)} records, {log.duration:.1f} s")))


@app.command()
def plot(
    source: Input,
    out: Annotated[Path, typer.Option("--out", help="File to write: .html (self-contained) or .png.")],
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Draw height, tilt, rotors and battery over time."""
    drawn = plot_log(read_log(source, column_map=load_map(columns)), out)
    titles = [panel.title for panel in drawn]
    emit({"in": source, "out": out, "panels": titles}, as_json, lambda: Text(f"{out}: {', '.join(titles)}"))


def _render(figures: list[dict[str, Any]]) -> Group:
    with_vehicle = any("vehicle" in log for log in figures)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("log", overflow="fold")
    headings = ("records", "s", "Hz", "gaps", "longest\ns", "z min\nm", "z max\nm", "tilt\nmax °", "fit to\nlearn")
    for heading in (*headings, *(("gear\nmin m", "thrust/\nweight") if with_vehicle else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for log in figures:
        row = [
            log["log"], str(log["records"]), f"{log['duration_s']:.1f}", f"{log['rate_Hz']:.1f}",
            str(log["gaps"]), f"{log['longest_gap_s']:.3f}", f"{log['z_min_m']:.3f}", f"{log['z_max_m']:.3f}",
            f"{log['tilt_max_deg']:.1f}", "yes" if log["fit_for_learning"]["fit"] else "no",
        ]  # fmt: skip
        if with_vehicle:
            ratio = log.get("thrust_to_weight")
            row += [f"{log['gear_height_min_m']:.3f}", "-" if ratio is None else f"{ratio:.3f}"]
        table.add_row(*(Text(cell) for cell in row))
    return Group(table, *_verdicts(figures), *_remarks(figures), *_derived(figures), *_fields(figures))


def _verdicts(figures: list[dict[str, Any]]) -> list[Text]:
    """One line for each log that no ground effect can be learned from, with every reason."""
    return [
        Text(f"{Path(log['path']).name} is not fit for learning: {'; '.join(log['fit_for_learning']['reasons'])}")
        for log in figures
        if not log["fit_for_learning"]["fit"]
    ]


def _remarks(figures: list[dict[str, Any]]) -> list[Text]:
    """One line for each thing that could not be judged, with the logs that it is of."""
    logs: dict[str, list[str]] = {}
    for log in figures:
        for remark in log["fit_for_learning"]["remarks"]:
            logs.setdefault(remark, []).append(log["log"])
    return [
        Text(f"{names[0] if len(names) == 1 else f'{len(names)} of {len(figures)} logs'}: {remark}")
        for remark, names in logs.items()
    ]


def _derived(figures: list[dict[str, Any]]) -> list[Text]:
    """One line for each log whose velocity was not logged."""
    return [
        Text(f"{Path(log['path']).name}: velocity is from {log['metadata'][VELOCITY_FROM]}")
        for log in figures
        if VELOCITY_FROM in log["metadata"]
    ]


def _fields(figures: list[dict[str, Any]]) -> list[Text]:
    """One line for each set of fields that occurs."""
    sets: dict[str, list[str]] = {}
    for log in figures:
        fields = log["fields"].items()
        units = ", ".join(f"{name} [{', '.join(filter(None, (f['unit'], f['frame'])))}]" for name, f in fields)
        sets.setdefault(f"{log['format']}: {units}", []).append(log["log"])
    return [Text(text if len(sets) == 1 else f"{', '.join(names)}: {text}") for text, names in sets.items()]
