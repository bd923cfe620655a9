"""The columns of a comparison: what each is made of, tuned gains, and a user's own."""

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neural_lander.certificate.contraction import contraction_factor
from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.control.build import DEFAULT_FACTOR
from neural_lander.control.indi import Indi
from neural_lander.control.kinds import default_parameters, free_parameters
from neural_lander.control.l1 import L1
from neural_lander.control.learned import Learned
from neural_lander.control.trim import Trim
from neural_lander.control.user import UserController
from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.residual.model import WithinThrusts
from neural_lander.residual.norms import network_bounds
from neural_lander.state import Reference, State
from neural_lander.vehicle import load_vehicle
from sim.batch.flight import Flights, Task
from sim.comparison.worlds import Batched, FlightWorld, Part, PyBullet
from sim.controllers import CONTROLLERS, build_controller, controller_named, controllers_in
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named
from tests.random_network import random_network

pytest.importorskip("pybullet", reason="the plant builds a PyBullet world, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
PLANT = Plant(VEHICLE)
NETWORK = random_network(VEHICLE, 1)
RANGES = np.array([[-1.0, 1.0], [-1.0, 1.0]])
DOMAIN = Domain(np.array([0.0, 1.5]), RANGES, np.ones(2), np.ones(2), 2.0, np.zeros(3), np.array([0.0, 30.0]))
CB = CheesemanBennett(5.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
LEARNED = Learned(FadingResidual(NETWORK, DOMAIN), CB, 0.1, uncertified="random weights")
STATE = State(
    np.array([0.0, 0.0, 1.0]), np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(3), np.float64(0.9),
    specific_force=np.array([0.0, 0.0, 9.81]),
)  # fmt: skip
HERE = Reference(np.array([0.0, 0.0, 1.0]), np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_is_built_and_flies_a_step(name: str) -> None:
    controller = build_controller(controller_named(name), PLANT, LEARNED)
    speeds = controller(0.0, STATE, HERE)
    assert speeds.shape == (4,) and np.all(np.isfinite(speeds))


def test_each_estimate_is_the_one_that_its_name_says() -> None:
    kinds = {name: build_controller(CONTROLLERS[name], PLANT, LEARNED).tracking.estimate for name in CONTROLLERS}
    assert isinstance(kinds["indi"], Indi) and isinstance(kinds["l1"], L1)
    assert isinstance(kinds["neural-lander-adaptive"], LastLayerAdaptation)
    assert all(isinstance(kinds[n], Trim) for n in ("pd", "pd-trim", "pd-cb-trim", "neural-lander-trim", "oracle"))


def test_adaptation_flies_with_the_factor_that_its_ball_keeps() -> None:
    """A certificate smaller than the product of norms speaks of the trained layer alone."""
    adaptive = build_controller(CONTROLLERS["neural-lander-adaptive"], PLANT, LEARNED)
    trained = build_controller(CONTROLLERS["neural-lander-trim"], PLANT, LEARNED)
    product = contraction_factor(network_bounds(NETWORK), VEHICLE)
    assert product > LEARNED.contraction_factor
    honest = build_controller(
        CONTROLLERS["neural-lander-trim"], PLANT, Learned(LEARNED.network, CB, product, uncertified="random weights")
    )
    assert adaptive.iterations == honest.iterations > trained.iterations


def test_adaptation_stays_within_the_thrusts_that_the_network_is_asked_for() -> None:
    within = FadingResidual(WithinThrusts(NETWORK, 2.0, 5.0), DOMAIN)
    adaptive = build_controller(CONTROLLERS["neural-lander-adaptive"], PLANT, replace(LEARNED, network=within))
    assert np.all(np.isfinite(adaptive(0.0, STATE, HERE)))
    estimate, force = adaptive.tracking.estimate, adaptive.residual.at(STATE)
    assert isinstance(estimate, LastLayerAdaptation)
    for low, high in ((0.0, 2.0), (5.0, 9.0)):
        assert_allclose(force(np.full(4, low)), force(np.full(4, high)))
        hidden = estimate._hidden(STATE)
        assert_allclose(hidden(np.full(4, low)), hidden(np.full(4, high)))
    steep = replace(NETWORK, weights=(*NETWORK.weights[:-1], 100 * NETWORK.weights[-1]))
    with pytest.raises(UserError, match="product of the network's norms gives a contraction factor of"):
        build_controller(
            CONTROLLERS["neural-lander-adaptive"], PLANT, replace(LEARNED, network=WithinThrusts(steep, 2.0, 5.0))
        )


@pytest.mark.parametrize("name", CONTROLLERS)
def test_tuned_gains_arrive_where_they_belong(name: str) -> None:
    kind = CONTROLLERS[name]
    tuned = {p.key: float(np.sqrt(p.low * p.high)) for p in free_parameters(kind)}
    controller = build_controller(kind, PLANT, LEARNED, tuned=tuned)
    gains, estimate = controller.tracking.gains, controller.tracking.estimate
    assert_allclose(gains.Lambda, tuned["Lambda_1_s"])
    assert_allclose(gains.K_v, VEHICLE.mass * tuned["K_v_over_m_1_s"])
    assert gains.Gamma == tuned.get("Gamma_1_s", 0.0)
    if isinstance(estimate, Indi):
        assert estimate.gains.cut_off == tuned["cut_off_rad_s"]
    if isinstance(estimate, L1):
        assert estimate.gains.bandwidth == tuned["bandwidth_rad_s"]
    if isinstance(estimate, LastLayerAdaptation):
        assert estimate.gains.rate == tuned["rate_1_s"]
        assert estimate.gains.Gamma == tuned["adaptive_Gamma_1_s"]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_defaults_lie_where_tuning_searches(name: str) -> None:
    defaults = default_parameters(CONTROLLERS[name])
    for p in free_parameters(CONTROLLERS[name]):
        assert p.low < defaults[p.key] < p.high


@pytest.mark.parametrize(
    "name, tuned, message",
    [
        ("pd", {"Gamma_1_s": 1.0}, "controller 'pd' has no gain 'Gamma_1_s'"),
        ("indi", {"cut_off_rad_s": float("nan")}, "tuned cut_off_rad_s = nan"),
        ("l1", {"bandwidth_rad_s": 1e9}, "bandwidth"),
        ("pd", {"Lambda_1_s": -1.0}, "gain Lambda"),
    ],
)
def test_tuned_gains_that_make_no_sense_are_refused_by_name(name: str, tuned: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_controller(CONTROLLERS[name], PLANT, LEARNED, tuned=tuned)


USERS = """
import numpy as np
from neural_lander.control.controller import Controller

class Hover:
    def __init__(self, vehicle):
        self.vehicle = vehicle
    def reset(self, moment_trim):
        self.moment_trim = moment_trim
    def __call__(self, t, state, reference):
        return np.full(4, self.vehicle.hover_speed)

class Upwards:
    def __init__(self, vehicle):
        self.d_hat = np.zeros(3)
    def reset(self, d_hat=None):
        pass
    def observe(self, t, state, rotor_thrust, f_a_hat):
        self.d_hat = np.array([0.0, 0.0, 1.0])
    def update(self, t, s, hold):
        pass

class Derived(Controller):
    pass

class Raising(Upwards):
    def update(self, t, s, hold):
        raise ValueError("no idea")

class Short(Upwards):
    def observe(self, t, state, rotor_thrust, f_a_hat):
        self.d_hat = np.zeros(2)

class DerivedRaising(Controller):
    def __call__(self, t, state, reference):
        raise KeyError("no idea")

class Failing(Hover):
    def __call__(self, t, state, reference):
        raise ValueError("no idea")

class Moving(Hover):
    def __call__(self, t, state, reference):
        state.position[:] = 0
        return super().__call__(t, state, reference)

class Pulling(Hover):
    def __call__(self, t, state, reference):
        reference.position[2] -= 0.1
        return super().__call__(t, state, reference)

class DerivedMoving(Controller):
    def __call__(self, t, state, reference):
        state.velocity[..., 0] = 0
        return super().__call__(t, state, reference)

class Smoothing(Upwards):
    def observe(self, t, state, rotor_thrust, f_a_hat):
        state.velocity[..., 2] = 0

class Summing(Upwards):
    def update(self, t, s, hold):
        s += 1

class Growing(Upwards):
    def observe(self, t, state, rotor_thrust, f_a_hat):
        self.d_hat += 0.01

class Trimming(Hover):
    def __call__(self, t, state, reference):
        self.moment_trim += 1
        return super().__call__(t, state, reference)

class Exiting(Hover):
    def __call__(self, t, state, reference):
        raise SystemExit("enough")

class Leaving(Hover):
    def __init__(self, vehicle):
        raise SystemExit(3)

class Wrong(Hover):
    def __call__(self, t, state, reference):
        return [1.0, 2.0, float("nan"), 3.0]

class Needy:
    def __init__(self, vehicle, more):
        pass

class Nothing:
    def __init__(self, vehicle):
        pass
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_exit.py").write_text("import sys; sys.exit(4)", "utf-8")
    (tmp_path / "users_laws.py").write_text(textwrap.dedent(USERS), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "users_laws"


def test_a_user_s_law_flies_by_its_name(users: str) -> None:
    kind = controller_named(f"{users}:Hover")
    assert kind.label == "Hover"
    controller = build_controller(kind, PLANT, None)
    controller.reset(np.array([0.0, 0.01, 0.0]))
    assert_allclose(controller(0.0, STATE, HERE), VEHICLE.hover_speed)
    assert isinstance(controller, UserController)
    assert controller.wanted is not None
    assert float(controller.wanted.thrust) == pytest.approx(VEHICLE.weight)
    assert_allclose(controller._law.moment_trim, [0.0, 0.01, 0.0])


def test_a_user_s_estimate_takes_the_place_of_ours(users: str) -> None:
    controller = build_controller(controller_named(f"{users}:Upwards"), PLANT, None)
    controller(0.0, STATE, HERE)
    assert controller.wanted is not None
    assert float(controller.wanted.thrust) == pytest.approx(VEHICLE.weight - 1.0)


def test_a_controller_derived_from_ours_is_flown_as_it_is(users: str) -> None:
    assert type(build_controller(controller_named(f"{users}:Derived"), PLANT, None)).__name__ == "Derived"


@pytest.mark.parametrize(
    "name, message",
    [
        ("users_laws:Exiting", "'users_laws:Exiting' failed with SystemExit: enough"),
        ("users_laws:Leaving", "'users_laws:Leaving' must be constructible from the vehicle alone: SystemExit: 3"),
        ("users_exit:Law", "module 'users_exit' cannot be imported: SystemExit: 4"),
        ("users_laws:Failing", "'users_laws:Failing' failed with ValueError: no idea"),
        ("users_laws:Raising", "'users_laws:Raising' failed in update with ValueError: no idea"),
        ("users_laws:Short", r"d_hat is of shape \(2,\) after observe: it must be an array of shape \(3,\)"),
        ("users_laws:Wrong", "'users_laws:Wrong' returned .*nan.* at t = 0.000 s"),
        ("users_laws:Needy", "must be constructible from the vehicle alone"),
        ("users_laws:Nothing", "must have reset"),
        ("users_laws:Missing", "has no 'Missing'"),
        ("no_such_module:Law", "module 'no_such_module' cannot be imported"),
        (":Law", "must be written module:Class"),
        ("users_laws:__name__", "must be constructible"),
    ],
)
def test_a_user_s_mistake_is_named(users: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_controller(controller_named(name), PLANT, None)(0.0, STATE, HERE)


@pytest.mark.parametrize("name", ["Moving", "Pulling", "DerivedMoving", "Smoothing", "Summing"])
def test_who_writes_into_what_he_is_given_is_named_and_changes_nothing(users: str, name: str) -> None:
    state = replace(STATE, position=np.ones(3), velocity=np.ones(3))
    reference = Reference(np.ones(3), np.zeros(3), np.zeros(3))
    controller = build_controller(controller_named(f"{users}:{name}"), PLANT, None)
    with pytest.raises(UserError, match=f"controller '{users}:{name}' failed.*read-only; .* not its own to write to"):
        controller(0.0, state, reference)
    for untouched in (state.position, state.velocity, reference.position):
        assert_allclose(untouched, 1.0) and untouched.flags.writeable


@pytest.mark.parametrize("name", ["Smoothing", "Summing"])
def test_who_writes_into_a_batch_is_named(users: str, name: str) -> None:
    task = Task(Copy(PLANT, None), f"{users}:{name}", (0, 1), np.zeros(3))
    flights = Flights([task], scenario_named("hover-low"), 3.0, 1.0, None)
    with pytest.raises(UserError, match=f"controller '{users}:{name}' writes in (observe|update) into what it is"):
        flights.fly()


def test_what_a_user_s_controller_keeps_and_changes_is_its_own(users: str) -> None:
    growing = build_controller(controller_named(f"{users}:Growing"), PLANT, None)
    kept = []
    for k in range(3):
        growing(0.01 * k, STATE, HERE)
        kept.append(growing.tracking.d_hat)
    assert_allclose(kept, [[0.01] * 3, [0.02] * 3, [0.03] * 3])
    trim = np.zeros(3)
    trimming = build_controller(controller_named(f"{users}:Trimming"), PLANT, None)
    trimming.reset(trim)
    trimming(0.0, STATE, HERE)
    assert_allclose(trim, 0.0)


@pytest.mark.parametrize("world", [PyBullet(), Batched()])
@pytest.mark.parametrize("name", ["Raising", "Short", "DerivedRaising", "Failing"])
def test_a_flight_that_a_user_s_mistake_ends_has_a_reason(users: str, name: str, world: FlightWorld) -> None:
    part = Part(Copy(PLANT, None), 0, f"{users}:{name}", (0,), (1,), np.zeros(3))
    ((reason,),) = world.fly([part], scenario_named("hover-low"), 3.0, 1.0)
    assert isinstance(reason, str) and reason.startswith(f"controller '{users}:{name}'")


@pytest.mark.parametrize("name", ["Raising", "Short", "DerivedRaising", "Failing", "Wrong", "Needy"])
def test_the_batched_world_sends_nobody_to_the_other_who_fails_there_too(users: str, name: str) -> None:
    pytest.importorskip("pybullet")
    with pytest.raises(UserError, match=f"^controller '{users}:{name}'") as caught:
        Batched().check(f"{users}:{name}", scenario_named("hover-low"), Copy(PLANT, None))
    assert "--world" not in str(caught.value)


def test_a_controller_that_is_named_twice_flies_once() -> None:
    assert controllers_in("pd,, pd ,pd-trim,pd") == ["pd", "pd-trim"]


@pytest.mark.parametrize("mu", [1.0, 10.0, 60.0])
def test_the_iteration_on_a_fitted_law_contracts_as_assumed_down_to_the_floor(mu: float) -> None:
    law = CheesemanBennett(mu, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    assert law.f_az(np.array(VEHICLE.gear_clearance), np.array(1.0)) <= DEFAULT_FACTOR + 1e-12
