"""Draw the README's picture from a demo's results: python docs/landing.py demo-out/results.json docs/landing.svg."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

SHOWN = {"pd": "#d9822b", "pd-trim": "#b0883c", "neural-lander": "#4a9fd8", "neural-lander-trim": "#2a9d76"}
GREY = "#7a8794"  # legible on a light and on a dark page


def main(source: Path, target: Path) -> None:
    """Height over the last part of the first seed's landing."""
    scenarios = json.loads(source.read_text("utf-8"))["scenarios"]
    controllers = next(s["controllers"] for name, s in scenarios.items() if name.startswith("land"))
    plt.rcParams.update(dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), GREY))
    plt.rcParams["svg.hashsalt"] = "landing"  # the same file from the same results
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    shown = {key: colour for key, colour in SHOWN.items() if key in controllers}
    for key, colour in shown.items():
        trace = controllers[key]["traces"][0]
        axes.plot(trace["t"], [1e3 * h for h in trace["height_m"]], color=colour, label=controllers[key]["label"])
        axes.plot(trace["t"], [1e3 * h for h in trace["height_ref_m"]], color=GREY, ls=":", lw=1)
    axes.plot([], [], color=GREY, ls=":", lw=1, label="reference")
    axes.set(xlabel="time (s)", ylabel="height of the landing gear (mm)", xlim=(2.4, 8.3), ylim=(-5, 215))
    axes.tick_params(colors=GREY)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(target, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
