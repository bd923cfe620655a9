"""The report's figures as plotly.js specifications: plain dictionaries, no plotting library to import.

A value that begins with ``--`` is a colour of the page's style sheet; the page fills it in for light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from neural_lander.control.kinds import ControllerKind
from sim.comparison.metrics import metric_keys, metric_named
from sim.comparison.ranking import is_oracle, kind_of

Figure = dict[str, Any]

FLARE = 0.35  # m: plots open on the part below it, where the controllers differ
MAX_POINTS = 400  # per trace: more cannot be told apart on a screen
PALETTE = ("#d9822b", "#4a9fd8", "#c65d9a", "#2a9d76", "#8f7ae5", "#c0483c", "#7a8794")
"""Mid lightness, legible on light and on dark; after Okabe and Ito for colour-blind readers."""


def colours(results: Mapping[str, Any]) -> dict[str, str]:
    """One colour per controller on the whole page, the same with and without trim; an oracle has that of the text."""
    scenarios = results.get("scenarios", {}).values()
    keys = dict.fromkeys(key for scenario in scenarios for key in scenario["controllers"])
    keys |= dict.fromkeys(results.get("gain_sweep", {}).get("controllers", {}))
    entries = {key: c for scenario in scenarios for key, c in scenario["controllers"].items()}
    kinds = {key: kind_of(key, entries.get(key)) for key in keys}
    families = list(dict.fromkeys(_family(kind) for kind in kinds.values() if not is_oracle(kind)))
    return {
        key: "--ink" if is_oracle(kind) else PALETTE[families.index(_family(kind)) % len(PALETTE)]
        for key, kind in kinds.items()
    }


def _family(kind: ControllerKind) -> tuple[str, str, str]:
    """What has one colour; every user's law is one of its own."""
    estimate = "none" if kind.trim else kind.estimate
    return kind.residual, kind.name if estimate == "user" else estimate, "guarded" if kind.guarded else ""


def landings(scenario: Mapping[str, Any], colour: Mapping[str, str]) -> Figure | None:
    """Height and height error over time: one strong line per controller, its other seeds faint."""
    data: list[dict[str, Any]] = []
    reference: dict[str, Any] | None = None
    for key, controller in scenario["controllers"].items():
        for i, trace in enumerate(controller.get("traces", [])):
            t, h, h_ref = (thin(trace[name]) for name in ("t", "height_m", "height_ref_m"))
            common = {
                **_line(t, h, controller["label"], colour[key], _dash(kind_of(key, controller)), 2 if i == 0 else 1),
                "legendgroup": key,
                "opacity": 1.0 if i == 0 else 0.25,
                "hoverinfo": "all" if i == 0 else "skip",
            }
            error = [None if a is None or b is None else _short(1e3 * (a - b)) for a, b in zip(h, h_ref, strict=True)]
            data += [
                {**common, "showlegend": i == 0},
                {**common, "y": error, "yaxis": "y2", "showlegend": False},
            ]
            reference = reference or _line(t, h_ref, "Reference", "--muted", "dot")
    if reference is None:
        return None
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "Time (s)"}, "anchor": "y2"},
        "yaxis": {"title": {"text": "Height (m)"}, "domain": [0.52, 1.0]},
        "yaxis2": {"title": {"text": "Height error (mm)"}, "domain": [0.0, 0.44]},
    }
    low = [t for t, h in zip(reference["x"], reference["y"], strict=True) if h is not None and h < FLARE]
    lands = any("touchdown_speed_m_s" in c["metrics"] for c in scenario["controllers"].values())
    if lands and low and low[0] > reference["x"][0]:
        layout["xaxis"]["range"] = [low[0], max(trace["x"][-1] for trace in data)]
        layout["yaxis"]["range"] = [-0.02, FLARE]
    return {"data": [*data, reference], "layout": layout}


