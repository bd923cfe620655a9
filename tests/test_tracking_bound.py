"""The tracking bound: what it says of the sampled loop, how tight it is, and what its checker refuses."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy.integrate import quad

from neural_lander.certificate import check
from neural_lander.certificate.check_tracking import gains_sha256, responses, tracking_numbers, tracking_problems
from neural_lander.certificate.document import certify
from neural_lander.certificate.tracking import LoopFlight, disturbance, envelope, measure_tracking, verify_tracking
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
MASS, LAM, DT, L_U = VEHICLE.mass, 3.0, 1 / 240, 0.3
SCHEMA = json.loads((Path(check.__file__).parent / "certificate.schema.json").read_text())


def loop(w: np.ndarray, Gamma: float, s0: np.ndarray, lam: float = LAM) -> np.ndarray:
    """s (N+1, 3) of the sampled loop under w (N, 3), written out."""
    s, D, out = s0, np.zeros(3), [s0]
    for force in w:
        s, D = s + DT * (-lam * s - D / MASS + force / MASS), D + DT * Gamma * MASS * lam * s
        out.append(s)
    return np.array(out)


def flights(Gamma: float, n: int = 5, size: float = 0.5, seed: int = 0) -> list[LoopFlight]:
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        w = rng.normal(size=(500, 3)).cumsum(axis=0)
        w *= size / np.linalg.norm(w, axis=1).max()
        s = loop(w, Gamma, 0.1 * rng.normal(size=3))
        found.append(LoopFlight(k, s, s / LAM, np.full(len(s), 1e-3)))
    return found


@cache
def measured_once(Gamma: float) -> dict[str, Any]:
    gains = TrackingGains.critically_damped(VEHICLE, LAM, Gamma)
    return measure_tracking(flights(Gamma), gains, VEHICLE, L_U, DT, "synthetic")


def tracking(Gamma: float = 1.5) -> dict[str, Any]:
    return copy.deepcopy(measured_once(Gamma))


@pytest.mark.parametrize("Gamma", [0.0, 0.5, 1.5])
def test_the_disturbance_is_recovered_from_s_alone(Gamma: float) -> None:
    w = np.random.default_rng(1).normal(size=(300, 3))
    s = loop(w, Gamma, np.array([0.3, 0.0, -0.2]))
    np.testing.assert_allclose(disturbance(s, MASS, LAM, Gamma, DT), w, atol=1e-9)


def test_gains_are_the_peak_to_peak_gains_of_the_continuous_loop() -> None:
    dt = 1e-4
    a, b = 1.5, np.sqrt(1.5 * 3 - 1.5**2)  # s / (w / m) = p / (p^2 + 3 p + 4.5)
    numbers = tracking_numbers({**tracking()["measured"]}, MASS, LAM, LAM, 1.5, L_U, dt)
    impulse = quad(lambda t: abs(np.exp(-a * t) * (np.cos(b * t) - a / b * np.sin(b * t))), 0, 30, limit=500)[0]
    step = quad(lambda t: abs(np.exp(-a * t) * np.sin(b * t) / b), 0, 30, limit=500)[0]
    assert numbers["gain_of_size_s"] == pytest.approx(impulse, rel=1e-3)
    assert numbers["gain_of_rate_s2"] == pytest.approx(step, rel=1e-3)
    assert numbers["decay_rate_1_s"] == pytest.approx(a)
    without = tracking_numbers({**tracking(0.0)["measured"]}, MASS, LAM, LAM, 0.0, L_U, dt)
    assert without["gain_of_size_s"] == pytest.approx(1 / LAM, rel=1e-6)  # the paper's theorem: eps / lambda_min(K_v)


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_the_worst_disturbance_of_a_size_reaches_the_ball_and_none_exceeds_it(Gamma: float) -> None:
    numbers = tracking(Gamma)["numbers"]
    phi = responses(LAM, LAM, Gamma, DT)["s"]
    measured = {**tracking(Gamma)["measured"], "split_time_constant_s": None, "disturbance_N": 1.0, "input_gap_N": 0.0}
    ball = tracking_numbers(measured, MASS, LAM, LAM, Gamma, L_U, DT)["s_ball_m_s"]
    n = min(len(phi), 4000)
    worst = np.zeros((n, 3))
    worst[:, 2] = np.sign(phi[:n][::-1])
    s = np.linalg.norm(loop(worst, Gamma, np.zeros(3)), axis=1)
    assert s.max() <= ball * (1 + 1e-9)
    assert s.max() > 0.999 * ball
    assert numbers["s_ball_m_s"] > 0


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_height_and_speed_stay_within_their_balls(Gamma: float) -> None:
    rng = np.random.default_rng(3)
    measured = {**tracking(Gamma)["measured"], "disturbance_vertical_N": 1.0, "input_gap_N": 0.0}
    numbers = tracking_numbers(measured, MASS, LAM, LAM, Gamma, L_U, DT)
    of = responses(LAM, LAM, Gamma, DT)
    for name, ball in (("p", "height_ball_m"), ("v", "vertical_speed_ball_m_s")):
        for w_z in (np.sign(of[name][:3000][::-1]), rng.choice([-1.0, 1.0], 3000)):
            s = loop(np.outer(w_z, [0, 0, 1.0]), Gamma, np.zeros(3))[:, 2]
            p = np.zeros(len(s))
            for k in range(len(s) - 1):
                p[k + 1] = p[k] + DT * (s[k] - LAM * p[k])
            reached = np.abs(p if name == "p" else s - LAM * p).max()
            assert reached <= numbers[ball] * (1 + 1e-9)
    assert numbers["height_ball_m"] < tracking_numbers(measured, MASS, LAM, LAM, 0.0, L_U, DT)["s_ball_m_s"]


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_flights_with_no_larger_disturbance_stay_under_the_envelope_and_larger_ones_are_found(Gamma: float) -> None:
    bound = tracking(Gamma)
    same = verify_tracking(flights(Gamma, 20, seed=1), bound, MASS, DT)
    assert same["violations"] == 0 and same["share_of_time_disturbance_exceeded"] < 0.01
    larger = verify_tracking(flights(Gamma, 5, size=20.0), bound, MASS, DT)
    assert larger["violations"] == 5 and larger["share_of_time_disturbance_exceeded"] > 0.1
    start = envelope(bound, MASS, 1.0, 10)
    assert start[0] == pytest.approx(1.0 + bound["numbers"]["s_ball_m_s"])


def test_a_slow_disturbance_counts_by_its_rate_where_that_says_more() -> None:
    ramps = []
    for k in range(3):  # 0.02 N/s for a minute: large in the end, slow all along
        w = np.outer(0.02 * DT * np.arange(14400), np.eye(3)[k])
        ramps.append(LoopFlight(k, loop(w, 1.5, np.zeros(3)), np.zeros((14401, 3)), np.zeros(14401)))
    gains = TrackingGains.critically_damped(VEHICLE, LAM, 1.5)
    bound = measure_tracking(ramps, gains, VEHICLE, L_U, DT, "ramps")
    assert bound["measured"]["split_time_constant_s"] is not None
    by_size = 1.2 * bound["numbers"]["gain_of_size_s"] / MASS
    assert bound["numbers"]["s_ball_m_s"] < 0.2 * by_size
    assert verify_tracking(ramps, bound, MASS, DT)["violations"] == 0


def test_gains_that_differ_between_axes_and_no_flights_are_refused() -> None:
    gains = TrackingGains(np.array([3.0, 3.0, 2.0]), 3 * MASS * np.ones(3))
    with pytest.raises(UserError, match="differ between axes"):
        measure_tracking(flights(1.5), gains, VEHICLE, L_U, DT, "x")
    with pytest.raises(UserError, match="no descent"):
        measure_tracking([], TrackingGains.critically_damped(VEHICLE), VEHICLE, L_U, DT, "x")


def test_the_checker_accepts_what_follows_and_weaker_claims() -> None:
    for Gamma in (0.0, 1.5):
        bound = tracking(Gamma)
        assert list(tracking_problems(bound, MASS, L_U)) == []
        weaker = copy.deepcopy(bound)
        weaker["numbers"]["s_ball_m_s"] *= 1.5
        weaker["numbers"]["decay_rate_1_s"] *= 0.5
        assert list(tracking_problems(weaker, MASS, L_U)) == []


def edit(where: str, key: str, factor: float) -> Any:
    def change(bound: dict[str, Any]) -> None:
        bound[where][key] *= factor

    return change


def gains_of_another_controller(bound: dict[str, Any]) -> None:
    bound["gains"]["K_v_kg_s"] /= 2
    g = bound["gains"]
    bound["gains_sha256"] = gains_sha256(g["Lambda_1_s"], g["K_v_kg_s"], g["Gamma_1_s"])


@pytest.mark.parametrize(
    "change",
    [
        *(edit("numbers", k, 0.99) for k in ("s_ball_m_s", "height_ball_m", "vertical_speed_ball_m_s")),
        edit("numbers", "gain_of_size_s", 0.99),
        edit("numbers", "decay_rate_1_s", 1.01),
        edit("measured", "disturbance_N", 1.02),
        edit("measured", "disturbance_vertical_N", 1.02),
        edit("measured", "disturbance_N", float("nan")),
        edit("measured", "disturbance_N", -1.0),
        edit("gains", "Lambda_1_s", 1.1),
        edit("gains", "Gamma_1_s", 0.9),
        gains_of_another_controller,
        lambda bound: bound.update(step_s=0.1),
        lambda bound: bound.update(gains_sha256="0" * 64),
    ],
)  # fmt: skip
def test_the_checker_names_a_claim_that_does_not_follow(change: Any) -> None:
    bound = tracking()
    change(bound)
    assert list(tracking_problems(bound, MASS, L_U))


def test_a_certificate_with_it_fits_the_schema() -> None:
    document = certify(random_network(VEHICLE, 0), VEHICLE, tracking=[tracking(), tracking(0.0)])
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
