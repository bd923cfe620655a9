"""The tracking bound: what it says of the sampled loop, how tight it is, and what its checker refuses."""

import copy
import json
import time
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy.integrate import quad

from neural_lander.certificate import check
from neural_lander.certificate.check_tracking import (
    LABELS,
    envelopes,
    gains_sha256,
    kicked,
    responses,
    tracking_numbers,
    tracking_problems,
)
from neural_lander.certificate.document import certify
from neural_lander.certificate.tracking import (
    SETTLED_TIME,
    START_TIME,
    LoopFlight,
    disturbance,
    measure_tracking,
    values_of,
    verify_tracking,
)
from neural_lander.certificate.tracking_sources import tracking_entries
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
PROFILE, ASKED = tomllib.loads(VEHICLE.text), "0" * 64
MASS, LAM, DT = VEHICLE.mass, 3.0, 1 / 240
SCHEMA = json.loads((Path(check.__file__).parent / "certificate.schema.json").read_text())


def loop(w: np.ndarray, Gamma: float, s0: np.ndarray, lam: float = LAM) -> np.ndarray:
    """s (N+1, 3) of the sampled loop under w (N, 3), written out."""
    s, D, out = s0, np.zeros(3), [s0]
    for force in w:
        s, D = s + DT * (-lam * s - D / MASS + force / MASS), D + DT * Gamma * MASS * lam * s
        out.append(s)
    return np.array(out)


def positions(s: np.ndarray, p0: float = 0.0) -> np.ndarray:
    """p~ like s of a world that moves by dt times the new velocity: p+ = p + dt v+, v = s - Lambda p."""
    p = np.full_like(s, p0)
    for k in range(len(s) - 1):
        p[k + 1] = (p[k] + DT * s[k + 1]) / (1 + DT * LAM)
    return p


