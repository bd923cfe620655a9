"""Data of the replay in three dimensions: flights of any two controllers in a scenario, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEFT, RIGHT = ("pd", "pd-trim"), ("neural-lander", "neural-lander-trim", "oracle")
"""What is shown first: the first of each that was flown."""
WATCHED = 1.0  # s after a landing's reference has come down: what it opens on


def replay(
    scenario: Mapping[str, Any], geometry: Mapping[str, Any], colour: Mapping[str, str]
) -> dict[str, Any] | None:
    """The content of a replay, or None where fewer than two controllers have their pose kept."""
    flights: dict[str, dict[str, Any]] = {}
    for key, controller in scenario["controllers"].items():
        poses = [trace["pose"] for trace in controller.get("traces", []) if "pose" in trace]
        if poses:
            # a canvas knows no names of style-sheet colours: the oracle is grey there
            own = "#8a939c" if colour[key].startswith("--") else colour[key]
            flights[key] = {"label": controller["label"], "colour": own, **poses[0]}
    if len(flights) < 2:
        return None
    left = next((key for key in LEFT if key in flights), next(iter(flights)))
    others = [key for key in flights if key != left]
    right = next((key for key in RIGHT if key in others), others[-1])
    lands = any("touchdown_speed_m_s" in c["metrics"] for c in scenario["controllers"].values())
    first = flights[left]
    return {
        **geometry,
        "half_m": scenario["ground_half_m"],
        "lands": lands,
        "centre": first["reference_m"][-1],
        "begin": _arrival(first) + WATCHED if lands else first["t"][-1] / 2,
        "left": left,
        "right": right,
        "flights": flights,
    }


def _arrival(flight: Mapping[str, Any]) -> float:
    """When the reference, seen from the ground, has come down, in s."""
    aims = (
        h - p[2] + r[2] for h, p, r in zip(flight["height_m"], flight["position_m"], flight["reference_m"], strict=True)
    )
    return float(next((t for t, aim in zip(flight["t"], aims, strict=True) if aim < 0.005 and t > 0), flight["t"][-1]))
