"""Figure of a flight over time, as a plotly.js specification: label, predictions, height, domain, what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_lander.pages.fit_figures import AXIS, BLUE, FORCE, PURPLE, line, rounded, short
from neural_lander.pages.html_page import Figure
from neural_lander.residual.judged import JudgedFlight
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.scoring import MIN_LANDING_THRUST, ScoringRule

SHADES = {"contact": "#c0483c", "motors idle": "#7a8794", "outlier": "#c65d9a", "start or end": "#b0883c"}
HEIGHT = "rgba(122,135,148,{})"  # behind everything else
SMOOTH = 0.2  # s, moving average of the label
LONGEST = 30.0  # s shown of a landing: its end
BEFORE, AFTER = 8.0, 4.0  # s shown around the lowest point of a flight that does not land
MOST_POINTS = 1500  # per line: 15 s of the 100 Hz grid
HIGHEST_SCORE = 4.0  # drawn
TOP, BOTTOM = [0.34, 1.0], [0.0, 0.26]  # shares of the figure's height


def over_time(flight: JudgedFlight, rule: ScoringRule) -> Figure:
    """Label, network and law in a landing or the lowest descent, height behind, and below it the domain's score."""
    window = landing_window(flight)
    step = max(1, -(-(window.stop - window.start) // MOST_POINTS))
    k = slice(window.start, window.stop, step)
    t = rounded(flight.samples.t[k], 2)
    kernel = np.ones(round(SMOOTH / SAMPLE_PERIOD))
    smooth = np.convolve(flight.label, kernel, "same") / np.convolve(np.ones(len(flight.label)), kernel, "same")
    height = {"type": "scatter", "mode": "lines", "x": t, "y": rounded(flight.samples.height[k], 4), "yaxis": "y2"}
    label = {"type": "scatter", "mode": "lines", "x": t}
    data: list[dict[str, Any]] = [
        {**height, "name": "Height of the gear", "fill": "tozeroy", "fillcolor": HEIGHT.format(0.13),
         "line": {"color": HEIGHT.format(0.5), "width": 1}, "hovertemplate": "%{y:.3f} m<extra></extra>"},
        {**label, "y": rounded(flight.label[k], 2), "line": {"color": "--muted", "width": 0.7}, "opacity": 0.6,
         "hoverinfo": "skip", "showlegend": False},
        {**label, "y": rounded(smooth[k], 2), "name": f"Label, {SMOOTH:g} s mean",
         "line": {"color": "--ink", "width": 2}, "hovertemplate": "label %{y:.1f} g<extra></extra>"},
    ]  # fmt: skip
    for name in ("zero", "cheeseman_bennett", "network"):
        y = flight.predictions[name][k]
        if name != "zero" or np.ptp(y) > 0 or abs(y[0]) > 1e-6:  # else the zero line of the axis shows it
            data.append(line(t, rounded(y, 2), name) | {"hovertemplate": "%{y:.1f} g<extra>%{fullData.name}</extra>"})
    highest = max(2.0, min(float(flight.score[k].max()), HIGHEST_SCORE))
    below = {"type": "scatter", "mode": "lines", "x": t, "yaxis": "y3"}
    data += [
        {**below, "y": rounded(flight.share[k], 3), "name": "Share of the network", "fill": "tozeroy",
         "fillcolor": "--band", "line": {"color": BLUE, "width": 1}},
        {**below, "y": rounded(np.minimum(flight.score[k], highest), 3), "name": "Distance from training",
         "line": {"color": PURPLE, "width": 1.5}},
    ]  # fmt: skip
    shapes, keys = _left_out(flight, rule, window)
    edge = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y3", "y0": 1, "y1": 1}
    scored = flight.samples.scored[window]
    layout = {
        "xaxis": {"title": {"text": "Time (s)"}, "anchor": "y3", "range": [t[0], t[-1]]},
        "yaxis": {"title": {"text": FORCE}, "domain": TOP, "range": _range(smooth[window], flight, window, scored)},
        "yaxis2": {"title": {"text": "Height (m)"}, "overlaying": "y", "side": "right", "tickmode": "auto",
                   "range": [0, 1.1 * float(flight.samples.height[k].max())], "showgrid": False, "zeroline": False},
        "yaxis3": {**AXIS, "title": {"text": "Domain"}, "domain": BOTTOM, "range": [0, 1.05 * highest]},
        "shapes": [*shapes, {**edge, "line": {"color": PURPLE, "dash": "dot", "width": 1}}],
    }  # fmt: skip
    return {"data": [*data, *keys], "layout": layout}


def _range(smooth: np.ndarray, flight: JudgedFlight, window: slice, scored: np.ndarray) -> list[float]:
    """Of the force that is shown: what is scored fits; contact and idle motors may leave it."""
    if not scored.any():
        return [-10.0, 10.0]
    values = [smooth[scored], *(p[window][scored] for p in flight.predictions.values())]
    low, high = (f([f(v) for v in values]) for f in (min, max))
    margin = 0.25 * max(high - low, 1.0)
    return [short(low - margin), short(high + margin)]


def landing_window(flight: JudgedFlight) -> slice:
    """The samples to show: from take-off to touchdown, or around the lowest scored one."""
    samples, count = flight.samples, len(flight.samples)
    if samples.lands:
        flies = np.flatnonzero(samples.scored)
        first, last = (int(flies[0]), int(flies[-1])) if len(flies) else (0, count - 1)
        end = min(last + round(1.0 / SAMPLE_PERIOD), count)
        return slice(max(first - round(1.0 / SAMPLE_PERIOD), end - round(LONGEST / SAMPLE_PERIOD), 0), end)
    lowest = int(np.argmin(np.where(samples.scored, samples.height, np.inf)))
    return slice(max(lowest - round(BEFORE / SAMPLE_PERIOD), 0), min(lowest + round(AFTER / SAMPLE_PERIOD), count))


def reasons(flight: JudgedFlight, rule: ScoringRule) -> dict[str, np.ndarray]:
    """Why samples are not scored: reason -> ``(N,)`` bool, each sample under the first that applies."""
    samples = flight.samples
    thrust = samples.rotor_thrust.sum(-1)
    idle = thrust <= MIN_LANDING_THRUST * rule.weight
    possible = {
        "motors idle": idle,
        "contact": samples.contact,
        "outlier": rule.outlier(samples.centre_height, samples.label[:, 2]),
        "start or end": rule.edges(len(samples)),
    }
    left, found = ~samples.scored, {}
    for reason, mask in possible.items():
        found[reason] = left & mask
        left = left & ~mask
    return found


def _left_out(
    flight: JudgedFlight, rule: ScoringRule, window: slice
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shades over what is not scored, and their keys in the legend."""
    shapes, keys = [], []
    for reason, mask in reasons(flight, rule).items():
        steps = np.flatnonzero(np.diff(np.concatenate([[False], mask[window], [False]]).astype(np.int8)))
        t0 = float(flight.samples.t[window.start])
        for begin, end in zip(steps[::2], steps[1::2], strict=True):
            shapes.append(
                {
                    "type": "rect",
                    "x0": short(t0 + begin * SAMPLE_PERIOD),
                    "x1": short(t0 + end * SAMPLE_PERIOD),
                    "yref": "paper",
                    "y0": TOP[0],
                    "y1": TOP[1],
                    "fillcolor": SHADES[reason],
                    "opacity": 0.22,
                    "line": {"width": 0},
                    "layer": "below",
                }
            )
        if len(steps):
            marker = {"color": SHADES[reason], "symbol": "square", "size": 10, "opacity": 0.45}
            keys.append(
                {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "marker": marker,
                 "name": f"Not scored: {reason}"}
            )  # fmt: skip
    return shapes, keys
