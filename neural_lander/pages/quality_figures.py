"""Figures of the data-quality page as plotly.js specifications; colours that begin with ``--`` are the page's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from neural_lander.flightlog.fitness import LEAST_EXCITATION
from neural_lander.pages.html_page import Figure
from neural_lander.residual.quality.holes import BANDS_UP_TO, LEAST_BAND
from neural_lander.residual.quality.summary import band

BLUE, ORANGE, GREEN, GREY = (
    "#4a9fd8",
    "#d9822b",
    "#2a9d76",
    "#8a949e",
)  # Okabe and Ito for colour-blind readers, mid lightness


def time_by_height(bands: Sequence[Mapping[str, Any]]) -> Figure:
    """Seconds per band of height; a line at what is wanted of each low band."""
    names = [band(b) for b in bands]
    bars = {"type": "bar", "x": names, "y": [b["seconds"] for b in bands], "marker": {"color": BLUE}}
    layout = _axes("Height of the landing gear", "Usable time (s)")
    low = sum(1 for b in bands if b["height_to_m"] is not None and b["height_to_m"] <= BANDS_UP_TO)
    layout |= {
        "showlegend": False,
        "shapes": [_level(LEAST_BAND, -0.5, low - 0.5)],
        "annotations": [_note(f"{LEAST_BAND:g} s wanted below {BANDS_UP_TO:g} m", low - 0.5, LEAST_BAND)],
    }
    layout["xaxis"]["type"] = "category"
    return {"data": [bars], "layout": layout}


def excitation_by_height(bands: Sequence[Mapping[str, Any]]) -> Figure:
    """Rms of thrust between 0.5 and 4 Hz per band, red where it is too little to identify anything."""
    shares = [b["thrust_excitation"] for b in bands]
    colours = [GREEN if share is not None and share >= LEAST_EXCITATION else "#c0483c" for share in shares]
    bars = {
        "type": "bar",
        "x": [band(b) for b in bands],
        "y": [None if share is None else round(100 * share, 3) for share in shares],
        "marker": {"color": colours},
    }
    layout = _axes("Height of the landing gear", "Thrust, 0.5–4 Hz rms (% of weight)")
    layout |= {
        "showlegend": False,
        "shapes": [_level(100 * LEAST_EXCITATION, -0.5, len(bands) - 0.5)],
        "annotations": [_note(f"{100 * LEAST_EXCITATION:g} % needed", len(bands) - 0.5, 100 * LEAST_EXCITATION)],
    }
    layout["xaxis"]["type"] = "category"
    return {"data": [bars], "layout": layout}


def landing_grid(cells: Sequence[Mapping[str, Any]]) -> Figure:
    """Seconds in each cell that a landing passes through; ``empty`` where a model would extrapolate."""
    heights = list(dict.fromkeys(band(c) for c in cells))
    speeds = list(dict.fromkeys(_climb(c) for c in cells))
    at = {(band(c), _climb(c)): c for c in cells}
    share = [[min(1.0, at[h, v]["seconds"] / at[h, v]["wanted_s"]) for v in speeds] for h in heights]
    text = [
        [f"{at[h, v]['seconds']:.1f} s" + (" ✕" if at[h, v]["extrapolates"] else "") for v in speeds] for h in heights
    ]
    heat = {
        "type": "heatmap",
        "x": speeds,
        "y": heights,
        "z": [[round(x, 3) for x in line] for line in share],
        "text": text,
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#c0483c"], [0.5, "#c9a227"], [0.999, "#c9a227"], [1, GREEN]],
        "textfont": {"color": "#ffffff"},
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = _axes("Vertical speed (m/s)", "")
    layout["xaxis"] |= {"type": "category", "tickangle": -35}
    layout["yaxis"] |= {"type": "category"}
    return {"data": [heat], "layout": layout}


def ground_effect(curve: Mapping[str, Any], weight: float) -> Figure:
    """f_a,z against height without each flight's bias: spread, rising and sinking samples, and every flight."""
    edges = curve["height_edges_m"]
    middle = [round(0.5 * (a + b), 4) for a, b in pairwise(edges)]

    def line(values: Sequence[float | None], name: str, colour: str, width: float, **more: Any) -> dict[str, Any]:
        y = [None if v is None else round(100 * v / weight, 3) for v in values]
        style = {"color": colour, "width": width}
        return {"type": "scatter", "mode": "lines", "x": middle, "y": y, "name": name, "line": style, **more}

    data: list[dict[str, Any]] = []
    if "mean_N" in curve:
        known = [k for k, m in enumerate(curve["mean_N"]) if m is not None]
        low, high = ([100 * (curve["mean_N"][k] + sign * curve["sd_N"][k]) / weight for k in known] for sign in (-1, 1))
        edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        at = [middle[k] for k in known]
        data += [
            {**edge, "x": at, "y": low, "showlegend": False},
            {**edge, "x": at, "y": high, "fill": "tonexty", "fillcolor": "--band", "name": "All samples, mean ± sd"},
        ]
    for k, flight in enumerate(curve["flights"]):
        one = {"showlegend": k == 0, "legendgroup": "flights", "opacity": 0.5, "text": flight["log"]}
        data.append(
            line(flight["mean_N"], "Each flight", "--muted", 1, hovertemplate="%{text}<br>%{y:.1f} %<extra></extra>")
            | one
        )
    if "mean_N" in curve:
        data.append(line(curve["mean_sinking_N"], "Sinking over 0.1 m/s", ORANGE, 2.5))
        data.append(line(curve["mean_rising_N"], "Rising over 0.1 m/s", BLUE, 2.5))
    return {"data": data, "layout": _axes("Height of the landing gear (m)", "f<sub>a,z</sub> (% of weight)")}