def flights(Gamma: float, n: int = 5, size: float = 0.5, seed: int = 0) -> list[LoopFlight]:
    """A start with a push of three times the later size for a tenth of a second, and a random walk."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        w = rng.normal(size=(600, 3)).cumsum(axis=0)
        w *= size / np.linalg.norm(w, axis=1).max()
        w[:24] += 3 * size * np.array([0.6, 0.0, 0.8])
        s = loop(w, Gamma, 0.1 * rng.normal(size=3))
        found.append(LoopFlight(k, s, positions(s, 0.01 * k), np.full(len(s), 1e-3)))
    return found


@cache
def measured_once(Gamma: float) -> dict[str, Any]:
    gains = TrackingGains.critically_damped(VEHICLE, LAM, Gamma)
    return measure_tracking(flights(Gamma), gains, VEHICLE, DT, "synthetic", ASKED)


def tracking(Gamma: float = 1.5) -> dict[str, Any]:
    return copy.deepcopy(measured_once(Gamma))


def values(Gamma: float = 1.5) -> dict[str, float]:
    return values_of(measured_once(Gamma))


FOLLOWING = list(tracking_numbers(values(1.5), MASS))
"""What the checker computes from the other numbers."""


@pytest.mark.parametrize("Gamma", [0.0, 0.5, 1.5])
def test_the_disturbance_is_recovered_from_s_alone(Gamma: float) -> None:
    w = np.random.default_rng(1).normal(size=(300, 3))
    s = loop(w, Gamma, np.array([0.3, 0.0, -0.2]))
    np.testing.assert_allclose(disturbance(s, MASS, LAM, Gamma, DT), w, atol=1e-9)


def test_gains_are_the_peak_to_peak_gains_of_the_continuous_loop() -> None:
    dt = 4e-4
    a, b = 1.5, np.sqrt(1.5 * 3 - 1.5**2)  # s / (w / m) = p / (p^2 + 3 p + 4.5)
    numbers = tracking_numbers({**values(), "controller_step": dt}, MASS)
    impulse = quad(lambda t: abs(np.exp(-a * t) * (np.cos(b * t) - a / b * np.sin(b * t))), 0, 30, limit=500)[0]
    step = quad(lambda t: abs(np.exp(-a * t) * np.sin(b * t) / b), 0, 30, limit=500)[0]
    assert numbers["gain_of_size"] == pytest.approx(impulse, rel=1e-3)
    assert numbers["gain_of_rate"] == pytest.approx(step, rel=1e-3)
    assert numbers["decay_rate"] == pytest.approx(a, rel=1e-3)
    without = tracking_numbers({**values(0.0), "controller_step": dt}, MASS)
    assert without["gain_of_size"] == pytest.approx(1 / LAM, rel=1e-6)  # the paper's theorem: eps / lambda_min(K_v)


@pytest.mark.parametrize("Gamma", [0.0, 0.5, LAM / 4, 1.5, 6.0])
def test_a_wrong_start_dies_out_at_the_sampled_loops_rate(Gamma: float) -> None:
    numbers = tracking_numbers(values(Gamma), MASS)
    A = np.array([[1 - DT * LAM, -DT], [DT * Gamma * LAM, 1.0]])[: 2 if Gamma else 1, : 2 if Gamma else 1]
    slowest = max(np.abs(np.linalg.eigvals(A)).max(), 1 / (1 + DT * LAM))  # the latter of p~, which follows s
    assert numbers["decay_rate"] == pytest.approx(-np.log(slowest) / DT, rel=1e-5)


def test_a_position_that_follows_slowly_is_in_the_rate() -> None:
    """Lambda a tenth of lambda: p~ outlasts s, and no start dies out faster than it."""
    value = {**values(0.0), "Lambda": 0.3}
    assert tracking_numbers(value, MASS)["decay_rate"] == pytest.approx(0.3, rel=1e-2)
    p = responses(LAM, 0.3, 0.0, DT)["p"]
    after = round(5.0 / DT)
    assert -np.log(abs(p[after + 240] / p[after])) / (240 * DT) == pytest.approx(0.3, rel=1e-2)


def alone(Gamma: float, **sizes: float) -> dict[str, float]:
    """Gains with these sizes and no others."""
    value = {name: 0.0 if LABELS[name][2] == "measured" else v for name, v in values(Gamma).items()}
    return {**{k: v for k, v in value.items() if k != "split_time_constant"}, **sizes}


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_the_worst_disturbance_of_a_size_reaches_the_ball_and_none_exceeds_it(Gamma: float) -> None:
    phi = responses(LAM, LAM, Gamma, DT)["s"]
    ball = tracking_numbers(alone(Gamma, disturbance=1.0), MASS)["s_ball"]
    n = min(len(phi), 4000)
    worst = np.zeros((n, 3))
    worst[:, 2] = np.sign(phi[:n][::-1])
    s = np.linalg.norm(loop(worst, Gamma, np.zeros(3)), axis=1)
    assert s.max() <= ball * (1 + 1e-9)
    assert s.max() > 0.999 * ball


def test_what_the_gap_does_is_in_the_disturbance_and_counts_once() -> None:
    """f_a_hat at other thrusts than those commanded is a part of w, which s shows whole."""
    gains = TrackingGains.critically_damped(VEHICLE, LAM, 0.0)
    wide = [replace(f, input_gap=np.full(len(f.s), 5.0)) for f in flights(0.0)]
    bound = values_of(measure_tracking(wide, gains, VEHICLE, DT, "synthetic", ASKED))
    assert bound["input_gap"] == 5.0
    assert bound["s_ball"] == pytest.approx(bound["disturbance"] / (MASS * LAM), rel=1e-6)


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_a_push_at_the_start_reaches_its_envelope_and_none_of_its_impulse_exceeds_it(Gamma: float) -> None:
    value, n = alone(Gamma, start_impulse=0.3, start_impulse_vertical=0.3), 720
    bound = envelopes(value, MASS, n)
    window = round(START_TIME / DT)
    rng, reached = np.random.default_rng(0), np.zeros(n)
    for k in range(30):
        w, share = np.zeros((n, 3)), np.zeros(window)
        share[rng.integers(0, window, 30) if k >= 25 else k * (window - 1) // 24] = 1.0
        w[:window, 2] = rng.choice([-1, 1]) * 0.3 / DT * share / share.sum()
        s = loop(w, Gamma, np.zeros(3))[:n, 2]
        p = positions(s)
        for name, error in (("s", s), ("height", p), ("vertical_speed", s - LAM * p)):
            assert np.all(np.abs(error) <= bound[name][:n] * (1 + 1e-9) + 1e-15), name
        reached = np.maximum(reached, np.abs(s))
    assert np.all(reached[window:] > 0.8 * bound["s"][window:n])


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_height_and_speed_stay_within_their_balls(Gamma: float) -> None:
    rng = np.random.default_rng(3)
    numbers = tracking_numbers(alone(Gamma, disturbance_vertical=1.0), MASS)
    of = responses(LAM, LAM, Gamma, DT)
    for name, ball in (("p_kicked", "height_ball"), ("v_kicked", "vertical_speed_ball")):
        reached: list[float] = []
        for w_z in (np.sign(of[name][:3000][::-1]), rng.choice([-1.0, 1.0], 3000)):
            s = loop(np.outer(w_z, [0, 0, 1.0]), Gamma, np.zeros(3))[:, 2]
            p = positions(s)
            reached.append(np.abs(p if ball == "height_ball" else s - LAM * p).max())
        assert max(reached) <= numbers[ball] * (1 + 1e-9)
        assert max(reached) > 0.999 * numbers[ball]


def test_a_start_in_height_alone_keeps_to_the_bound_that_was_measured_on_it() -> None:
    s = loop(np.full((900, 3), 1e-5), 0.0, np.zeros(3))
    flight = LoopFlight(0, s, positions(s, 0.1), np.zeros(len(s)))
    gains = TrackingGains.critically_damped(VEHICLE, LAM, 0.0)
    bound = values_of(
        verify_tracking([flight], measure_tracking([flight], gains, VEHICLE, DT, "itself", ASKED), VEHICLE)
    )
    reached = np.abs(flight.p_error[round(SETTLED_TIME / DT) :, 2]).max()
    assert bound["verified_height_violations"] == 0
    assert reached <= bound["height_settled"] < 1.01 * reached


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
def test_flights_with_no_larger_disturbance_stay_under_the_envelope_and_larger_ones_are_found(Gamma: float) -> None:
    """From the first step on: the push at the start is in the envelope, and nothing is left out."""
    bound = tracking(Gamma)
    assert bound["entries"]["start_impulse"]["value"] > 0.05
    same = values_of(verify_tracking(flights(Gamma, 20, seed=1), bound, VEHICLE))
    assert same["verified_violations"] == same["verified_height_violations"] == 0
    assert same["verified_time_above_disturbance"] < 0.01
    assert same["verified_time_above_quantile"] < 0.05
    larger = values_of(verify_tracking(flights(Gamma, 5, size=20.0), bound, VEHICLE))
    assert larger["verified_violations"] == 5 and larger["verified_time_above_disturbance"] > 0.1
    start = envelopes(values(Gamma), MASS, 10, {**flights(Gamma)[0].start, "start_s": 1.0})["s"]
    assert start[0] == pytest.approx(1.0 + bound["entries"]["s_ball"]["value"])


def test_flights_outside_the_domain_are_counted() -> None:
    out = [replace(f, domain_score=1.2 if f.seed == 2 else 0.9) for f in flights(1.5)]
    assert values_of(verify_tracking(out, tracking(), VEHICLE))["verified_outside_domain"] == 1


@pytest.mark.slow
def test_a_slow_disturbance_counts_by_its_rate_where_that_says_more() -> None:
    ramps = []
    for k in range(3):  # 0.02 N/s for a minute: large in the end, slow all along
        w = np.outer(0.02 * DT * np.arange(14400), np.eye(3)[k])
        ramps.append(LoopFlight(k, loop(w, 1.5, np.zeros(3)), np.zeros((14401, 3)), np.zeros(14401)))
    gains = TrackingGains.critically_damped(VEHICLE, LAM, 1.5)
    bound = values_of(measure_tracking(ramps, gains, VEHICLE, DT, "ramps", ASKED))
    assert "split_time_constant" in bound
    assert bound["s_ball"] < 0.2 * 1.2 * bound["gain_of_size"] / MASS
    again = measure_tracking(ramps, gains, VEHICLE, DT, "ramps", ASKED)
    assert values_of(verify_tracking(ramps, again, VEHICLE))["verified_violations"] == 0


def test_gains_that_differ_between_axes_no_flights_and_short_ones_are_refused() -> None:
    gains = TrackingGains(np.array([3.0, 3.0, 2.0]), 3 * MASS * np.ones(3))
    same = TrackingGains.critically_damped(VEHICLE)
    with pytest.raises(UserError, match="differ between axes"):
        measure_tracking(flights(1.5), gains, VEHICLE, DT, "x", ASKED)
    with pytest.raises(UserError, match="no descent"):
        measure_tracking([], same, VEHICLE, DT, "x", ASKED)
    n = round(SETTLED_TIME / DT)
    brief = [replace(f, s=f.s[:n], p_error=f.p_error[:n], input_gap=f.input_gap[:n]) for f in flights(1.5)]
    with pytest.raises(UserError, match="over within 2 s"):
        measure_tracking(brief, same, VEHICLE, DT, "x", ASKED)
    with pytest.raises(UserError, match="no descent"):
        verify_tracking([], tracking(), VEHICLE)


def test_the_checker_accepts_what_follows_and_weaker_claims() -> None:
    for Gamma in (0.0, 1.5):
        bound = verify_tracking(flights(Gamma, 3, seed=1), tracking(Gamma), VEHICLE)
        assert list(tracking_problems(bound, PROFILE, ASKED)) == []
        weaker = copy.deepcopy(bound)
        for name in set(FOLLOWING) & weaker["entries"].keys():
            weaker["entries"][name]["value"] *= 0.5 if name == "decay_rate" else 1.5
        assert list(tracking_problems(weaker, PROFILE, ASKED)) == []


def scaled(name: str, factor: float) -> Any:
    def change(bound: dict[str, Any]) -> None:
        bound["entries"][name]["value"] *= factor

    return change


def relabelled(name: str, key: str, to: str) -> Any:
    def change(bound: dict[str, Any]) -> None:
        bound["entries"][name][key] = to

    return change


def gains_of_another_controller(bound: dict[str, Any]) -> None:
    entries = bound["entries"]
    entries["K_v"]["value"] /= 2
    bound["gains_sha256"] = gains_sha256(*(entries[name]["value"] for name in ("Lambda", "K_v", "Gamma")))


@pytest.mark.parametrize(
    "change",
    [
        *(scaled(name, 0.99) for name in FOLLOWING if name != "decay_rate"),
        scaled("decay_rate", 1.01),
        *(scaled(name, 1.02) for name in ("disturbance", "disturbance_vertical", "start_impulse", "start_s")),
        *(scaled("disturbance", bad) for bad in (float("nan"), -1.0, float("inf"))),
        scaled("Lambda", 1.1),
        scaled("Gamma", 0.9),
        gains_of_another_controller,
        relabelled("s_ball", "unit", "mm/s"),
        relabelled("disturbance", "status", "proved"),
        relabelled("height_ball", "norm", "Euclidean norm"),
        relabelled("height_ball", "source", ""),
        lambda bound: bound["entries"]["controller_step"].update(value=0.1),
        lambda bound: bound["entries"]["start_time"].update(value=1e9),
        lambda bound: bound["entries"]["quantile"].update(value="0.99"),
        lambda bound: bound["entries"]["disturbance_quantile"].update(value=99.0),
        lambda bound: bound["entries"]["input_gap_per_s"].update(value=1.0),
        lambda bound: bound["entries"].pop("disturbance_rate"),
        lambda bound: bound["entries"].update(more=bound["entries"]["s_ball"]),
        lambda bound: bound["entries"].update(
            tracking_entries({"verified_flights": 5, "verified_violations": 6})
        ),
        lambda bound: bound.update(gains_sha256="0" * 64),
        scaled("disturbance_vertical", 1e3),
        scaled("start_s_vertical", 1e3),
        lambda bound: bound["entries"]["quantile"].update(value=1.0),
        lambda bound: bound["measured_on"].update(flights=0),
        lambda bound: bound["measured_on"].update(what=None),
        lambda bound: bound["measured_on"].update(seconds=float("nan")),
        lambda bound: bound["measured_on"].update(asked_sha256="1" * 64),
        lambda bound: bound.update(assumed=[0]),
        lambda bound: bound["entries"]["s_ball"].update(upper=1e-9),
        lambda bound: bound["entries"]["input_gap"].update(value=1e9),
        lambda bound: bound.update(assumed=[]),
    ],
)  # fmt: skip
def test_the_checker_names_a_claim_that_does_not_follow(change: Any) -> None:
    bound = tracking()
    change(bound)
    assert list(tracking_problems(bound, PROFILE, ASKED))


@pytest.mark.parametrize(
    "change",
    [
        {"verified_flights": 0.0},
        {"verified_violations": 0.0, "verified_envelope_over_worst_s": 0.1},
        {"verified_violations": 0.0, "verified_envelope_over_worst_s_settled": 0.9},
    ],
)
def test_what_is_said_of_other_flights_must_agree_with_itself(change: dict[str, float]) -> None:
    bound = verify_tracking(flights(1.5, 3, seed=1), tracking(), VEHICLE)
    assert list(tracking_problems(bound, PROFILE, ASKED)) == []
    for name, value in change.items():
        bound["entries"][name]["value"] = value
    assert any("contradict" in problem for problem in tracking_problems(bound, PROFILE, ASKED))


def test_a_count_that_is_no_number_is_none() -> None:
    bound = tracking()
    bound["measured_on"]["flights"] = True
    with pytest.raises(TypeError, match="True is no number"):  # which the checker calls malformed
        list(tracking_problems(bound, PROFILE, ASKED))


def test_a_gain_that_is_infinite_is_not_claimed() -> None:
    assert "gain_of_rate" not in tracking(0.0)["entries"]
    bound = tracking(0.0)
    bound["entries"]["gain_of_rate"] = tracking(1.5)["entries"]["gain_of_rate"]
    assert any("gain_of_rate stands beside Gamma = 0" in p for p in tracking_problems(bound, PROFILE, ASKED))


@pytest.mark.parametrize("n, last", [(1, 1), (5, 1), (7, 3), (8, 4), (3, 9), (50, 7)])
def test_the_largest_response_within_a_window_is_that_of_each_window(n: int, last: int) -> None:
    response = np.random.default_rng(n).normal(size=n)
    size = [0.0, *np.abs(response[:-1])]
    assert kicked(response, last).tolist() == [max(size[max(0, k - last + 1) : k + 1]) for k in range(n)]


def test_the_largest_response_within_a_long_window_takes_no_long_time() -> None:
    began = time.perf_counter()
    kicked(np.ones(200_000), 100_000)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("change", [
    {"verified_flights": 2.5}, {"verified_height_violations": 1000}, {"verified_outside_domain": 77},
    {"verified_outside_domain": 0.5}, {"verified_time_above_disturbance": 50.0}, {"verified_time_above_quantile": 50.0},
    {"verified_time_above_disturbance": 1.0}, {"verified_worst_s": None}, {"verified_flights": None},
])  # fmt: skip
def test_what_other_flights_did_is_whole_and_does_not_contradict_itself(change: dict[str, Any]) -> None:
    bound = verify_tracking(flights(1.5, 3, seed=1), tracking(), VEHICLE)
    assert list(tracking_problems(bound, PROFILE, ASKED)) == []
    for name, value in change.items():
        bound["entries"].pop(name) if value is None else bound["entries"][name].update(value=value)
    assert list(tracking_problems(bound, PROFILE, ASKED))


@pytest.mark.parametrize("part, whole", [("disturbance", "start_level"), ("start_s", "start_s_vertical")])
def test_measured_sizes_that_contradict_each_other_are_refused(part: str, whole: str) -> None:
    """Though all that follows is computed from them again."""
    bound = tracking(0.0)
    numbers = {n: e["value"] for n, e in bound["entries"].items()}
    assert numbers[part] > 0 and "split_time_constant" not in numbers
    numbers |= dict.fromkeys((part, "disturbance_quantile", *(["disturbance_vertical"] * (part == "disturbance"))), 0.0)
    bound["entries"] = tracking_entries(numbers | tracking_numbers(numbers, MASS))
    assert any(f"{whole} =" in problem for problem in tracking_problems(bound, PROFILE, ASKED))


@pytest.mark.slow
def test_a_certificate_with_it_fits_the_schema() -> None:
    verified = verify_tracking(flights(1.5, 3, seed=1), tracking(), VEHICLE)
    document = certify(random_network(VEHICLE, 0), VEHICLE, tracking=[verified, tracking(0.0)])
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(document)
    required = SCHEMA["$defs"]["tracking"]["properties"]["entries"]["required"]
    assert set(LABELS) - set(required) == {n for n in LABELS if n.startswith("verified")} | {
        "split_time_constant",
        "gain_of_rate",
    }
    for name in verified["entries"]:
        for key, to in (("unit", "furlong"), ("status", "hoped"), ("norm", "L7"), ("value", -1), ("source", "")):
            forged = copy.deepcopy(document)
            forged["tracking"][0]["entries"][name][key] = to
            assert not validator.is_valid(forged), (name, key)
