"""Ground effects, wind, battery and lag against formulas, quadrature, closed-form spectra and measured curves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.optimize import least_squares
from scipy.signal import welch
from scipy.spatial.transform import Rotation

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.state import State
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.aerodynamics import (
    BatterySag,
    CheesemanBennett,
    Dryden,
    GroundEffect,
    InWind,
    Lagged,
    LaggedGroundEffect,
    MeasuredGroundEffect,
    NearGroundTurbulence,
    PartialGroundEffect,
    RandomEffect,
    RotorDrag,
    known_part,
)
from sim.aerodynamics.partial import disc_points
from sim.plant import Plant, load_effects
from sim.terrain import Flat, Platform, Slope

VEHICLE = load_vehicle("intel-aero")
HOVER = np.full(4, VEHICLE.hover_speed)
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
ZERO = np.zeros(3)
R = VEHICLE.rotor_radius


def at(z: float, x: float = 0.0, velocity: np.ndarray = ZERO, attitude: np.ndarray = LEVEL) -> State:
    """Centre of mass at z m above the floor."""
    return State(np.array([x, 0.0, z]), velocity, attitude, ZERO, np.float64(z))


@pytest.mark.parametrize("radii", [0.6, 1.0, 2.0, 5.0])
def test_cheeseman_and_bennett_rotor_by_rotor(radii: float) -> None:
    force, moment = CheesemanBennett()(at(radii * R - 0.04), HOVER, VEHICLE, Flat())
    assert force[2] == pytest.approx(VEHICLE.weight * (1 / (1 - 1 / (16 * radii**2)) - 1), rel=1e-9)
    assert_allclose(moment, 0, atol=1e-12)


def test_a_tilted_rotor_has_its_own_height_and_so_a_moment() -> None:
    q = Rotation.from_euler("xyz", [0.1, -0.2, 0.5])
    state = at(0.2, attitude=q.as_quat(scalar_first=True))
    force, moment = CheesemanBennett()(state, HOVER, VEHICLE, Slope(0.1))
    expected = np.zeros(3)
    lifts = []
    for hub in VEHICLE.rotor_positions:
        place = state.position + q.apply(hub)
        z = place[2] - np.tan(0.1) * place[0]
        s = (R / 4 / z) ** 2
        lifts.append(VEHICLE.weight / 4 * s / (1 - s))
        expected += np.cross(hub, [0, 0, lifts[-1]])
    assert_allclose(moment, expected, rtol=1e-9)
    assert_allclose(force, q.apply([0, 0, sum(lifts)]), rtol=1e-9)


def covered(offset: float) -> float:
    """Share of a disc of radius 1 at x < offset: the area of a circular segment."""
    x = np.clip(offset, -1, 1)
    return float((np.arccos(-x) + x * np.sqrt(1 - x * x)) / np.pi)


@pytest.mark.parametrize("offset", [-1.2, -0.8, -0.4, 0.0, 0.3, 0.7, 1.2])
def test_a_disc_over_an_edge_feels_the_share_that_is_above_the_platform(offset: float) -> None:
    """One pair of rotors over the edge, the other far beyond it, the floor deep below."""
    platform, effect = Platform(top=50.0, size=10.0), PartialGroundEffect(GroundEffect(K_b=0.0))
    hubs = VEHICLE.rotor_positions
    state = State(np.array([5.0 - offset * R - hubs[0, 0], 0.0, 50.15]), ZERO, LEVEL, ZERO, np.float64(0.04))
    single = np.array([VEHICLE.hover_speed, 0.0, 0.0, 0.0])  # front right alone turns
    lift = effect(state, single, VEHICLE, platform)[0][2]
    x = lift / (VEHICLE.weight / 4)  # s / (1 - s)
    share = x / (1 + x) / GroundEffect(K_b=0.0).increase(0.19, VEHICLE)
    assert share == pytest.approx(covered(offset), abs=0.06)


def test_over_flat_ground_every_part_of_a_disc_feels_the_same() -> None:
    for z in (0.12, 0.3):
        whole = GroundEffect()(at(z), HOVER, VEHICLE, Flat())
        partial = PartialGroundEffect()(at(z), HOVER, VEHICLE, Flat())
        assert_allclose(partial[0], whole[0], rtol=1e-12)
        assert_allclose(partial[1], whole[1], atol=1e-12)


def test_a_vehicle_that_passes_an_edge_feels_no_jump() -> None:
    """Steps of 2 mm: the hub's law jumps by the whole effect of a pair of rotors, the disc's by a 24th of it."""
    platform, x = Platform(top=0.5, size=1.0), np.arange(0.2, 0.9, 0.002)

    def steps(effect: Any) -> float:
        lift = [effect(at(0.62, a), HOVER, VEHICLE, platform)[0][2] for a in x]
        return float(np.abs(np.diff(lift)).max())

    assert steps(PartialGroundEffect()) < 0.25 * steps(GroundEffect())


def test_the_points_of_a_disc_stand_for_equal_areas() -> None:
    points = np.array(disc_points(2.0, 400))
    assert_allclose(points.mean(axis=0), 0, atol=0.01)
    assert_allclose(np.cov(points.T, bias=True), np.eye(2), atol=0.02)  # R^2/4
    assert np.hypot(*points.T).max() <= 2.0


# mean f_a,z in grams by height of the centre of mass in m, over the mass in grams, of the Neural-Swarm2 flights
# (../shared/data/README.md); discs are 0.01 m higher
MEASURED = {
    "crazyflie-parrot": (67.0, {0.08: 6.8, 0.10: 4.6, 0.12: 3.1, 0.14: 2.0, 0.165: 0.9, 0.19: 0.0}),
    "crazyflie-21": (32.0, {0.06: 3.2, 0.08: 2.3, 0.10: 1.2, 0.12: 0.2, 0.135: 0.0}),
}


def test_the_fitted_curve_is_the_least_squares_fit_of_what_was_measured() -> None:
    x, y = [], []
    for name, (grams, curve) in MEASURED.items():
        for z, f_a in curve.items():
            x.append((z + 0.01) / load_vehicle(name).rotor_radius)
            y.append(f_a / grams)
    radii, share = np.array(x), np.array(y)
    fit = least_squares(lambda q: q[0] * np.maximum(1 - radii / q[1], 0) ** q[2] - share, [0.25, 6.0, 1.5])
    effect = MeasuredGroundEffect()
    assert_allclose([effect.a, effect.c, effect.p], fit.x, rtol=0.005)
    ours = np.array([effect.increase(z * R, VEHICLE) for z in radii])
    assert np.abs(ours - share).max() < 0.015


@pytest.mark.parametrize("name", MEASURED)
def test_in_hover_the_measured_effect_carries_the_measured_share_of_the_weight(name: str) -> None:
    vehicle = load_vehicle(name)
    grams, curve = MEASURED[name]
    for z, f_a in curve.items():
        thrust = vehicle.weight
        for _ in range(50):
            speeds = np.full(4, np.sqrt(thrust / 4 / vehicle.thrust_coefficient))
            thrust = vehicle.weight - MeasuredGroundEffect()(at(z), speeds, vehicle, Flat())[0][2]
        assert 1 - thrust / vehicle.weight == pytest.approx(f_a / grams, abs=0.015)


@pytest.mark.parametrize("effect", [CheesemanBennett(), MeasuredGroundEffect(), PartialGroundEffect()])
def test_forward_speed_weakens_every_ground_effect(effect: Any) -> None:
    still = effect(at(0.15), HOVER, VEHICLE, Flat())[0][2]
    fast = effect(at(0.15, velocity=np.array([8.0, 0, 0])), HOVER, VEHICLE, Flat())[0][2]
    assert 0 < fast < 0.5 * still


def test_a_lagged_effect_follows_a_step_with_its_time_constant() -> None:
    def step(state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple:
        on = float(state.position[2] > 1)
        return np.array([0.0, 0.0, on]), np.array([on, 0.0, 0.0])

    lagged, dt = Lagged(step, 0.05), 1 / 240
    lagged.reset(0, dt)
    lagged(at(0.5), HOVER, VEHICLE, Flat())
    force = [lagged(at(2.0), HOVER, VEHICLE, Flat())[0][2] for _ in range(48)]
    assert_allclose(force, 1 - np.exp(-dt * np.arange(1, 49) / 0.05), rtol=1e-9)
    lagged.reset(0, dt)
    assert lagged(at(2.0), HOVER, VEHICLE, Flat())[0][2] == 1.0


def test_of_what_lags_an_oracle_knows_the_law_and_of_wind_the_mean() -> None:
    effects = (LaggedGroundEffect(), NearGroundTurbulence(), RotorDrag(), InWind([RotorDrag()]), BatterySag())
    assert all(isinstance(e, RandomEffect) for e in effects if not isinstance(e, RotorDrag))
    ground, drag, wind = known_part(effects)
    assert ground == GroundEffect() and drag == RotorDrag()
    force, _ = wind(at(3.0), HOVER, VEHICLE, Flat())
    assert_allclose(force, [0.3 * VEHICLE.mass * 2.0, 0, 0], atol=1e-12)


def test_a_vehicle_that_drifts_with_the_wind_feels_no_drag() -> None:
    class Steady:
        mean = (1.0, -2.0, 0.5)

        def reset(self, seed: int, dt: float) -> None: ...

        def __call__(self, like: np.ndarray) -> tuple:
            return self.mean

    effect = InWind([RotorDrag()], Steady())
    assert_allclose(effect(at(3.0, velocity=np.array(Steady.mean)), HOVER, VEHICLE, Flat())[0], 0, atol=1e-15)
    standing = effect(at(3.0), HOVER, VEHICLE, Flat())[0]
    assert_allclose(standing, RotorDrag()(at(3.0, velocity=-np.array(Steady.mean)), HOVER, VEHICLE, Flat())[0])


def gusts(seeds: int, steps: int, dt: float, speed: float = 4.0) -> np.ndarray:
    """(steps, seeds, 3) m/s about the mean, wind along x."""
    wind = Dryden(speed)
    wind.reset(np.arange(seeds), dt)
    like = np.zeros((seeds, 3))
    return np.array([np.stack(wind(like), axis=-1) for _ in range(steps)]) - [speed, 0, 0]


def test_gusts_have_the_variance_and_memory_of_the_dryden_model_whatever_the_step() -> None:
    """sigma_w = 0.1 W, L_w = 10 ft; R(tau) = sigma^2 e^(-x) for u, sigma^2 e^(-x) (1 - x/2) across, x = tau W / L."""
    shape = 0.177 + 0.00823
    sigma = 4.0 * np.array([0.1 / shape**0.4, 0.1 / shape**0.4, 0.1])
    length = 3.048 * np.array([1 / shape**1.2, 1 / shape**1.2, 1.0])
    for dt in (1 / 240, 0.5):
        first, *_, last = x = gusts(40_000, 4, dt)
        assert_allclose(last.std(axis=0), sigma, rtol=0.02)
        theta = 3 * dt * 4.0 / length
        expected = np.exp(-theta) * np.array([1.0, 1 - theta[1] / 2, 1 - theta[2] / 2])
        assert_allclose((first * last).mean(axis=0) / sigma**2, expected, atol=0.015)
        assert_allclose(np.corrcoef(x[-1].T), np.eye(3), atol=0.02)


@pytest.mark.slow
def test_gusts_have_the_spectra_of_the_dryden_model() -> None:
    """Welch's estimate against the closed form, one-sided, per Hz; the integral of the closed form is the variance."""
    dt, W = 0.05, 4.0
    f, psd = welch(gusts(200, 4096, dt), fs=1 / dt, nperseg=1024, axis=0)
    psd = psd.mean(axis=1)
    wind = Dryden(W)

    def spectrum(k: int, f: Any) -> Any:
        T, x = wind.lengths[k] / W, (2 * np.pi * f * wind.lengths[k] / W) ** 2
        shape = 1 / (1 + x) if k == 0 else (1 + 3 * x) / (1 + x) ** 2 / 2
        return 4 * wind.sigmas[k] ** 2 * T * shape

    for k in range(3):
        assert quad(lambda f, k=k: spectrum(k, f), 0, np.inf)[0] == pytest.approx(wind.sigmas[k] ** 2, rel=1e-3)
        band = (f > 0.05) & (f < 2.0)
        assert_allclose(psd[band, k], spectrum(k, f[band]), rtol=0.15)


