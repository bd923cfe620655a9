"""Learning on: from a bundle, its old flights and new ones to a model that may take the old one's place.

Old and new model are judged on flights that neither saw, and the model that is judged is the one that is delivered: it
is not fitted again on what judged it. The label is the whole residual m a - m g - R f_u whatever was compensated in
flight, since the thrust holds the compensation; what the flown model missed is reported beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.bundle import Bundle
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.digest import log_sha256, recorded
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.resample import SAMPLE_PERIOD, interpolate
from neural_lander.residual.retraining.gates import DATA, Gate, no_worse_near_ground
from neural_lander.residual.retraining.manifest import TRAIN, VALIDATION, WITHDRAWN, Entry, active, role
from neural_lander.residual.retraining.poison import check_bias, check_itself, hover_bias, same_flight
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.scoring import GRAM
from neural_lander.residual.training import (
    Progress,
    TrainingResult,
    dataset_entry,
    fit_fading_domain,
    fit_predictors,
    held_out_blocks,
)
from neural_lander.residual.trim import trim_height, trim_reference

VALIDATION_SHARE = 0.25  # of the new flights, rounded up: they judge from then on, and fit no model
LONE_BLOCKS = 2  # of the only unseen flight every second block judges: fewer than six blocks of 5 s say little
LEAST_LOW = round(1.0 / SAMPLE_PERIOD)  # samples near the ground that make a flight fit to judge there; a guess


@dataclass(frozen=True)
class Flight:
    """One flight and what is kept of it."""

    log: FlightLog
    samples: ResidualSamples
    entry: dict[str, Any]

    @property
    def low(self) -> int:
        """Samples near the ground to be judged on."""
        return int((self.samples.scored & self.samples.low).sum())


@dataclass(frozen=True)
class Retrained:
    """A new model, and how it did against the old one."""

    result: TrainingResult
    gate: Gate
    judged: str
    """On what, in one line."""


def options_of(bundle: Bundle, seed: int | None) -> TrainingOptions:
    """The choices the bundle was trained with; options that it is too old to know have their defaults."""
    training = bundle.info["training"]
    stored = {f.name: training[f.name] for f in fields(TrainingOptions) if f.name in training}
    options = TrainingOptions(**{**stored, "hidden": tuple(stored.get("hidden", TrainingOptions.hidden))})
    return options if seed is None else replace(options, seed=seed)


def unknown_logs(logs: Iterable[FlightLog], entries: Sequence[Entry]) -> tuple[list[FlightLog], list[dict[str, str]]]:
    """The logs that the bundle does not use yet, and those left out because it does or because they came twice.

    A withdrawn flight that is given again comes back.
    """
    new: dict[str, FlightLog] = {}
    ignored = []
    for log in logs:
        sha256, known = log_sha256(log), recorded(log, active(entries))
        if known is not None or sha256 in new:
            twin = known["log"] if known is not None else Path(new[sha256].source).name
            place = "in the bundle" if known is not None else "given"
            ignored.append({"log": log.source, "reason": f"the same flight is already {place} as {twin}"})
        else:
            new[sha256] = log
    return list(new.values()), ignored


def old_flights(
    bundle: Bundle, entries: Sequence[Entry], logs: Sequence[FlightLog], options: TrainingOptions, progress: Progress
) -> list[Flight]:
    """Samples of the flights that the bundle rests on.

    Raises
    ------
    UserError
        Where one of them can no longer be used, with the remedy.
    """
    flights = []
    for entry, log in zip(entries, logs, strict=True):
        try:
            samples = residual_samples(log, bundle.vehicle, cut_off=options.cut_off)
        except UserError as error:
            raise UserError(f"{error}; take it out with --without {entry['log']}") from error
        kept = {"role": role(entry), "added": entry.get("added", 1)}
        flights.append(Flight(log, samples, {**dataset_entry(log, samples), **kept}))
        progress("old flights", len(flights) / len(entries))
    return flights


def check_new(
    bundle: Bundle,
    old: Sequence[Flight],
    logs: Sequence[FlightLog],
    refused: Sequence[str],
    options: TrainingOptions,
    number: int,
    progress: Progress,
) -> tuple[list[Flight], Gate, list[dict[str, Any]]]:
    """Samples of the new flights, the gate ``data``, and a row on every flight for the report.

    Parameters
    ----------
    refused
        Why logs could not even be read, one sentence each.
    number
        Of the version that the flights are for.
    """
    above = trim_height(bundle.vehicle)
    biases = [hover_bias(f.samples, bundle.vehicle, bundle.cheeseman_bennett) for f in old]
    biases = [b for b in biases if np.isfinite(b)]
    flights: list[Flight] = []
    causes, rows = list(refused), []
    for k, log in enumerate(logs):
        try:
            check_itself(log, bundle.vehicle)
            samples = residual_samples(log, bundle.vehicle, cut_off=options.cut_off)
            bias = hover_bias(samples, bundle.vehicle, bundle.cheeseman_bennett)
            check_bias(log.source, bias, biases)
            for other in (*old, *flights):
                if same_flight(log, other.log):
                    raise UserError(
                        f"log {log.source} is the flight {other.entry['log']} once more, or a part of it: leave one out"
                    )
        except UserError as error:
            causes.append(str(error))
        else:
            flights.append(Flight(log, samples, {**dataset_entry(log, samples), "added": number}))
            rows.append({**_row(flights[-1], above), "hover_bias_of_weight": bias})
        progress("new flights", (k + 1) / len(logs))
    checked = f"{_counted(len(logs), 'new log')} fit vehicle '{bundle.vehicle.name}' and the {len(biases)} old flights"
    figures = {"refused": causes, "hover_bias_of_weight_old": biases}
    return flights, Gate(DATA, not causes, "; ".join(causes) or checked, figures), rows


def refit(
    bundle: Bundle,
    old: Sequence[Flight],
    new: Sequence[Flight],
    withdrawn: Sequence[Flight],
    options: TrainingOptions,
    progress: Progress,
) -> Retrained:
    """Fit on old and new flights and judge the old and the new model on flights that neither saw.

    Parameters
    ----------
    old, new
        Flights in use. Of ``new`` a share is set aside to judge; of a lone one, where no earlier flight was, blocks.
    withdrawn
        Flights that the old model was fitted on and the new one is not, as far as they are found: where the old model
        saw every flight there is, one that is fitted the same way without the judges stands in for it.

    Raises
    ------
    UserError
        Where too little is left to fit on.
    """
    above, vehicle = trim_height(bundle.vehicle), bundle.vehicle
    flights, judging, fitting, how = _split(old, new, options)
    before = Predictors(bundle.model, bundle.cheeseman_bennett, bundle.mean)
    if not new and not any(role(f.entry) == VALIDATION for f in old):
        everything = [*flights, *withdrawn]
        masks = [*fitting, *(np.ones(len(f.samples), dtype=bool) for f in withdrawn)]
        if withdrawn:
            _, before, _ = fit_predictors([f.samples for f in everything], masks, vehicle, options)
        stand_in = "a stand-in for the old model, fitted again without them, is compared"
        how += f" ({stand_in if withdrawn else 'which the old model was fitted on'})"
    samples = [f.samples for f in flights]
    fitted, after, slope = fit_predictors(samples, fitting, vehicle, options, lambda done: progress("fit", done))
    progress("domain", 0.0)
    domain, fade = fit_fading_domain(samples, fitting, vehicle, options)
    progress("domain", 1.0)
    gate = no_worse_near_ground(before, after, samples, judging, above, options.seed)
    report = evaluate(after, samples, judging)
    report["flights"] = [entry for entry in report["flights"] if entry["samples_scored"]]
    judges = [f for f, m in zip(flights, judging, strict=True) if m.any()]
    result = TrainingResult(
        predictors=after,
        vehicle=vehicle,
        options=options,
        fit_report=report,
        split={
            "kind": how,
            "held_out": [f.entry["log"] for f in judges],
            "final_fit": "the network that was judged, not fitted again on what judged it",
        },
        datasets=[f.entry for f in flights],
        slope=slope,
        domain=domain,
        fade=fade,
        optimisation_s=fitted.optimisation_s,
        training_samples=sum(int((s.usable & m).sum()) for s, m in zip(samples, fitting, strict=True)),
    )
    return Retrained(result, gate, f"{how}: {', '.join(result.split['held_out'])}")


def with_withdrawn(result: TrainingResult, entries: Sequence[Entry]) -> TrainingResult:
    """The result with the entries that are withdrawn in its manifest too, but for flights that came back."""
    used = {entry["sha256"] for entry in result.datasets} | {entry["file_sha256"] for entry in result.datasets}
    gone = [{**e, "role": WITHDRAWN} for e in entries if role(e) == WITHDRAWN and e["sha256"] not in used]
    return replace(result, datasets=[*result.datasets, *gone])


def _split(
    old: Sequence[Flight], new: Sequence[Flight], options: TrainingOptions
) -> tuple[list[Flight], list[np.ndarray], list[np.ndarray], str]:
    """All flights with their roles, the samples of each that judge, those that may be fitted on, and how in words."""
    earlier = [f for f in old if role(f.entry) == VALIDATION]
    rng = np.random.default_rng(options.seed)
    if len(new) == 1 and not earlier:
        lone = new[0]
        warnings.warn(
            f"{lone.entry['log']} is the only flight that the old model has not seen: blocks of 5 s of it judge, which "
            "says less about other flights; two new flights or more judge better",
            NeuralLanderWarning,
            stacklevel=3,
        )
        judge, fit = held_out_blocks(len(lone.samples), LONE_BLOCKS, int(rng.integers(2**31)))
        flights = [*old, _as(lone, TRAIN)]
        nothing = [np.zeros(len(f.samples), dtype=bool) for f in old]
        return flights, [*nothing, judge], [*(~m for m in nothing), fit], "every second block of 5 s of the new flight"
    candidates = list(new) if new else [f for f in old if not earlier]
    count = int(np.ceil(VALIDATION_SHARE * len(candidates))) if len(candidates) > 1 else 0
    order = [candidates[k] for k in rng.permutation(len(candidates))]
    order.sort(key=lambda flight: flight.low < LEAST_LOW)  # stable: by chance among those that judge near the ground
    chosen = {id(flight) for flight in order[:count]}
    flights = [_as(f, VALIDATION if id(f) in chosen else role(f.entry)) for f in (*old, *new)]
    judging = [np.full(len(f.samples), role(f.entry) == VALIDATION) for f in flights]
    kinds = [_counted(count, "new flight")] if new and count else []
    kinds += [_counted(len(earlier), "earlier validation flight")] if earlier else []
    kinds += [_counted(count, "old flight")] if not new and count else []
    return flights, judging, [~m for m in judging], " and ".join(kinds) or "no flight"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n or 'no'} {noun}s"


def _as(flight: Flight, role_: str) -> Flight:
    return replace(flight, entry={**flight.entry, "role": role_})


def _row(flight: Flight, trim_above: float) -> dict[str, Any]:
    """What the report says of one new flight."""
    return {
        "log": flight.entry["log"],
        "duration_s": flight.log.duration,
        "usable": flight.entry["usable"],
        "samples_low": flight.low,
        "flown_model": missed_by_flown_model(flight.log, flight.samples, trim_above),
    }


def missed_by_flown_model(log: FlightLog, samples: ResidualSamples, trim_above: float) -> dict[str, Any] | None:
    """RMS of f_a,z and of what is left of it beyond the estimate that was subtracted in flight; None without one.

    Both have the flight's trim taken off. Training learns the first, never the second.
    """
    if log.f_a_applied is None or not np.any(log.f_a_applied):
        return None
    total = samples.label[:, 2]
    missed = total - interpolate(samples.t, log.t, log.f_a_applied)[:, 2]
    high = trim_reference(samples, trim_above)
    figures: dict[str, Any] = {}
    for name, values in (("total", total), ("missed", missed)):
        values = values - (values[high].mean() if high.any() else 0.0)
        for where, mask in (("", samples.scored), ("_low", samples.scored & samples.low)):
            rms = float(np.sqrt(np.mean(values[mask] ** 2))) if mask.any() else None
            figures[f"rms_{name}_fa_z{where}_N"] = rms
            figures[f"rms_{name}_fa_z{where}_g"] = None if rms is None else rms / GRAM
    return figures
