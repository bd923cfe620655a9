"""From flight logs to a network, its baselines and a fit report on flights that fitted nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.fitness import why_useless
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.analytic_fit import fit_cheeseman_bennett
from neural_lander.residual.digest import identity, unique_logs
from neural_lander.residual.domain import Domain
from neural_lander.residual.domain_fit import FadeCalibration, calibrate_fade, fit_domain
from neural_lander.residual.evaluation import Predictors, evaluate, predict
from neural_lander.residual.features import features_named, to_heading
from neural_lander.residual.fit import GO_ON, Effort, Fit, train_to_fit
from neural_lander.residual.network import TrainingData
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.scoring import scoring_rule
from neural_lander.residual.shortfall import Shortfall
from neural_lander.residual.slope import BLOCK, SlopeEvidence, identify_thrust_slope
from neural_lander.residual.steepness import steepest_slope
from neural_lander.residual.trim import bias_known, flight_biases, flight_trim, trim_height
from neural_lander.vehicle import Vehicle

MIN_SAMPLES = 500  # 5 s of usable flight: fewer cannot show height, velocity and attitude apart; guess
MOST_OUTLIERS = 0.05  # of the samples in the air, before it is said; none in 31 real flights
CALIBRATION_EPOCHS = 10  # of the network that the fade-out is calibrated with: half as many leave the same error
BLOCK_GAP = 0.5  # s at both ends of a held-out block that neither trains nor judges: neighbours are nearly equal

Progress = Callable[[str, float], None]
"""What is being done, and the fraction of it that is done."""


@dataclass(frozen=True)
class TrainingResult:
    """What a bundle is made of."""

    predictors: Predictors
    """The network and its baselines, fitted on all flights."""
    vehicle: Vehicle
    options: TrainingOptions
    """What was asked for."""
    used: TrainingOptions
    """What the network was trained with: the bounds that the flights allow in place of those that are left to them."""
    fit_report: dict[str, Any] | None
    """Errors on the flights held out, of a network fitted with the same options on the others; None without any. Raw,
    and under ``flight_trim`` without each flight's own bias, which no network can know."""
    split: dict[str, Any]
    """How flights were held out, and which."""
    datasets: list[dict[str, Any]]
    """Name, hash, samples and exclusions of every log."""
    slope: SlopeEvidence
    """What the flights say of df_a/dT, on which the bound on the learned slope rests."""
    domain: Domain
    """Where the flights were, and from where on the network is faded out."""
    fade: FadeCalibration
    shortfall: Shortfall
    """Where the network that is delivered misses most of what its own flights show in the mean."""
    optimisation_s: float
    """Of that network."""
    training_samples: int


@dataclass(frozen=True, eq=False)
class _Split:
    kind: str
    held_out: list[np.ndarray]
    """(N,) bool per flight: judged."""
    fitted: list[np.ndarray]
    """(N,) bool per flight: trained on."""


def train_residual(
    logs: Sequence[FlightLog],
    vehicle: Vehicle,
    options: TrainingOptions | None = None,
    progress: Progress = lambda stage, fraction: None,
) -> TrainingResult:
    """Learn f_a from flights.

    A share of the flights is held out by seed. A first network is fitted on the others and reported on those; then
    the one that is delivered is fitted on all flights with the same options, since flights are scarce.

    Parameters
    ----------
    logs
        Flights of this vehicle. With a single one, blocks of it are held out, and a warning says so.
    progress
        Called with a stage and the fraction of it that is done.

    Raises
    ------
    UserError
        From :func:`residual_samples`, or where too few samples are usable.

    Warns
    -----
    NeuralLanderWarning
        Where a log is not fit for learning; ``flightlog.fitness.without_useless`` leaves such logs out.
    """
    options = options or TrainingOptions()
    options.lipschitz(vehicle)  # refuse bounds that cannot be held before any work
    logs = unique_logs(logs)
    for reason in filter(None, (why_useless(log, vehicle) for log in logs)):
        warnings.warn(f"learned from all the same: {reason}", NeuralLanderWarning, stacklevel=2)
    flights = []
    for k, log in enumerate(logs):
        flights.append(residual_samples(log, vehicle, cut_off=options.cut_off))
        progress("samples", (k + 1) / len(logs))
    usable = sum(int(f.usable.sum()) for f in flights)
    if usable < MIN_SAMPLES:
        counts = {name: sum(f.exclusions[name] for f in flights) for name in flights[0].exclusions} if flights else {}
        left_out = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise UserError(
            f"{usable} usable samples in {len(flights)} flights, {MIN_SAMPLES} are needed; left out: {left_out}"
        )

    _warn_of_outliers(flights, vehicle, usable)
    split = _split(flights, options)
    report, efforts = None, GO_ON
    if any(mask.any() for mask in split.held_out):
        fitted, predictors, _ = fit_predictors(
            flights, split.fitted, vehicle, options, lambda f: progress("held-out fit", f)
        )
        efforts = (fitted.effort,)  # the report is of a network that was trained like the one that is delivered
        report = evaluate(predictors, flights, split.held_out)
        report["flights"] = [entry for entry in report["flights"] if entry["samples_scored"]]
        with_trim = evaluate(predictors, flights, split.held_out, trim=flight_trim, trim_above=trim_height(vehicle))
        report["flight_trim"] = {key: value for key, value in with_trim.items() if key != "flights"}
    everything = [np.ones(len(f), dtype=bool) for f in flights]
    fitted, predictors, slope = fit_predictors(
        flights, everything, vehicle, options, lambda f: progress("final fit", f), efforts
    )
    warn_of_shortfall(fitted, options)
    progress("domain", 0.0)
    domain, fade = fit_fading_domain(flights, everything, vehicle, options)
    progress("domain", 1.0)
    return TrainingResult(
        predictors=predictors,
        vehicle=vehicle,
        options=options,
        used=fitted.options,
        fit_report=report,
        split={
            "kind": split.kind,
            "held_out": [_name(f) for f, m in zip(flights, split.held_out, strict=True) if m.any()],
            "final_fit": "all flights, same options",
        },
        datasets=[dataset_entry(log, f) for log, f in zip(logs, flights, strict=True)],
        slope=slope,
        domain=domain,
        fade=fade,
        shortfall=fitted.shortfall,
        optimisation_s=fitted.optimisation_s,
        training_samples=usable,
    )