def test_the_steps_of_the_double_pole_are_exact() -> None:
    from sim.aerodynamics.wind import _DoublePole

    theta = 0.7
    pole = _DoublePole(theta)
    phi = expm(theta * np.array([[0.0, 1.0], [-1.0, -2.0]]))  # both deviations are equal in units of T
    assert_allclose([[pole._a, pole._b], [-pole._b, pole._c]], phi, atol=1e-12)
    chol = np.array([[pole._l11, 0.0], [pole._l21, pole._l22]])
    assert_allclose(chol @ chol.T, np.eye(2) - phi @ phi.T, atol=1e-12)


def test_wind_blows_to_where_it_says() -> None:
    wind = Dryden(3.0, np.deg2rad(90.0))
    assert_allclose(wind.mean, [0, 3, 0], atol=1e-12)
    assert_allclose(np.mean([wind(np.zeros(3)) for _ in range(2000)], axis=0), [0, 3, 0], atol=1.5)


def test_a_battery_loses_thrust_with_charge_and_with_current() -> None:
    full, empty, low = BatterySag(1.0), BatterySag(0.0), BatterySag(0.5)
    assert_allclose(full(at(3.0), HOVER, VEHICLE, Flat())[0], 0, atol=1e-9)
    assert empty(at(3.0), HOVER, VEHICLE, Flat())[0][2] == pytest.approx((0.83**2 - 1) * VEHICLE.weight)
    fast = 1.2 * HOVER
    V = 1 - 0.17 * 0.5 - 0.05 * (1.2**3 - 1)
    assert low(at(3.0), fast, VEHICLE, Flat())[0][2] == pytest.approx((V * V - 1) * 1.44 * VEHICLE.weight)


