"""Identifiability of the slope in thrust: excited flights give it, quasi-static ones are told from them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from learning_flights import flight, smooth

from neural_lander.residual.options import UNIDENTIFIED_THRUST_SLOPE, TrainingOptions
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.slope import identify_thrust_slope
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


@pytest.fixture(scope="module")
def excited() -> ResidualSamples:
    return residual_samples(flight(VEHICLE, 60.0, top=2.0, low_share=0.2), VEHICLE)


def quasi_static(samples: ResidualSamples, seed: int = 0) -> ResidualSamples:
    """The same flight held still: thrust answers a gust that the label holds."""
    gust = smooth(np.random.default_rng(seed), len(samples), 0.2, 4.0, 0.02 * VEHICLE.weight)[:, 0]
    thrust = (VEHICLE.weight - gust) / 4
    label = np.zeros_like(samples.label)
    label[:, 2] = gust
    return replace(
        samples,
        rotor_thrust=np.repeat(thrust[:, None], 4, axis=1),
        label=label,
        velocity=0 * samples.velocity,
        centre_height=np.full(len(samples), 1.5),
    )


@pytest.mark.parametrize("true_slope", [-0.15, 0.0, 0.2])
def test_a_slope_in_dithered_flight_is_found_within_three_standard_errors(
    excited: ResidualSamples, true_slope: float
) -> None:
    label = excited.label.copy()
    rng = np.random.default_rng(1)
    label[:, 2] = (
        true_slope * excited.rotor_thrust.sum(-1) - 0.1 * excited.velocity[:, 2] + 0.1 * rng.normal(size=len(label))
    )
    evidence = identify_thrust_slope([replace(excited, label=label)], VEHICLE)
    assert evidence.identified and evidence.slope is not None and evidence.standard_error is not None
    assert abs(evidence.slope - true_slope) < 3 * evidence.standard_error < 0.05
    assert evidence.excitation == pytest.approx(0.1, rel=0.3)


def test_the_balance_of_thrust_and_weight_is_not_taken_for_aerodynamics(excited: ResidualSamples) -> None:
    evidence = identify_thrust_slope([quasi_static(excited)], VEHICLE)
    assert not evidence.identified
    assert evidence.slope == pytest.approx(-1.0, abs=0.05)
    assert "balance" in evidence.reason


def test_little_excitation_under_much_noise_identifies_nothing(excited: ResidualSamples) -> None:
    rng = np.random.default_rng(2)
    steady = quasi_static(excited)
    noisy = replace(steady, label=rng.normal(scale=5.0, size=steady.label.shape))
    evidence = identify_thrust_slope([noisy], VEHICLE)
    assert not evidence.identified and "standard error" in evidence.reason


def test_too_short_a_flight_says_so(excited: ResidualSamples) -> None:
    mask = np.arange(len(excited)) < 500
    evidence = identify_thrust_slope([excited], VEHICLE, [mask & excited.usable])
    assert not evidence.identified and evidence.slope is None and "needed" in evidence.reason


def test_without_evidence_the_bound_on_the_slope_is_tight_unless_the_user_insists() -> None:
    def bound(identified: bool, **options: Any) -> float:
        return TrainingOptions(**options).with_evidence(identified, 0.0, VEHICLE).thrust_slope

    assert bound(False) == UNIDENTIFIED_THRUST_SLOPE
    assert bound(True) == TrainingOptions().thrust_slope
    assert bound(False, thrust_slope=0.05) == 0.05
    assert bound(False, thrust_input="on") == TrainingOptions().thrust_slope