def fit_fading_domain(
    flights: Sequence[ResidualSamples], chosen: Sequence[np.ndarray], vehicle: Vehicle, options: TrainingOptions
) -> tuple[Domain, FadeCalibration]:
    """Where the chosen samples are, ``(N,)`` bool per flight, and the fade-out of networks trained on them.

    The fade-out is calibrated on networks with these options that are trained on less.
    """
    quick = replace(options, epochs=min(options.epochs or DEFAULT_EPOCHS, CALIBRATION_EPOCHS))
    usable = [f.usable & m for f, m in zip(flights, chosen, strict=True)]

    def fit(inner: Sequence[np.ndarray]) -> Callable[[ResidualSamples], np.ndarray]:
        _, predictors, _ = fit_predictors(flights, inner, vehicle, quick)
        return lambda samples: predict(predictors.network, samples)

    above = trim_height(vehicle)
    biases = flight_biases(flights, usable, above)
    fade = calibrate_fade(flights, usable, biases[:, 2], fit, bias_known(flights, usable, above))
    rest = np.array([0.0, 0.0, biases[:, 2].mean()])  # what is horizontal turns with the vehicle, and is an attitude's
    return fit_domain(flights, usable, fade.gone, rest), fade


def fit_predictors(
    flights: Sequence[ResidualSamples],
    chosen: Sequence[np.ndarray],
    vehicle: Vehicle,
    options: TrainingOptions,
    progress: Callable[[float], None] = lambda fraction: None,
    efforts: Sequence[Effort] = GO_ON,
) -> tuple[Fit, Predictors, SlopeEvidence]:
    """The network, its baselines and what the flights say of df_a/dT, from the usable samples among the chosen.

    Parameters
    ----------
    chosen
        ``(N,)`` bool per flight.
    efforts
        How hard it may be trained where the options leave that open.

    Raises
    ------
    UserError
        Where too few samples are left.
    """
    features = features_named(options.features)
    masks = [f.usable & m for f, m in zip(flights, chosen, strict=True)]

    def gather(field: Callable[[ResidualSamples], np.ndarray]) -> np.ndarray:
        return np.concatenate([field(f)[m] for f, m in zip(flights, masks, strict=True)])

    label, rotor_thrust = gather(lambda f: f.label), gather(lambda f: f.rotor_thrust)
    if len(label) < MIN_SAMPLES:
        raise UserError(
            f"{len(label)} usable samples remain for training beside the held-out flights, {MIN_SAMPLES} are needed: "
            "give more flights or a smaller held-out share"
        )
    if options.flight_trim:
        biases = flight_biases(flights, masks, trim_height(vehicle))
        label = label - np.repeat(biases - biases.mean(axis=0), [int(m.sum()) for m in masks], axis=0)
    slope = identify_thrust_slope(flights, vehicle, masks)
    data = TrainingData(gather(lambda f: np.asarray(features.of(f))), rotor_thrust, label)
    if features.heading_frame:
        cosine, sine = gather(lambda f: np.stack(f.heading, axis=-1)).T
        data = replace(data, label=np.stack(to_heading(list(label.T), cosine, sine), axis=-1))
    height = gather(lambda f: f.height)
    bounded = options.with_evidence(slope.identified, steepest_slope(height, label[:, 2]), vehicle)
    fitted = train_to_fit(data, height, features, vehicle, bounded, options.gamma is None, efforts, progress)
    law = fit_cheeseman_bennett(vehicle, gather(lambda f: f.centre_height), rotor_thrust.sum(-1), label[:, 2])
    return fitted, Predictors(fitted.network, law, label.mean(axis=0)), slope


