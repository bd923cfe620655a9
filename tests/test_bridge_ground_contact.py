"""Contact without a sensor: what stands is found, what flies is not, noise or not."""

import numpy as np
import pytest

from firmware_bridge.guidance.ground_contact import CONTACT_HEIGHT, SIGN_TIME, GroundContact

WEIGHT = 14.4  # N
DT = 0.005


def felt(seconds: float, noise: float = 0.0, climb: float = 0.0, hover: float = WEIGHT, **signs: float) -> list[bool]:
    """Contact over time, with noise in m/s on every report of the vertical speed."""
    rng = np.random.default_rng(1)
    contact = GroundContact(hover)
    given = {"height": 0.25, "thrust": hover, "landed": None} | signs
    return [
        contact(DT * k, climb=climb + noise * rng.standard_normal(), **given)  # type: ignore[arg-type]
        for k in range(round(seconds / DT))
    ]


def test_standing_is_felt_after_the_sign_has_lasted_and_through_noise() -> None:
    for sign in ({"height": 0.5 * CONTACT_HEIGHT}, {"thrust": 0.7 * WEIGHT}):
        assert felt(2.0, **sign).index(True) * DT == pytest.approx(SIGN_TIME, abs=0.01)
        assert all(felt(10.0, noise=0.05, **sign)[100:])


def test_hanging_high_without_thrust_is_no_contact() -> None:
    """Nobody hears our setpoints then, and the autopilot holds the height."""
    assert not any(felt(10.0, height=1.0, thrust=0.0, noise=0.05))


def test_the_autopilots_flag_is_felt_at_once() -> None:
    assert felt(0.1, landed=True)[0]


def test_a_speed_that_is_off_is_rest_where_the_height_does_not_change() -> None:
    for bias in (-0.12, -0.1, 0.15):
        assert all(felt(10.0, noise=0.05, climb=bias, height=0.005)[200:])


def test_a_slow_descent_through_the_last_centimetres_is_no_rest() -> None:
    contact = GroundContact(WEIGHT)
    for k in range(1000):
        assert not contact(DT * k, height=0.5 - 0.12 * DT * k, climb=-0.12, thrust=WEIGHT, landed=None)


def test_hover_and_descent_are_no_contact() -> None:
    assert not any(felt(60.0, noise=0.05))
    assert not any(felt(60.0, noise=0.05, landed=False))
    assert not any(felt(60.0, noise=0.05, climb=-0.3, height=0.015))  # through the last centimetres


@pytest.mark.parametrize("thrust", [0.0, 0.3, 0.5, 0.75])
def test_a_thrust_that_is_cut_in_the_air_is_no_contact(thrust: float) -> None:
    """Free of the ground the vehicle falls, m v' = T - m g, and the speed gives it away."""
    contact, v = GroundContact(WEIGHT), 0.0
    for k in range(400):
        assert not contact(DT * k, height=0.5, climb=v, thrust=thrust * WEIGHT, landed=None)
        v -= 9.81 * (1 - thrust) * DT


def test_the_thrust_of_hover_is_learned_with_its_error() -> None:
    """A battery that makes 0.78 of the commanded thrust: what looks like 1.28 of the weight is hover."""
    contact = GroundContact(WEIGHT)
    for k in range(2000):
        contact.learn(DT * k, height=1.0, thrust=1.28 * WEIGHT)
        contact.learn(DT * k, height=0.1, thrust=0.2 * WEIGHT)  # near the ground nothing is learned
    assert contact.hover_thrust == pytest.approx(1.28 * WEIGHT, rel=0.01)
    assert contact(0.0, height=0.25, climb=0.0, thrust=0.9 * WEIGHT, landed=None) is False
    assert contact(1.0, height=0.25, climb=0.0, thrust=0.9 * WEIGHT, landed=None) is True
