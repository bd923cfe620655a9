"""Flights with a fault each, in simulated time: what the loop does, how soon, and whether what must hold holds."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from firmware_bridge.emulator.campaign import Flight
from firmware_bridge.emulator.faults import FAULTS
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES
from firmware_bridge.supervisor_limits import Limits
from neural_lander.vehicle import load_vehicle

SEEDS = 60  # per fault: 1020 flights, some ten minutes on two cores


def one(fault: str, seed: int) -> tuple[float, float, int, int, int]:
    """Reaction and oldest state behind a setpoint in s; frames lost, requests to arm, setpoints of NaN."""
    flight = Flight(load_vehicle("intel-aero"), fault, seed, tuple(FIRMWARES)[seed // 3 % 2]).run()
    witness = flight.witness
    return flight.reaction, witness.oldest, witness.lost, flight.armed_again, witness.not_finite


def run() -> dict[str, Any]:
    """Median and worst per fault."""
    jobs = (delayed(one)(fault, seed) for fault in FAULTS for seed in range(SEEDS))
    results = np.array(Parallel(n_jobs=os.cpu_count())(jobs)).reshape(len(FAULTS), SEEDS, -1)
    rows: list[dict[str, Any]] = []
    for fault, (reaction, oldest, lost, armed, not_finite) in zip(FAULTS, results.transpose(0, 2, 1), strict=True):
        reacted = reaction[np.isfinite(reaction)]
        rows.append(
            {
                "fault": fault,
                "n": SEEDS,
                "reacted": len(reacted),
                "median ms": f"{1000 * np.median(reacted):.0f}" if len(reacted) else "-",
                "worst ms": f"{1000 * reacted.max():.0f}" if len(reacted) else "-",
                "oldest ms": float(1000 * oldest.max()),
                "lost": int(lost.max()),
                "re-armed": int(armed.sum()),
                "NaN": int(not_finite.sum()),
            }
        )
    limit = 1000 * Limits().state_age
    return {
        "what": (
            f"n flights; those that reacted, and how long after the fault the first tick sent nothing or left control; "
            f"oldest state behind a setpoint, where the limit by the link's own clock is {limit:.0f} ms; frames that "
            "came whole and were lost; requests to arm or for control after it; setpoints of NaN. Ticks at 100 Hz"
        ),
        "rows": rows,
    }
