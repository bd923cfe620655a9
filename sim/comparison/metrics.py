"""The figures of a comparison: what each is called, how it is shown, and what would be perfect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neural_lander.trajectory import LANDING_SPEED


@dataclass(frozen=True)
class Metric:
    """How one figure of a flight is shown and judged."""

    label: str
    unit: str
    scale: float = 1.0
    """Shown value over the stored SI value."""
    target: float = 0.0
    """SI; the nearer to it, the better."""
    until_touchdown: bool = False
    """Without any touchdown the value is the time that was watched: a lower bound."""
    judged: bool = True
    """Whether it decides which controller is better; a figure that repeats another one does not."""

    @property
    def heading(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


METRICS: Mapping[str, Metric] = {
    "final_error_m": Metric("Final error", "mm", 1e3),
    "hang_height_m": Metric("Hang", "mm", 1e3, judged=False),
    "arrival_error_m": Metric("Arrival error", "mm", 1e3),
    "low_descent_error_m": Metric("Height error below 0.2 m", "mm", 1e3),
    "lateness_s": Metric("Lateness", "s", until_touchdown=True),
    "low_hover_error_m": Metric("Low-hover error", "mm", 1e3),
    "touchdown_speed_m_s": Metric("Touchdown speed", "m/s", target=LANDING_SPEED),
    "tracking_rms_error_m": Metric("Tracking error, RMS", "mm", 1e3),
    "vertical_rms_error_m": Metric("Vertical error, RMS", "mm", 1e3),
    "vertical_worst_error_m": Metric("Vertical error, worst", "mm", 1e3),
    "horizontal_rms_error_m": Metric("Sideways error, RMS", "mm", 1e3),
    "horizontal_worst_error_m": Metric("Sideways error, worst", "mm", 1e3),
    "drift_m": Metric("Drift", "mm", 1e3),
}


def metric_named(key: str) -> Metric:
    """How to show a metric; one that is not known here keeps its key as label."""
    return METRICS.get(key, Metric(key, ""))


def metric_keys(controllers: Mapping[str, Any]) -> list[str]:
    """Metrics of any controller: the known ones in our order, then others in theirs."""
    present = dict.fromkeys(key for c in controllers.values() for key in c["metrics"])
    return [key for key in METRICS if key in present] + [key for key in present if key not in METRICS]
