"""Guard and go-around in PyBullet: the safe set kept under commands to dive, landings untouched, climbs from 2 cm."""

import numpy as np
import pytest

from neural_lander.control.attitude import MAX_TILT
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded, Limits
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.errors import UserError
from neural_lander.state import Reference, State
from neural_lander.trajectory import FigureEight, GoAround, Landing, Trajectory
from neural_lander.vehicle import load_vehicle
from sim.controllers import build_controller, controller_named
from sim.flight import Truth, fly
from sim.plant import Plant
from sim.plant_change import PlantChange
from sim.sensors import Sensors

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
LIMITS = Limits()


def plant_of(change: str, seed: int) -> Plant:
    plant = Plant(VEHICLE).with_airframe(seed)
    return plant if change == "nominal" else PlantChange.parse(change).of_plant(plant)


def dive(speed: float) -> Trajectory:
    """Hover at 1.6 m, then down through the floor."""
    return lambda t: Reference(
        np.array([0.0, 0.0, 1.6 - speed * max(t, 0.0)]), np.array([0.0, 0.0, -speed if t > 0 else 0.0]), np.zeros(3)
    )


def dived(change: str, speed: float, guarded: bool, seed: int = 0) -> tuple[float, float]:
    """Least barrier before the first contact in m/s, and the touchdown speed in m/s."""
    plant = plant_of(change, seed)
    controller = Guarded(Controller(VEHICLE)) if guarded else Controller(VEHICLE)
    with plant.build() as world:
        world.reset(np.array([0.0, 0.0, 1.6]), seed=seed, t=-2.0)
        _, truth = fly(
            world, controller, dive(speed), Sensors(plant.noise, seed), start=-2.0, end=3.0,
            touchdown=TouchdownDetector(),
        )  # fmt: skip
    first = int(np.argmax(truth.contact)) if truth.contact.any() else len(truth.t)
    climb, height = truth.velocity[:first, 2], truth.height[:first]
    barrier = climb + np.sqrt(LIMITS.touch_speed**2 + 2 * LIMITS.brake * np.maximum(height, 0))
    return float(barrier.min()), float(-climb[-1])


# measured over 12 dives each: 0.05, 0.10, 0.13 and 0.33 m/s; without the guard 2.5 to 4.4 m/s
SLACKS = [("nominal", 0.1), ("thrust=0.85", 0.15), ("lag=0.05", 0.2), ("delay=0.03", 0.45)]


@pytest.mark.slow
@pytest.mark.parametrize("change, slack", SLACKS)
def test_a_command_to_dive_leaves_the_safe_set_by_no_more_than_the_plants_error(change: str, slack: float) -> None:
    """``slack`` in m/s; on the true dynamics the set is invariant (test_guard), here there are lags and errors."""
    for speed in (1.0, 2.0, 4.0):
        least, touch = dived(change, speed, guarded=True)
        assert least > -slack
        assert touch < LIMITS.touch_speed + slack
    bare, _ = dived(change, 4.0, guarded=False)
    assert bare < -0.5


def landed(guarded: bool, seed: int, knows: bool) -> Truth:
    plant = plant_of("nominal", seed)
    inner = Controller(VEHICLE, plant.oracle() if knows else None)
    reference = Landing(plant.pad + [0, 0, 0.5], plant.pad)
    with plant.build() as world:
        world.reset(reference(-2.0).position, seed=seed, t=-2.0)
        _, truth = fly(
            world, Guarded(inner) if guarded else inner, reference, Sensors(plant.noise, seed), start=-2.0,
            end=reference.arrival + 3.0, touchdown=TouchdownDetector(),
        )  # fmt: skip
    return truth


@pytest.mark.slow
@pytest.mark.parametrize("knows", [False, True], ids=["PD with trim", "oracle with trim"])
def test_a_landing_at_the_tables_speed_is_bit_for_bit_what_it_is_without_the_guard(knows: bool) -> None:
    with_guard, without = landed(True, 0, knows), landed(False, 0, knows)
    assert np.array_equal(with_guard.position, without.position)
    assert with_guard.guard_force is not None and np.all(with_guard.guard_force == 0)
    assert without.guard_force is None


def test_every_controller_of_a_comparison_can_be_guarded_by_name() -> None:
    plant = plant_of("nominal", 0)
    kind = controller_named("oracle-trim+guard")
    assert kind.label == "Oracle + trim, guarded"
    controller = build_controller(kind, plant, None)
    assert isinstance(controller, Guarded) and isinstance(controller.controller, Controller)
    with pytest.raises(UserError, match="'pid' is not known"):
        controller_named("pid+guard")


def aborted(height: float, speed: float, seed: int, change: str) -> tuple[np.ndarray, Truth, float]:
    """Heights from the abort on, the truth, and when it was aborted."""
    plant = plant_of(change, seed)
    controller, down = Controller(VEHICLE), Landing(plant.pad + [0, 0, 0.8], plant.pad, speed)
    begun: list[GoAround] = []

    def look(t: float, seen: State) -> None:
        if not begun and t > 0 and seen.height <= height:
            begun.append(
                GoAround(t, seen.position, seen.velocity, float(seen.height), float(plant.pad[2]) + 1.0, most=MOST)
            )

    with plant.build() as world:
        world.reset(down(-2.0).position, seed=seed, t=-2.0)
        _, truth = fly(
            world, controller, lambda t: begun[0](t) if begun else down(t), Sensors(plant.noise, seed), start=-2.0,
            end=down.arrival + 4.0, before_step=look,
        )  # fmt: skip
    after = truth.t > begun[0].t0
    return truth.height[after], truth, begun[0].t0


MOST = 6.0  # m/s^2, upwards
REACTION = 0.06  # s: motors and the delay of the state
ABORTS = [(h, s) for h in (0.02, 0.05, 0.1, 0.3, 0.6) for s in (0.3, 0.6)]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nominal", "thrust=0.85,mass=1.1"])
def test_an_abort_at_any_height_climbs_and_touches_only_where_it_cannot_stop(change: str) -> None:
    for height, speed in ABORTS:
        heights, truth, t0 = aborted(height, speed, 0, change)
        climb = truth.velocity[truth.t > t0, 2]
        assert heights[-1] == pytest.approx(1.0, abs=0.05)
        up = int(np.argmax(climb > 0))
        assert up / 240 < 0.4  # s until it sinks no more
        assert np.all(climb[up : up + 120] > -0.05)
        if height > speed**2 / (2 * MOST) + REACTION * speed:
            assert heights.min() > 0


@pytest.mark.parametrize("guarded", [False, True])
def test_a_way_that_asks_for_too_much_tilt_is_flown_within_the_limit(guarded: bool) -> None:
    """52 degrees are wanted at its ends; told of all of its turning, the vehicle would swing to 44."""
    fast = FigureEight(np.array([0.0, 0.0, 1.5]), 2.0, 1.0, 2.6, 2, 1.0)
    controller = Guarded(Controller(VEHICLE)) if guarded else Controller(VEHICLE)
    plant = plant_of("nominal", 0)
    with plant.build() as world:
        world.reset(fast(0.0).position, seed=0)
        _, truth = fly(world, controller, fast, Sensors(plant.noise, 0), start=0.0, end=fast.run.duration)
    assert np.radians(30) < truth.tilt.max() < MAX_TILT + np.radians(3)