def bias_by_battery(flights: Sequence[Mapping[str, Any]], weight: float) -> Figure | None:
    """Residual out of ground effect against the flight's mean battery voltage, with its standard error."""
    known = [f for f in flights if f.get("thrust_scale") and f["thrust_scale"]["battery_V"] is not None]
    if len(known) < 2:
        return None
    scale = [f["thrust_scale"] for f in known]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [round(s["battery_V"], 3) for s in scale],
        "y": [round(100 * s["bias_along_thrust_N"] / weight, 3) for s in scale],
        "error_y": {"type": "data", "array": [round(196 * s["bias_se_N"] / weight, 3) for s in scale], "thickness": 1},
        "text": [f["log"] for f in known],
        "hovertemplate": "%{text}<br>%{x:.2f} V, %{y:.2f} %<extra></extra>",
        "marker": {"color": BLUE, "size": 8},
    }
    layout = _axes("Mean battery voltage of the flight (V)", "Bias (% of weight)")
    return {"data": [points], "layout": {**layout, "showlegend": False}}


def lags(flights: Sequence[Mapping[str, Any]], profile: float) -> Figure | None:
    """Total lag of each flight with its 95 % interval, beside the profile's time constant."""
    known = [f for f in flights if f.get("lag") and f["lag"].get("identified")]
    if not known:
        return None
    total = [1e3 * f["lag"]["total_lag_s"] for f in known]
    low, high = ([1e3 * f["lag"]["total_lag_95_s"][k] for f in known] for k in (0, 1))
    number = list(range(1, len(known) + 1))
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": number,
        "y": [round(x, 1) for x in total],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [round(max(b - x, 0.0), 1) for x, b in zip(total, high, strict=True)],
            "arrayminus": [round(max(x - a, 0.0), 1) for x, a in zip(total, low, strict=True)],
            "thickness": 1,
        },
        "text": [f["log"] for f in known],
        "hovertemplate": "%{text}<br>%{y:.0f} ms<extra></extra>",
        "marker": {
            "color": [BLUE if f["lag"]["instrument"] == "reference" else GREY for f in known],
            "size": 8,
        },
    }
    layout = _axes("Flight", "Lag of the thrust (ms)")
    layout["yaxis"]["rangemode"] = "tozero"
    layout["xaxis"]["dtick"] = max(1, len(known) // 10)
    if all(f["lag"]["rotor_signal"] == "command" for f in known):
        layout["shapes"] = [_level(1e3 * profile, 0.5, len(known) + 0.5)]
        layout["annotations"] = [_note(f"profile {1e3 * profile:.0f} ms", len(known) + 0.5, 1e3 * profile)]
    return {"data": [points], "layout": {**layout, "showlegend": False}}


def _climb(cell: Mapping[str, Any]) -> str:
    return f"{cell['climb_from_m_s']:g} to {cell['climb_to_m_s']:g}"


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}


def _level(y: float, x0: float, x1: float) -> dict[str, Any]:
    return {"type": "line", "x0": x0, "x1": x1, "y0": y, "y1": y, "line": {"color": "--ink", "dash": "dash"}}


def _note(text: str, x: float, y: float) -> dict[str, Any]:
    return {
        "text": text, "x": x, "y": y, "xanchor": "right", "yanchor": "bottom", "showarrow": False, "bgcolor": "--card",
    }  # fmt: skip
