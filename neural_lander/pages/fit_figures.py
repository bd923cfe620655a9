"""Figures of a model's judgement as plotly.js specifications; colours that begin with ``--`` are the page's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neural_lander.pages.fit_summary import band_name, flight_curve
from neural_lander.pages.html_page import Figure
from neural_lander.residual.domain import Domain
from neural_lander.residual.judged import CAUSES, JudgedFlight
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.scoring import ScoringRule

BLUE, ORANGE, PURPLE = "#4a9fd8", "#d9822b", "#8f7ae5"  # Okabe and Ito for colour-blind readers, mid lightness
COLOUR = {"network": BLUE, "cheeseman_bennett": ORANGE, "zero": "--muted"}
NAME = {"network": "Network", "cheeseman_bennett": "Cheeseman–Bennett, fitted", "zero": "Nothing"}
DASH = {"network": "solid", "cheeseman_bennett": "dash", "zero": "dot"}
AXIS = {"gridcolor": "--grid", "zerolinecolor": "--rule", "linecolor": "--rule", "automargin": True}
FORCE = "f<sub>a,z</sub> (g)"
MOST_OUTSIDE = 1000  # points outside the domain that are drawn
FLOWN_CELLS = (60, 50)  # of height and vertical speed


def force_by_height(
    bins: Sequence[Mapping[str, Any]], flights: Sequence[JudgedFlight], rule: ScoringRule, clearance: float, top: float
) -> Figure:
    """Label with spread and standard error, network and law against height; below it the samples of each bin.

    Parameters
    ----------
    clearance
        From the lowest gear point up to the centre of mass, m: the second axis.
    top
        Largest height of the gear that is shown, m.
    """
    shown = [b for b in bins if b["height_m"] <= top]
    h = [short(b["height_m"]) for b in shown]
    edge = {"type": "scatter", "mode": "lines", "x": h, "line": {"width": 0}, "hoverinfo": "skip"}
    low, high = ([short(b["label_10_90_g"][k]) for b in shown] for k in (0, 1))
    data: list[dict[str, Any]] = [
        {**edge, "y": low, "showlegend": False},
        {**edge, "y": high, "fill": "tonexty", "fillcolor": "--band", "name": "Label, 10–90 %"},
        *_each_flight(flights, top),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Label, mean ± standard error",
            "x": h,
            "y": [short(b["label_g"]) for b in shown],
            "error_y": {"type": "data", "array": [short(b["label_se_g"] or 0.0) for b in shown], "thickness": 1.5},
            "marker": {"color": "--ink", "size": 6},
            "text": [f"{b['samples']} samples" for b in shown],
            "hovertemplate": "%{x:.3f} m: %{y:.2f} g<br>%{text}<extra></extra>",
        },
    ]
    for name in ("cheeseman_bennett", "network"):
        y = [short(b[f"{name}_g"]) for b in shown]
        data.append(line(h, y, name) | {"hovertemplate": "%{x:.3f} m: %{y:.2f} g<extra></extra>"})
    width = [b["height_to_m"] - b["height_from_m"] for b in shown]
    centre = [b["height_from_m"] + w / 2 + clearance for b, w in zip(shown, width, strict=True)]
    data.append(
        {
            "type": "bar",
            "x": [short(c) for c in centre],
            "y": [b["samples"] for b in shown],
            "width": [short(w) for w in width],
            "xaxis": "x2",
            "yaxis": "y2",
            "marker": {"color": "--muted", "opacity": 0.6},
            "showlegend": False,
            "hovertemplate": "%{y} samples<extra></extra>",
        }
    )
    ends, most = [0.0, top], 1.05 * float(np.log10(max((b["samples"] for b in shown), default=10)))
    layout = {
        "xaxis": {"title": {"text": "Height of the gear (m)", "standoff": 4}, "range": ends, "fixedrange": True},
        "yaxis": {"title": {"text": FORCE}, "domain": [0.36, 1.0], "zeroline": True},
        "xaxis2": {
            **AXIS,
            "title": {"text": "Height of the centre of mass (m)", "standoff": 4},
            "range": [end + clearance for end in ends],
            "anchor": "y2",
            "fixedrange": True,
        },
        "yaxis2": {"title": {"text": "Samples"}, "domain": [0.0, 0.17], "type": "log", "range": [0, most], "dtick": 1},
        "bargap": 0,
        **_near_ground(rule.low_below - clearance, top),
    }
    return {"data": data, "layout": layout}


def _each_flight(flights: Sequence[JudgedFlight], top: float) -> Iterator[dict[str, Any]]:
    if len(flights) < 2:
        return
    for k, flight in enumerate(flights):
        h, f = flight_curve(flight)
        shown = sum(value <= top for value in h)
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": "Each flight's label",
            "legendgroup": "flights",
            "showlegend": k == 0,
            "x": [short(v) for v in h[:shown]],
            "y": [short(v) for v in f[:shown]],
            "line": {"color": "--muted", "width": 1},
            "opacity": 0.4,
            "text": flight.name,
            "hovertemplate": "%{text}<br>%{x:.3f} m: %{y:.2f} g<extra></extra>",
        }


def _near_ground(edge: float, top: float) -> dict[str, Any]:
    if not 0 < edge < top:
        return {}
    mark = {"type": "line", "x0": edge, "x1": edge, "yref": "y domain", "y0": 0, "y1": 1}
    note = {"x": edge, "yref": "y domain", "y": 1, "xanchor": "right", "yanchor": "top", "showarrow": False}
    return {
        "shapes": [{**mark, "line": {"color": "--muted", "dash": "dot", "width": 1}}],
        "annotations": [{**note, "text": "near ground ", "font": {"color": "--muted"}}],
    }


def flown_and_domain(flights: Sequence[JudgedFlight], domain: Domain) -> Figure:
    """Time in cells of height and vertical speed, the domain's range around them, and samples that leave it."""
    usable = [f.samples.usable | f.samples.scored for f in flights]
    h, v, score, cause = (
        np.concatenate([x[m] for x, m in zip(values, usable, strict=True)])
        for values in (
            [f.samples.height for f in flights], [f.samples.velocity[:, 2] for f in flights],
            [f.score for f in flights], [f.cause for f in flights],
        )
    )  # fmt: skip
    counts, v_edges, h_edges = np.histogram2d(v, h, FLOWN_CELLS[::-1])
    seconds = counts.T * SAMPLE_PERIOD
    known = [[None if s == 0 else short(np.log10(s)) for s in cells] for cells in seconds]
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": rounded((v_edges[1:] + v_edges[:-1]) / 2, 4),
            "y": rounded((h_edges[1:] + h_edges[:-1]) / 2, 4),
            "z": known,
            "text": [[f"{s:.2f} s" for s in cells] for cells in seconds],
            "hovertemplate": "%{x:.2f} m/s, %{y:.2f} m: %{text}<extra></extra>",
            "colorscale": [[0, "rgba(74,159,216,0.12)"], [1, "rgba(74,159,216,1)"]],
            "showscale": False,
        }
    ]
    rng = np.random.default_rng(0)
    for k, (name, symbol) in enumerate(zip(CAUSES, ("square", "circle", "diamond", "x"), strict=True)):
        chosen = np.flatnonzero((score > 1) & (cause == k))
        if len(chosen):
            drawn = np.sort(rng.choice(chosen, min(len(chosen), MOST_OUTSIDE // len(CAUSES)), replace=False))
            marker = {"color": (ORANGE, "#c0483c", PURPLE, "#2a9d76")[k], "size": 5, "symbol": symbol, "opacity": 0.7}
            data.append(
                {"type": "scatter", "mode": "markers", "x": rounded(v[drawn], 3), "y": rounded(h[drawn], 4),
                 "name": f"Outside by {name}: {100 * len(chosen) / len(h):.2g} %", "marker": marker,
                 "hoverinfo": "skip"}
            )  # fmt: skip
    middle, half = domain.v_z.mean(axis=1), np.diff(domain.v_z, axis=1)[:, 0] / 2
    for factor, name, dash, width in (
        (1.0, "Edge of the training", "solid", 2),
        (domain.gone, "Network gone", "dot", 1.5),
    ):
        x = np.concatenate([middle - factor * half, (middle + factor * half)[::-1]])
        y = np.concatenate([domain.height, domain.height[::-1]])
        closed = {"x": [*rounded(x, 4), short(x[0])], "y": [*rounded(y, 4), short(y[0])]}
        style = {"color": "--ink", "dash": dash, "width": width}
        data.append({"type": "scatter", "mode": "lines", **closed, "name": name, "line": style, "hoverinfo": "skip"})
    reach = 1.05 * max(float(np.abs(v).max(initial=0.0)), float((np.abs(middle) + domain.gone * half).max()))
    layout = _axes("Vertical speed (m/s)", "Height of the gear (m)")
    layout["xaxis"]["range"] = [-short(reach), short(reach)]
    layout["yaxis"]["range"] = [0, short(1.05 * max(float(h.max(initial=0.0)), float(domain.height[-1])))]
    return {"data": data, "layout": layout}


def error_by_height(bands: Sequence[Mapping[str, Any]]) -> Figure:
    """RMSE of nothing, law and network per band of height."""
    names = [band_name(b) for b in bands]
    data = [
        {
            "type": "bar",
            "x": names,
            "y": [short(b[f"{name}_g"]) for b in bands],
            "name": NAME[name],
            "marker": {"color": COLOUR[name]},
            "text": [f"{b['samples']} samples" for b in bands],
            "textposition": "none",
            "hovertemplate": "%{x}: %{y:.2f} g<br>%{text}",
        }
        for name in ("zero", "cheeseman_bennett", "network")
    ]
    layout = _axes("Height of the gear", "RMSE of f<sub>a,z</sub> (g)")
    layout["xaxis"]["type"] = "category"
    return {"data": data, "layout": {**layout, "barmode": "group"}}


def slope_by_height(bands: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any] | None, bound: float) -> Figure:
    """Learned d f_a,z / d T by height beside what the training flights identify and what the weights prove."""
    h = [short(b["height_m"]) for b in bands]
    edge = {"type": "scatter", "mode": "lines", "x": h, "line": {"width": 0}, "hoverinfo": "skip"}
    low, high = ([short(b["slope_5_50_95_%"][k]) for b in bands] for k in (0, 2))
    data = [
        {**edge, "y": low, "showlegend": False},
        {**edge, "y": high, "fill": "tonexty", "fillcolor": "--band", "name": "Network, 5–95 % of the samples"},
        line(h, [short(b["slope_mean"]) for b in bands], "network")
        | {
            "name": "Network, mean",
            "mode": "lines+markers",
            "hovertemplate": "%{x:.3f} m: %{y:.3f} N/N<extra></extra>",
        },
    ]
    across = {"type": "scatter", "mode": "lines", "x": [0.0, short(1.05 * h[-1])], "hoverinfo": "skip"}
    aerodynamic, proved = {"color": "#2a9d76", "width": 0}, {"color": "--ink", "dash": "dot", "width": 1.5}
    data += [
        {**across, "y": [0, 0], "line": aerodynamic, "showlegend": False},
        {**across, "y": [0.2, 0.2], "line": aerodynamic, "fill": "tonexty", "fillcolor": "rgba(42,157,118,0.15)",
         "name": "Aerodynamics: 0 to 0.2"},
        {**across, "y": [bound, bound], "line": proved, "name": "Proved bound"},
        {**across, "y": [-bound, -bound], "line": proved, "showlegend": False},
    ]  # fmt: skip
    if evidence and evidence.get("slope") is not None:
        known = "identified" if evidence["identified"] else "not identified"
        bar = {"type": "data", "array": [short(1.96 * evidence["standard_error"])], "thickness": 2, "width": 6}
        marker = {"color": ORANGE, "size": 9, "symbol": "circle" if evidence["identified"] else "circle-open"}
        name = f"Training flights, 0.5–4 Hz: {known} (bar: 95 %)"
        data.append(
            {"type": "scatter", "mode": "markers", "x": [short(1.02 * h[-1])], "y": [short(evidence["slope"])],
             "error_y": bar, "marker": marker, "name": name, "hovertemplate": "%{y:.2f} N/N<extra></extra>"}
        )  # fmt: skip
    return {"data": data, "layout": _axes("Height of the gear (m)", "∂f<sub>a,z</sub>/∂T (N/N)")}


def line(x: Sequence[Any], y: Sequence[Any], name: str) -> dict[str, Any]:
    """Trace of a predictor in its colour."""
    style = {"color": COLOUR[name], "width": 2.5 if name == "network" else 2, "dash": DASH[name]}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": NAME[name], "line": style}


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}


def rounded(values: np.ndarray, digits: int) -> list[float]:
    """Values with as many decimals as a screen can show."""
    return [float(v) for v in np.round(values, digits)]


def short(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")
