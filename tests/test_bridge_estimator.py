"""The state at a tick's time against closed forms; what is refused; what counts as a jump."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from firmware_bridge.estimation.estimator import Estimate, Estimator
from firmware_bridge.link import AttitudeReport, ImuReport, PositionReport, TextReport

ZERO = np.zeros(3)
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


def position(t: float, p: object = ZERO, v: object = ZERO) -> PositionReport:
    return PositionReport(t, t, np.array(p, dtype=float), np.array(v, dtype=float))


def attitude(t: float, q: np.ndarray = UPRIGHT, rates: object = ZERO) -> AttitudeReport:
    return AttitudeReport(t, t, q, np.array(rates, dtype=float))


def estimator(*reports: object, now: float = 1.0) -> Estimator:
    made = Estimator()
    for report in reports:
        made.take(report, now)  # type: ignore[arg-type]
    return made


def estimate(made: Estimator, now: float) -> Estimate:
    found = made.at(now)
    assert found is not None
    return found


def test_free_fall_and_a_steady_turn_are_carried_on_exactly() -> None:
    rates = np.array([0.4, -0.3, 0.8])
    q = Rotation.from_rotvec([0.2, 0.1, -0.4])
    made = estimator(
        position(0.98, [1.0, 2.0, 3.0], [0.5, 0.0, -0.2]),
        attitude(0.97, q.as_quat(scalar_first=True), rates),
        ImuReport(0.99, 0.99, ZERO, rates),  # feels nothing: it falls
    )
    got = estimate(made, 1.0)
    np.testing.assert_allclose(got.position, [1.01, 2.0, 3.0 - 0.2 * 0.02 - 0.5 * 9.81 * 0.02**2], atol=1e-12)
    np.testing.assert_allclose(got.velocity, [0.5, 0.0, -0.2 - 9.81 * 0.02], atol=1e-12)
    turned = q * Rotation.from_rotvec(0.03 * rates)
    assert (turned.inv() * Rotation.from_quat(got.attitude, scalar_first=True)).magnitude() < 1e-9
    np.testing.assert_allclose([got.position_age, got.attitude_age], [0.02, 0.03], atol=1e-12)


def test_the_specific_force_is_turned_into_the_world() -> None:
    q = Rotation.from_euler("xyz", [0.3, -0.2, 1.0])
    force = np.array([0.1, -0.2, 9.0])
    made = estimator(position(1.0), attitude(1.0, q.as_quat(scalar_first=True)), ImuReport(1.0, 1.0, force, ZERO))
    np.testing.assert_allclose(estimate(made, 1.0).specific_force, q.apply(force), atol=1e-12)


def test_a_vehicle_in_smooth_flight_is_estimated_to_millimetres_over_forty_milliseconds() -> None:
    """Vertical oscillation of 1 Hz and 0.2 m, reports 40 ms old: without propagation the error would be 50 mm."""

    def truth(t: float) -> tuple[float, float, float]:
        w = 2 * np.pi
        return 0.2 * np.sin(w * t), 0.2 * w * np.cos(w * t), -0.2 * w * w * np.sin(w * t)

    worst = 0.0
    made = Estimator()
    for k in range(1, 200):
        t = 0.01 * k
        z, v, _ = truth(t - 0.04)
        made.take(position(t - 0.04, [0, 0, z], [0, 0, v]), t)
        made.take(attitude(t - 0.01), t)
        made.take(ImuReport(t - 0.01, t, np.array([0, 0, 9.81 + truth(t - 0.01)[2]]), ZERO), t)
        worst = max(worst, abs(estimate(made, t).position[2] - truth(t)[0]))
    assert worst < 0.002


def test_old_inertial_data_say_nothing_and_the_velocity_is_carried_on() -> None:
    made = estimator(position(0.99, ZERO, [1, 0, 0]), attitude(0.99), ImuReport(0.9, 0.9, np.array([5.0, 0, 0]), ZERO))
    got = estimate(made, 1.0)
    assert got.specific_force is None
    np.testing.assert_allclose(got.position, [0.01, 0, 0], atol=1e-12)


def test_there_is_no_state_before_both_have_come() -> None:
    assert estimator(position(1.0)).at(1.0) is None
    assert estimator(attitude(1.0)).at(1.0) is None
    assert estimator(TextReport(1.0, 6, "hello")).at(1.0) is None


def test_what_is_old_grows_old_and_is_not_carried_on_for_ever() -> None:
    made = estimator(position(1.0, ZERO, [1, 0, 0]), attitude(1.0))
    got = estimate(made, 11.0)
    assert got.position_age == got.attitude_age == 10.0
    assert got.position[0] < 0.11


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (position(1.0, [0, np.nan, 0]), "position is not finite"),
        (position(1.0, ZERO, [0, 0, np.inf]), "position is not finite"),
        (position(np.nan), "position is not finite"),
        (attitude(1.0, np.array([1.0, 0, 0, np.nan])), "attitude is not finite"),
        (attitude(1.0, np.array([1.1, 0, 0, 0])), "attitude is no unit quaternion"),
        (attitude(1.0, np.zeros(4)), "attitude is no unit quaternion"),
        (attitude(1.0, UPRIGHT, [0, np.nan, 0]), "attitude is not finite"),
        (ImuReport(1.0, 1.0, np.array([0, 0, np.nan]), ZERO), "inertial data is not finite"),
        (position(2.0), "position is from the future"),
    ],
)
def test_a_bad_report_is_refused_by_name_and_changes_nothing(report: object, reason: str) -> None:
    made = estimator(position(0.99, [1, 2, 3]), attitude(0.99))
    assert made.take(report, 1.0) == reason  # type: ignore[arg-type]
    assert made.refused == {reason: 1}
    np.testing.assert_array_equal(estimate(made, 1.0).position, [1, 2, 3])


def test_a_report_that_is_not_newer_does_not_make_the_state_younger() -> None:
    made = estimator(position(0.9, [1, 0, 0]), attitude(0.9))
    made.take(PositionReport(0.9, 1.0, np.array([5.0, 0, 0]), ZERO), 1.0)
    made.take(PositionReport(0.8, 1.0, np.array([6.0, 0, 0]), ZERO), 1.0)
    got = estimate(made, 1.0)
    assert got.position[0] == 1.0
    assert got.position_age == pytest.approx(0.1, abs=0.021)
    assert made.refused == {"position is not newer than the one before": 2}


def test_a_state_that_is_told_again_under_newer_stamps_grows_old() -> None:
    """As an autopilot that stamps when it sends does, once its estimator has stopped; its accelerometer is alive."""
    where, how = ([1.0, 2.0, 3.0], [0.1, 0.0, -0.2]), (UPRIGHT, [0.0, 0.01, 0.0])
    made = estimator(position(0.5, *where), attitude(0.5, *how))
    for t in np.arange(0.505, 1.0, 0.005):
        made.take(ImuReport(t, t, np.array([0.0, 0.0, 9.8 + t]), ZERO), 1.0)
        assert made.take(position(t, *where), 1.0) == made.take(attitude(t, *how), 1.0) == ""
    assert estimate(made, 1.0).position_age > 0.47 and estimate(made, 1.0).attitude_age > 0.47
    assert made.refused["position is the one before under a newer stamp"] > 90
    made.take(position(1.0, [1.0, 2.0, 3.0], [0.1, 0.0, -0.2000001]), 1.0)
    assert estimate(made, 1.0).position_age == 0.0


@pytest.mark.parametrize("velocity", [ZERO, [0.0, 0.0, -0.1]])
def test_a_vehicle_that_stands_without_noise_stays_young(velocity: object) -> None:
    made = Estimator()
    for t in (0.9, 0.95, 1.0):
        for report in (position(t, v=velocity), attitude(t), ImuReport(t, t, np.array([0.0, 0.0, 9.81]), ZERO)):
            made.take(report, 1.0)
    assert estimate(made, 1.0).position_age == estimate(made, 1.0).attitude_age == 0.0


def test_a_jump_is_said_once() -> None:
    made = estimator(position(0.90), attitude(0.90), position(0.92, [0.2, 0, 0]), attitude(0.92))
    got = estimate(made, 1.0)
    assert got.jumped and got.moved
    assert not estimate(made, 1.0).jumped


def test_a_heading_that_is_reset_is_a_jump() -> None:
    turned = np.array([np.cos(0.2), 0, 0, np.sin(0.2)])  # 0.4 rad
    got = estimate(estimator(position(0.9), attitude(0.9), attitude(0.92, turned)), 1.0)
    assert got.jumped and not got.moved


def test_neither_flight_nor_turning_nor_the_sign_of_a_quaternion_is_a_jump() -> None:
    spin = np.array([0.0, 0.0, 6.0])
    made = Estimator()
    for k in range(50):
        t = 0.02 * k
        q = Rotation.from_rotvec(spin * t).as_quat(scalar_first=True) * (-1) ** k
        made.take(position(t, [2.0 * t, 0, -0.5 * 9.81 * t * t], [2.0, 0, -9.81 * t]), t)
        made.take(attitude(t, q, spin), t)
        found = made.at(t)
        assert found is not None and not found.jumped


def test_after_a_restart_the_past_is_no_jump() -> None:
    made = estimator(position(0.98), attitude(0.98))
    made.reset()
    assert made.at(1.0) is None
    made.take(position(0.99, [50, 0, 0]), 1.0)
    made.take(attitude(0.99), 1.0)
    assert not estimate(made, 1.0).jumped
