"""The Gymnasium environment: its contract, and that a tracking law flown through it lands as it does elsewhere."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")
pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env

from neural_lander.errors import UserError
from sim.environment import FORCE_RANGE, LanderEnv
from sim.plant import Plant


@pytest.fixture(scope="module")
def env() -> Iterator[LanderEnv]:
    made = LanderEnv()
    yield made
    made.close()


def pd(seen: np.ndarray, plant: Plant, omega_n: float = 3.0) -> np.ndarray:
    """Critically damped PD with the ground effect left to it, as an action."""
    force = -plant.vehicle.mass * (omega_n**2 * seen[:3] + 2 * omega_n * seen[3:6])
    return np.clip(force / (FORCE_RANGE * plant.vehicle.weight), -1, 1).astype(np.float32)


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
def test_it_keeps_gymnasiums_contract(env: LanderEnv) -> None:
    check_env(env, skip_render_check=True, skip_close_check=True)


def test_the_same_seed_is_the_same_flight_and_another_is_not(env: LanderEnv) -> None:
    def flown(seed: int) -> np.ndarray:
        seen, _ = env.reset(seed=seed)
        return np.array([seen, *(env.step(pd(seen, env.plant))[0] for _ in range(30))])

    assert np.array_equal(flown(5), flown(5))
    assert not np.array_equal(flown(5), flown(6))


def test_falling_is_the_end_and_costs(env: LanderEnv) -> None:
    env.reset(seed=1)
    total, over = 0.0, False
    for _ in range(600):
        _, reward, terminated, over, _ = env.step(np.array([1.0, 1.0, 1.0], np.float32))
        total += reward
        if terminated:
            break
    assert terminated and not over
    assert total < -10.0


def test_what_is_asked_outside_of_a_flight_says_what_to_call() -> None:
    env = LanderEnv()
    with pytest.raises(UserError, match=r"call reset\(\)"):
        env.step(np.zeros(3, np.float32))
    env.reset(seed=1)
    up = np.array([0.0, 0.0, 1.0], np.float32)
    *_, info = next(out for _ in range(600) if (out := env.step(up))[2])
    assert info["figures"]["arrival_error_m"] > 1.0  # it flew away
    with pytest.raises(UserError, match="after the end"):
        env.step(up)
    env.close()
    env.close()
    with pytest.raises(UserError, match="closed"):
        env.reset()


@pytest.mark.parametrize("scenario", ["hover-low", "figure-8-low", "cross-table"])
def test_who_flies_away_has_not_done_the_task(scenario: str) -> None:
    with LanderEnv(scenario=scenario) as env:
        env.reset(seed=1)
        up = np.array([0.0, 0.0, 1.0], np.float32)
        *_, info = next(out for _ in range(600) if (out := env.step(up))[2])
    assert info["figures"]["success"] == 0.0


def test_a_contact_flag_that_lies_in_the_air_is_no_landing(env: LanderEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector asks whether anything carries, as in the comparison: thrust is taken away, and it falls."""
    seen, _ = env.reset(seed=4)
    measured = env._now
    monkeypatch.setattr(env, "_now", lambda: replace(measured(), contact=True))
    for _ in range(60):
        seen, _, terminated, _, info = env.step(pd(seen, env.plant))
        assert not terminated and "figures" not in info
    assert seen[6] > 0.3  # m: still in the air after a second


def test_an_action_that_is_no_force_is_refused(env: LanderEnv) -> None:
    env.reset(seed=1)
    with pytest.raises(UserError, match="three finite numbers"):
        env.step(np.array([0.0, np.nan, 0.0]))


@pytest.mark.slow
def test_pd_flown_through_it_hangs_as_high_as_in_a_comparison(env: LanderEnv) -> None:
    seen, _ = env.reset(seed=3)
    info: dict[str, dict[str, float]] = {}
    terminated = truncated = False
    while not (terminated or truncated):
        seen, _, terminated, truncated, info = env.step(pd(seen, env.plant))
    assert truncated and not terminated  # PD never touches down
    assert info["figures"]["hang_height_m"] == pytest.approx(0.103, abs=0.01)  # README: 103 mm