def test_a_battery_is_empty_after_its_time_in_hover() -> None:
    battery = BatterySag(1.0)
    battery.reset(0, 1.0)
    thrust = [battery(at(3.0), HOVER, VEHICLE, Flat())[0][2] for _ in range(700)]
    assert thrust[300] == pytest.approx(((1 - 0.17 * 0.5) ** 2 - 1) * VEHICLE.weight)
    assert thrust[601] == thrust[-1] == pytest.approx((0.83**2 - 1) * VEHICLE.weight)
    battery.reset(0, 1.0)
    assert battery(at(3.0), HOVER, VEHICLE, Flat())[0][2] == pytest.approx(0.0, abs=1e-9)


def test_a_sagging_battery_weakens_thrust_and_moments_alike() -> None:
    battery, speeds = BatterySag(0.3), HOVER * [1.02, 0.97, 1.0, 1.01]
    force, moment = battery(at(3.0), speeds, VEHICLE, Flat())
    nominal = VEHICLE.B0 @ speeds**2
    assert_allclose(np.array([force[2], *moment]) / nominal, force[2] / nominal[0], rtol=1e-9)


STATEFUL: dict[str, Callable[[], Any]] = {
    "turbulence": NearGroundTurbulence,
    "lag": LaggedGroundEffect,
    "battery": BatterySag,
    "wind": lambda: InWind([GroundEffect(), RotorDrag(), NearGroundTurbulence()]),
}
MEMORYLESS = {"cheeseman-bennett": CheesemanBennett, "measured": MeasuredGroundEffect, "partial": PartialGroundEffect}