def warn_of_shortfall(fitted: Fit, asked: TrainingOptions) -> None:
    """Say where the network misses what its own flights show, though it was trained for as long as we would."""
    if fitted.shortfall.matters and asked.epochs is None:
        warnings.warn(
            f"in the mean the network misses f_a,z of its own flights by {fitted.shortfall}, after "
            f"{fitted.options.epochs} epochs; longer training was tried as far as it helped. More --hidden than "
            f"{','.join(map(str, fitted.options.hidden))} or more --gamma than {fitted.options.gamma:.3g} may help, or "
            "the force there depends on what the network is not told",
            NeuralLanderWarning,
            stacklevel=3,
        )


def _warn_of_outliers(flights: Sequence[ResidualSamples], vehicle: Vehicle, usable: int) -> None:
    """Say where so much is taken for no aerodynamics that it may be the effect itself, or the thrust is wrong."""
    outliers, rule = sum(f.exclusions["outlier"] for f in flights), scoring_rule(vehicle)
    if outliers <= MOST_OUTLIERS * (outliers + usable):
        return
    from_profile = "the profile's [scoring] table (is it for these flights?), " if vehicle.scoring else ""
    warnings.warn(
        f"{outliers} of {outliers + usable} samples are left out since |f_a,z| is beyond {rule.outlier_above:.3g} N, "
        f"{rule.outlier_above / vehicle.weight:.2g} of the weight: what was to be learned may be among them; look at "
        f"{from_profile}the mass and the thrust curve in the profile ('logs quality' shows the force by height)",
        NeuralLanderWarning,
        stacklevel=3,
    )


def _split(flights: Sequence[ResidualSamples], options: TrainingOptions) -> _Split:
    """Hold out whole flights, never samples; blocks with a gap where there is only one flight."""
    rng = np.random.default_rng(options.seed)
    nothing = [np.zeros(len(f), dtype=bool) for f in flights]
    if options.held_out == 0:
        return _Split("nothing held out", nothing, [~m for m in nothing])
    if len(flights) == 1:
        warnings.warn(
            f"one flight only: blocks of {BLOCK:g} s of it are held out, which says less about other flights",
            NeuralLanderWarning,
            stacklevel=3,
        )
        every = round(1 / options.held_out)
        held_out, fitted = held_out_blocks(len(flights[0]), every, int(rng.integers(2**31)))
        words = f"one in {every} blocks of {BLOCK:g} s of the only flight, {BLOCK_GAP:g} s apart"
        return _Split(words, [held_out], [fitted])
    count = max(1, round(options.held_out * len(flights)))
    chosen = set(rng.permutation(len(flights))[:count].tolist())
    held = [~m if k in chosen else m for k, m in enumerate(nothing)]
    return _Split("by flight", held, [~m for m in held])


def held_out_blocks(n: int, every: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(held out, fitted) masks of n samples: every so many blocks one is held out, with a gap at both its ends."""
    block, gap = round(BLOCK / SAMPLE_PERIOD), round(BLOCK_GAP / SAMPLE_PERIOD)
    k = np.arange(n)
    count = max(1, -(-n // block))
    mine = (k // block) % every == seed % min(every, count)
    inside = np.ones(n, dtype=bool)
    for edge in np.flatnonzero(np.diff(mine.astype(np.int8))):
        inside[max(0, edge + 1 - gap) : edge + 1 + gap] = False
    return mine & inside, ~mine & inside


def _name(samples: ResidualSamples) -> str:
    return Path(samples.source).name


def dataset_entry(log: FlightLog, samples: ResidualSamples) -> dict[str, Any]:
    """What a bundle keeps of one log."""
    return {
        "log": _name(samples),
        **identity(log),
        "samples": len(samples),
        "usable": int(samples.usable.sum()),
        "exclusions": dict(samples.exclusions),
        "acceleration": samples.acceleration,
        "thrust": samples.thrust,
        "height_min_m": float(samples.height[samples.usable].min()) if samples.usable.any() else None,
        "height_max_m": float(samples.height[samples.usable].max()) if samples.usable.any() else None,
    }
