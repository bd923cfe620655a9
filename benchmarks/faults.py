"""Flights with a fault each, in simulated time: what the loop does, how soon, and whether what must hold holds."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks.fault_flights.flight import Flight
from benchmarks.fault_flights.rigs import faults_of
from firmware_bridge.emulator.faults import FAULTS
from neural_lander.vehicle import load_vehicle

SEEDS = 32  # per fault and protocol: 1088 flights, some six minutes on two cores
PROTOCOLS = {"MAVLink": ("px4", "ardupilot"), "MSP": ("betaflight", "inav")}


def one(fault: str, seed: int, firmware: str) -> tuple[float, float, float, int, int, int]:
    """Reaction, oldest state behind a setpoint, age allowed in s; frames lost in a row, requests, bad setpoints."""
    flight = Flight(load_vehicle("intel-aero"), fault, seed, firmware).run()
    witness = flight.rig.witness
    ages = witness.oldest, flight.age_allowed
    return flight.reaction, *ages, witness.lost_in_a_row, flight.armed_again, witness.not_finite


def run() -> dict[str, Any]:
    """Median and worst per fault and protocol."""
    kinds = [(name, fault) for name, firmwares in PROTOCOLS.items() for fault in faults_of(firmwares[0])]
    jobs = (delayed(one)(fault, seed, PROTOCOLS[name][seed // 3 % 2]) for name, fault in kinds for seed in range(SEEDS))
    results = np.array(Parallel(n_jobs=os.cpu_count())(jobs)).reshape(len(kinds), SEEDS, -1)
    rows: list[dict[str, Any]] = []
    for (name, fault), columns in zip(kinds, results.transpose(0, 2, 1), strict=True):
        reaction, oldest, allowed, lost, asked, bad = columns
        reacted = reaction[np.isfinite(reaction)]
        rows.append(
            {
                "protocol": name,
                "fault": fault,
                "n": SEEDS,
                "reacted": len(reacted),
                "median ms": f"{1000 * np.median(reacted):.0f}" if len(reacted) else "-",
                "worst ms": f"{1000 * reacted.max():.0f}" if len(reacted) else "-",
                "oldest ms": float(1000 * oldest.max()),
                "allowed ms": float(1000 * allowed.min()),
                "lost in a row": int(lost.max()),
                "re-armed": int(asked.sum()),
                "NaN": int(bad.sum()),
            }
        )
    return {
        "what": (
            "n flights; those that reacted, and how long after the fault the first tick sent nothing or left control; "
            "oldest state behind a setpoint, and how old it may be; most frames that came whole and "
            "were lost one after the other; requests to arm or for control after it; setpoints of NaN or out of range. "
            "Ticks at 100 Hz"
        ),
        "rows": rows,
        "kinds": {fault: FAULTS[fault].what for _, fault in kinds},
    }