@pytest.mark.parametrize("name", [*STATEFUL, *MEMORYLESS])
def test_one_object_serves_one_vehicle_and_a_batch_with_a_seed_each(name: str) -> None:
    """The same flights one by one in NumPy and together in torch, over an edge and tilted."""
    build = (STATEFUL | MEMORYLESS)[name]
    rng, n, steps, dt = np.random.default_rng(5), 6, 8, 1 / 240
    p = rng.uniform(-0.6, 0.6, (steps, n, 3)) + [0, 0, 1.0]
    v = rng.normal(size=(steps, n, 3))
    q = Rotation.from_rotvec(0.2 * rng.normal(size=(steps * n, 3))).as_quat(scalar_first=True).reshape(steps, n, 4)
    speeds = HOVER * rng.uniform(0.9, 1.1, (steps, n, 4))
    seeds, terrain = [3, 11, 5, 8, 2**31 - 1, 0], Platform(0.3, 1.0)
    expected = np.empty((steps, n, 2, 3))
    for i, seed in enumerate(seeds):
        effect = build()
        if isinstance(effect, RandomEffect):
            effect.reset(seed, dt)
        for k in range(steps):
            state = State(p[k, i], v[k, i], q[k, i], ZERO, np.float64(p[k, i, 2]))
            expected[k, i] = effect(state, speeds[k, i], VEHICLE, terrain)
    batch = build()
    if isinstance(batch, RandomEffect):
        batch.reset(torch.tensor(seeds), dt)
    for k in range(steps):
        P, V, Q, U = (torch.tensor(a[k]) for a in (p, v, q, speeds))
        force, moment = batch(State(P, V, Q, 0 * V, P[:, 2]), U, VEHICLE, terrain)
        assert force.shape == moment.shape == (n, 3) and force.dtype == torch.float64
        assert_allclose(force, expected[k, :, 0], rtol=1e-9, atol=1e-9)
        assert_allclose(moment, expected[k, :, 1], rtol=1e-9, atol=1e-9)


