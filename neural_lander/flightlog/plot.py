"""A flight log as a picture: height, tilt, rotors and battery over time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.files import replacing
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.summary import tilt_degrees


@dataclass(frozen=True)
class Panel:
    """Curves over the log's time that share an axis."""

    title: str
    """With the unit."""
    curves: tuple[tuple[str, np.ndarray], ...]
    """Label and values ``(N,)``."""


def panels(log: FlightLog) -> list[Panel]:
    """What is drawn of a log: only fields that it has."""
    heights = [("z", log.position[:, 2])]
    if log.position_reference is not None:
        heights.append(("z reference", log.position_reference[:, 2]))
    if log.height is not None:
        heights.append(("gear above terrain", log.height))
    drawn = [Panel("height [m]", tuple(heights)), Panel("tilt [deg]", (("tilt", tilt_degrees(log)),))]
    rotors = {
        f"rotor command [{log.rotor_command_unit}]": log.rotor_command,
        "rotor speed [rad/s]": log.rotor_speed,
    }
    for title, values in rotors.items():
        if values is not None:
            drawn.append(Panel(title, tuple((f"rotor {k + 1}", values[:, k]) for k in range(4))))
    if log.battery_voltage is not None:
        drawn.append(Panel("battery [V]", (("battery", log.battery_voltage),)))
    return drawn


def plot_log(log: FlightLog, out: str | os.PathLike[str]) -> list[Panel]:
    """Draw a log into a file: ``.html``, interactive and self-contained, or ``.png``.

    Returns
    -------
    list[Panel]
        What was drawn.

    Raises
    ------
    UserError
        On another ending, or where the file cannot be written.
    """
    out = Path(out)
    draw = {".html": _html, ".png": _png}.get(out.suffix.lower())
    if draw is None:
        raise UserError(f"{out} ends in '{out.suffix}': a plot is written as .html or .png")
    drawn = panels(log)
    with replacing(out) as part:
        draw(log, drawn, part)
    return drawn


def _html(log: FlightLog, drawn: list[Panel], path: Path) -> None:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(drawn), cols=1, shared_xaxes=True, vertical_spacing=0.03)
    for row, panel in enumerate(drawn, start=1):
        for label, values in panel.curves:
            figure.add_scatter(x=log.t, y=values, name=label, mode="lines", line_width=1, row=row, col=1)
        figure.update_yaxes(title_text=panel.title, row=row, col=1)
    figure.update_xaxes(title_text="time [s]", row=len(drawn), col=1)
    figure.update_layout(title_text=log.source, height=260 * len(drawn), hovermode="x")
    figure.write_html(path, include_plotlyjs=True)


def _png(log: FlightLog, drawn: list[Panel], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError("a .png needs matplotlib: pip install 'neural-lander[logs]', or write .html") from error
    figure = Figure(figsize=(10, 2.4 * len(drawn)), layout="constrained")
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, drawn, strict=True):
        for label, values in panel.curves:
            axis.plot(log.t, values, label=label, linewidth=0.8)
        axis.set_ylabel(panel.title)
        axis.grid(alpha=0.3)
        if len(panel.curves) > 1:
            axis.legend(loc="upper right", ncols=len(panel.curves))
    axes[0].set_title(log.source, fontsize="small")
    axes[-1].set_xlabel("time [s]")
    figure.savefig(path, format="png", dpi=110)