def learned_curve(curve: Mapping[str, Any]) -> Figure:
    """Vertical residual force against height: network, truth, Cheeseman and Bennett, and the spread of the labels."""
    h, data = curve["height_m"], []
    if "label_mean_N" in curve:
        mean, sd = curve["label_mean_N"], curve["label_sd_N"]
        at = [v for v, m in zip(curve["label_height_m"], mean, strict=True) if m is not None]
        low = [m - s for m, s in zip(mean, sd, strict=True) if m is not None]
        high = [m + s for m, s in zip(mean, sd, strict=True) if m is not None]
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": "labels"}
        data += [
            {**band, "x": at, "y": low, "showlegend": False},
            {**band, "x": at, "y": high, "fill": "tonexty", "fillcolor": "--band", "name": "Labels, mean ± sd"},
        ]
    for name, label, colour, dash in (
        ("truth_N", "Truth", "--ink", "dot"),
        ("cheeseman_bennett_N", "Cheeseman–Bennett, fitted", PALETTE[0], "dash"),
        ("network_N", "Network", PALETTE[1], "solid"),
    ):
        if name in curve:
            data.append(_line(h, curve[name], label, colour, dash))
    return {"data": data, "layout": _axes("Height above the floor (m)", "Residual force f<sub>a,z</sub> (N)")}


def thrust_slope(slope: Mapping[str, Any]) -> Figure:
    """Slope of the vertical residual in thrust against height: what closes the loop through u."""
    data = [
        _line(slope["height_m"], slope["truth"], "Truth", "--ink", "dot"),
        _line(slope["height_m"], slope["network"], "Network", PALETTE[1]),
    ]
    return {"data": data, "layout": _axes("Height above the floor (m)", "∂f<sub>a,z</sub>/∂T (N/N)")}


def coverage(cover: Mapping[str, Any]) -> Figure:
    """Seconds of flight in each band of height, beside what was asked for."""
    edges = cover["height_edges_m"]
    bands = [f"{low:.2f}–{high:.2f}" for low, high in pairwise(edges)]
    bars = {"type": "bar", "x": bands, "y": cover["seconds"], "marker": {"color": PALETTE[1]}, "name": "Flown"}
    layout = _axes("Height above the floor (m)", "Time in the logs (s)")
    layout["xaxis"]["type"] = "category"
    layout["showlegend"] = False
    if "required_seconds" in cover:
        y = cover["required_seconds"]
        across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
        layout["shapes"] = [{**across, "line": {"color": "--ink", "dash": "dash"}}]
        corner = {"xref": "paper", "x": 1, "y": y, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
        layout["annotations"] = [{**corner, "text": f"{y:g} s asked for", "bgcolor": "--card"}]
    return {"data": [bars], "layout": layout}


def gain_sweeps(sweep: Mapping[str, Any], colour: Mapping[str, str], labels: Mapping[str, str]) -> Iterator[Figure]:
    """One figure per metric: every controller against the bandwidth omega_n of the gains."""
    omega = sweep["omega_n_rad_s"]
    for key in metric_keys({name: {"metrics": metrics} for name, metrics in sweep["controllers"].items()}):
        metric = metric_named(key)
        data = []
        for name, metrics in sweep["controllers"].items():
            if key in metrics:
                y = [None if v is None else _short(v * metric.scale) for v in metrics[key]]
                line = _line(omega, y, labels.get(name, name), colour[name], _dash(kind_of(name)))
                data.append({**line, "mode": "lines+markers"})
        yield {"data": data, "layout": _axes("Bandwidth ω<sub>n</sub> (rad/s)", metric.heading)}


def thin(values: Sequence[float | None]) -> list[float | None]:
    """At most ``MAX_POINTS`` of the values, evenly, the last one included, at five significant digits."""
    n = len(values)
    if n <= MAX_POINTS:
        return [_short(v) for v in values]
    return [_short(values[round(i * (n - 1) / (MAX_POINTS - 1))]) for i in range(MAX_POINTS)]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _dash(kind: ControllerKind) -> str:
    return "dash" if kind.trim else "solid"


def _line(
    x: Sequence[Any], y: Sequence[Any], name: str, colour: str, dash: str = "solid", width: float = 2
) -> dict[str, Any]:
    return {"x": x, "y": y, "name": name, "mode": "lines", "line": {"color": colour, "width": width, "dash": dash}}


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
