"""Made-up results in the shape of results.json: what the report has to show, with every kind of gap."""

import math
from typing import Any

from sim.comparison.ranking import ranking
from sim.comparison.statistics import wilson_interval

SEEDS = 20


def metric(median: float | None, spread: float = 0.0, n: int = SEEDS) -> dict[str, Any]:
    if median is None:
        return {"median": None, "ci95": [None, None], "q99": None, "worst_1_percent": None, "worst": None, "n": 0}
    ends = [median - spread, median + spread]
    tail = {"q99": median + 2 * spread, "worst_1_percent": median + 2.5 * spread, "worst": median + 3 * spread}
    return {"median": median, "ci95": ends, **tail, "n": n}


def trace(seed: int, hang: float) -> dict[str, Any]:
    """A descent at 0.3 m/s from 1 m that ends ``hang`` m up."""
    t = [0.02 * k for k in range(420)]
    h_ref = [max(0.0, 1.0 - 0.3 * v) for v in t]
    height = [max(r + hang * (1 - math.exp(-3 * v)) * math.exp(-r / 0.15), 0.0) for v, r in zip(t, h_ref, strict=True)]
    f_a = [1.5 * math.exp(-h / 0.1) for h in height]
    height = [h + 0.002 * math.sin(7 * v + seed) * (h > 0) for h, v in zip(height, t, strict=True)]
    series = {"seed": seed, "t": t, "height_m": height, "height_ref_m": h_ref, "f_a_z_N": f_a, "f_a_hat_z_N": f_a}
    return series if seed else {**series, "pose": pose(t, height, h_ref, f_a)}


def pose(t: list[float], height: list[float], h_ref: list[float], f_a: list[float]) -> dict[str, Any]:
    return {
        "t": t,
        "position_m": [[0.02 * math.sin(v), 0.0, h + 0.11] for h, v in zip(height, t, strict=True)],
        "reference_m": [[0.0, 0.0, r + 0.11] for r in h_ref],
        "attitude_wxyz": [[1.0, 0.02 * math.sin(v), 0.0, 0.0] for v in t],
        "height_m": height,
        "thrust_N": [14.4 - f for f in f_a],
        "f_a_N": [[0.0, 0.0, f] for f in f_a],
        "ground_z_m": [[0.0, 0.0, 0.0, 0.0]],
    }


def controller(label: str, hang: float, late: float | None, drift: float, downs: int) -> dict[str, Any]:
    return {
        "label": label,
        "metrics": {
            "final_error_m": metric(hang, hang / 20),
            "hang_height_m": metric(hang, hang / 20),
            "arrival_error_m": metric(hang * 1.1, hang / 15),
            "low_descent_error_m": metric(hang * 0.7, hang / 20),
            "lateness_s": metric(late, 0.02, n=downs),
            "touchdown_speed_m_s": metric(0.29 if downs else None, 0.01),
            "drift_m": metric(drift, drift / 10),
        },
        "touchdown_count": downs,
        "success": {"count": downs, "n": SEEDS, "rate": downs / SEEDS, "ci95": list(wilson_interval(downs, SEEDS))},
        "failures": [],
        "paired_to": "pd-trim",
        "paired": {"drift_m": {"median": -0.001, "ci95": [-0.002, 0.001], "smaller_share": 0.6, "n": SEEDS}},
        "n": SEEDS,
        "traces": [trace(seed, hang) for seed in range(3)],
    }


def scenario(drift: float) -> dict[str, Any]:
    controllers = {
        "pd": controller("PD", 0.0543, None, 0.02 * drift, 0),
        "pd-trim": controller("PD with trim", 0.0051, 1.93, 0.02 * drift, 20),
        "pd-cb": controller("PD with Cheeseman–Bennett", 0.031, None, 0.02 * drift, 2),
        "neural-lander": controller("Neural-Lander", 0.0004, 0.031, 0.021 * drift, 20),
        "neural-lander-trim": controller("Neural-Lander with trim", 0.0002, 0.02, 0.034 * drift, 20),
        "oracle": controller("Oracle", 0.0001, 0.01, 0.018 * drift, 20),
    }
    error = {
        what: {"median": value, "ci95": [0.9 * value, 1.1 * value], "removed_share": 1 - value / 0.06}
        for what, value in (("nothing", 0.06), ("Cheeseman-Bennett", 0.034), ("network", 0.0005))
    }
    gain = {"median": -0.0335, "ci95": [-0.034, -0.033], "smaller_share": 1.0, "n": SEEDS, "intervals_apart": True}
    return {
        "definition": "From 1 m down at 0.3 m/s.",
        "ground_half_m": 1.4,
        "controllers": controllers,
        "best": ranking(controllers),
        "contribution": {"without trim": {"arrival_error_m": {**error, "network_minus_law": gain}}},
    }