NAMES = (
    "CheesemanBennett", "GroundEffect", "PartialGroundEffect", "MeasuredGroundEffect", "LaggedGroundEffect",
    "NearGroundTurbulence", "RotorDrag", "InWind", "BatterySag",
)  # fmt: skip


def test_every_effect_can_be_named_on_the_command_line() -> None:
    assert len(load_effects([f"sim.aerodynamics:{name}" for name in NAMES])) == len(NAMES)


def test_gusts_come_from_their_seed() -> None:
    def path(seed: int) -> np.ndarray:
        effect = InWind()
        effect.reset(seed, 1 / 240)
        return np.array([effect(at(2.0), HOVER, VEHICLE, Flat())[0] for _ in range(50)])

    assert np.array_equal(path(4), path(4)) and not np.array_equal(path(4), path(5))


def test_an_effect_that_returns_lists_is_told_what_is_wanted() -> None:
    def lists(state, rotor_speeds, vehicle, terrain):
        return [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]

    with Plant(VEHICLE, (lists,)).build() as world:
        world.reset(np.array([0.0, 0.0, 0.5]))
        with pytest.raises(UserError, match="both must be arrays of three finite numbers"):
            world.step(np.full(4, VEHICLE.hover_speed))


class Lagging:
    """Follows the height with a lag, and never starts anew."""

    def __init__(self) -> None:
        self.h = 0.0

    def __call__(self, state, rotor_speeds, vehicle, terrain):
        self.h += 0.1 * (float(state.height) - self.h)
        return np.array([0.0, 0.0, self.h]), np.zeros(3)


class StartsAnew(Lagging):
    def reset(self, seed: int, dt: float) -> None:
        self.h = 0.0


def test_a_memory_that_no_flight_begins_with_is_named() -> None:
    with pytest.warns(NeuralLanderWarning, match=r"Lagging' answers the same question .* reset\(seed, dt\)"):
        load_effects(["tests.test_effects:Lagging"])
    load_effects(["tests.test_effects:StartsAnew"])  # a warning would be an error


def one_number(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> Any:
    return 0.5


def no_moment(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> Any:
    return state.velocity


@pytest.mark.parametrize("name", ["one_number", "no_moment"])
def test_an_answer_that_is_no_pair_is_refused_before_a_flight(name: str) -> None:
    with pytest.raises(UserError, match=rf"effect '.*{name}' returned .* must return \(force, moment\)"):
        load_effects([f"tests.test_effects:{name}"])