def results() -> dict[str, Any]:
    heights = [0.01 * k for k in range(1, 60)]
    curve = [1.6 * math.exp(-h / 0.09) for h in heights]
    labelled = [0.02 * k for k in range(1, 30)]
    omega = [1.5, 2.0, 3.0, 4.5, 6.0]
    return {
        "schema": 1,
        "program": "neural-lander 0.1.0",
        "vehicle": "intel-aero <x>",
        "geometry": {
            "rotors_m": [[0.13, -0.13, 0.02], [0.13, 0.13, 0.02], [-0.13, 0.13, 0.02], [-0.13, -0.13, 0.02]],
            "radius_m": 0.1, "gear_m": [[0.1, 0.1, -0.11], [-0.1, 0.1, -0.11], [-0.1, -0.1, -0.11], [0.1, -0.1, -0.11]],
            "clearance_m": 0.11, "weight_N": 14.4,
        },
        "tuned": {"gains": {"pd": {"Lambda_1_s": 4.2}}, "scenarios": {"land-1d": scenario(0.1)}},
        "robustness": {"scenario": "land-1d", "plants": [{"name": "thrust -15 %", **scenario(0.1)}]},
        "created": "2000-01-01T00:00:00Z",
        "settings": {"seed": 0, "gains": {"Lambda_1_s": [3, 3, 3], "K_v_kg_s": [4.4, 4.4, 4.4]}, "rate_Hz": 240},
        "scenarios": {"land-1d": scenario(0.1), "land-3d": scenario(1.0)},
        "plants": [{"name": "mass +10 %", "scenarios": {"land-1d": scenario(0.1)}}],
        "hang": {"pd_measured_m": 0.0543, "pd_closed_form_m": 0.0538},
        "learned_curve": {
            "height_m": heights, "truth_N": curve, "network_N": [1.02 * c - 0.01 for c in curve],
            "cheeseman_bennett_N": [0.8 * c for c in curve], "label_height_m": labelled,
            "label_mean_N": [None if h > 0.5 else 1.6 * math.exp(-h / 0.09) for h in labelled],
            "label_sd_N": [0.25 for _ in labelled],
        },
        "thrust_slope": {
            "height_m": heights, "truth": [c / 14 for c in curve], "network": [c / 15 + 0.01 for c in curve],
            "max_abs_error": 0.021,
        },
        "coverage": {"height_edges_m": [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6], "seconds": [22, 31, 48, 60, 55, 34],
                     "required_seconds": 20},
        "gain_sweep": {
            "omega_n_rad_s": omega,
            "controllers": {
                "pd": {"final_error_m": [0.5 / w**2 for w in omega], "lateness_s": [None] * 5},
                "neural-lander": {"final_error_m": [0.004 / w for w in omega], "lateness_s": [0.1 / w for w in omega]},
                "oracle": {"final_error_m": [0.001 / w for w in omega], "lateness_s": [0.05 / w for w in omega]},
            },
        },
        "certificate": {"entries": [
            {"part": "The network", "name": "L_u", "value": 0.213, "unit": "N/N", "norm": "Euclidean norm",
             "label": "proved", "found": 0.2, "meaning": "Lipschitz constant in T", "source": "LipSDP"},
            {"part": "The network", "name": "ε_m", "value": 0.0871, "unit": "N", "norm": "Euclidean norm",
             "label": "measured", "found": None, "meaning": "exceeded 1 % of the time", "source": "flights"},
            {"part": "The network", "name": "ρ_u", "value": None, "unit": "1", "norm": "none",
             "label": "assumed", "found": None, "meaning": "effort per error; " * 5, "source": "chosen"},
        ]},
        "requirements": [
            {"name": "Final error at most 1/20 of PD's", "value": 0.4, "bound": 2.7, "unit": "mm", "met": True},
            {"name": "Drift at most 34 % of PD's", "value": 34, "bound": 6.8, "unit": "mm", "met": False},
        ],
    }  # fmt: skip
