"""Vehicle profiles: what the built-in ones say, the thrust and moment map, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.residual.scoring import scoring_rule
from neural_lander.residual.trim import trim_height
from neural_lander.vehicle import builtin_vehicles, load_vehicle, parse_vehicle

INTEL_AERO = load_vehicle("intel-aero").text


def test_the_three_profiles_come_with_the_package() -> None:
    assert builtin_vehicles() == ["crazyflie-21", "crazyflie-parrot", "intel-aero"]
    assert [load_vehicle(name).mass for name in builtin_vehicles()] == [0.032, 0.067, 1.47]


def test_intel_aero_hovers_at_the_speed_of_the_paper() -> None:
    """C_T rho n^2 D^4 per rotor with n in rev/s: 6508 rpm, as issue and paper have it."""
    n = np.sqrt(1.47 * 9.81 / (4 * 0.08937873 * 1.225 * 0.23**4))
    assert n * 60 == pytest.approx(6508, abs=0.5)
    assert load_vehicle("intel-aero").hover_speed * 60 / (2 * np.pi) == pytest.approx(n * 60, abs=0.5)


@pytest.mark.parametrize("name", builtin_vehicles())
def test_rotor_forces_add_up_to_thrust_and_moments(name: str) -> None:
    """B0 u against the sum over rotors of r x F and the reaction torque, which opposes the rotation."""
    vehicle = load_vehicle(name)
    u = np.random.default_rng(0).uniform(0.2, 1.0, 4) * vehicle.u_max
    forces = vehicle.thrust_coefficient * u[:, None] * [0.0, 0.0, 1.0]
    moment = np.cross(vehicle.rotor_positions, forces).sum(axis=0)
    moment[2] -= (vehicle.rotor_directions * vehicle.torque_ratio) @ forces[:, 2]
    assert_allclose(vehicle.B0 @ u, [forces[:, 2].sum(), *moment], rtol=1e-12, atol=1e-15)
    assert_allclose(vehicle.B0_inverse @ vehicle.B0 @ u, u, rtol=1e-9)


@pytest.mark.parametrize("name", builtin_vehicles())
def test_profiles_describe_vehicles_that_can_fly(name: str) -> None:
    vehicle = load_vehicle(name)
    thrust_to_weight = 4 * vehicle.thrust_coefficient * vehicle.u_max / vehicle.weight
    assert 1.3 < thrust_to_weight < 5
    assert vehicle.gear_clearance > 0
    assert_allclose(vehicle.B0 @ np.full(4, vehicle.hover_speed**2), [vehicle.weight, 0, 0, 0], atol=1e-9)


def test_lowest_gear_point_of_a_tilted_vehicle() -> None:
    vehicle = load_vehicle("intel-aero")
    attitudes = Rotation.from_euler("xyz", np.random.default_rng(2).uniform(-0.6, 0.6, (20, 3)))
    position = np.random.default_rng(3).normal(size=(20, 3))
    expected = [p[2] + R.apply(vehicle.gear_points)[:, 2].min() for p, R in zip(position, attitudes, strict=True)]
    assert_allclose(vehicle.lowest_point(position, attitudes.as_matrix()), expected, atol=1e-14)
    assert vehicle.lowest_point(position[0], attitudes[0].as_matrix()) == pytest.approx(expected[0])


def test_a_users_own_file_works_wherever_a_name_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(INTEL_AERO.replace('name = "intel-aero"', 'name = "mine"'))
    assert load_vehicle(path).name == load_vehicle(str(path)).name == "mine"
    assert load_vehicle(path).sha256 == load_vehicle("intel-aero").sha256


@pytest.mark.parametrize(
    ("old", "new", "doubt"),
    [
        (
            "value = 1000.0,",
            "value = 9900.0,",
            r"rotor_speed_max = 9900 rad/s gives \d+ times the weight in thrust: is it in rpm",
        ),
        (
            "[0.0085, 0.0085, 0.0135]",
            "[0.085, 0.085, 0.135]",
            r"inertia = .* further than the rotors \(0\.18 m\): is it in g cm",
        ),
        (
            "rotor_radius = { value = 0.115",
            "rotor_radius = { value = 0.23",
            r"rotor_radius = 0\.23 m makes the discs of adjacent rotors, .* overlap: is it the diameter",
        ),
    ],
)
def test_a_number_in_another_unit_than_it_says_is_doubted(tmp_path: Path, old: str, new: str, doubt: str) -> None:
    assert INTEL_AERO.count(old) == 1
    (tmp_path / "mine.toml").write_text(INTEL_AERO.replace(old, new))
    with pytest.warns(NeuralLanderWarning, match=doubt):
        load_vehicle(tmp_path / "mine.toml")


def test_a_file_that_windows_marked_is_read_without_its_mark(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(INTEL_AERO, "utf-8-sig")
    assert load_vehicle(tmp_path / "mine.toml").text == INTEL_AERO


def test_the_hash_follows_every_number_and_the_profile_text_only_the_original() -> None:
    vehicle = load_vehicle("intel-aero")
    heavier = vehicle.with_(mass=1.6)
    assert heavier.sha256 != vehicle.sha256
    assert heavier.weight == pytest.approx(1.6 * 9.81)
    assert heavier.text == ""


SINGULAR = (
    "value = [[0.127, -0.127, 0.04], [-0.127, 0.127, 0.04], [0.127, 0.127, 0.04], [-0.127, -0.127, 0.04]]",
    "value = [[0.1, 0.0, 0.04], [-0.1, 0.0, 0.04], [0.2, 0.0, 0.04], [-0.2, 0.0, 0.04]]",
)
MASS = 'mass = { value = 1.47, unit = "kg", source = "Shi et al. 2019, section V" }'
BAD = {
    "negative mass": (("value = 1.47", "value = -1.47"), r"mass = -1\.47 kg must be a number in \(0, 1000\]"),
    "zero mass": (("value = 1.47", "value = 0.0"), r"mass = 0\.0 kg must be"),
    "NaN": (("value = 1.47", "value = nan"), r"mass = nan kg must be"),
    "mass as text": (("value = 1.47", 'value = "1.47"'), r"mass = '1\.47' kg must be a number"),
    "mass as bool": (("value = 1.47", "value = true"), r"mass = True kg must be a number"),
    "bare number": ((MASS, "mass = 1.47"), r"mass must be \{ value = \.\.\., unit = \"kg\", source"),
    "wrong unit": (('unit = "kg", source', 'unit = "g", source'), r"mass is given in 'g', expected 'kg'"),
    "no source": ((', source = "Shi et al. 2019, section V"', ""), r"mass names no source"),
    "empty source": (('"Shi et al. 2019, section V"', '" "'), r"mass names no source"),
    "extra entry": (("value = 1.47", "value = 1.47, error = 0.1"), r"mass must be \{ value"),
    "missing key": ((MASS, ""), r"missing key 'mass'"),
    "unknown key": ((MASS, MASS + "\nmas = 1.0"), r"unknown key 'mas'; known keys: .*mass"),
    "no TOML": ((MASS, "mass = = 2"), r"is not valid TOML"),
    "array shape": (("[0.0085, 0.0085, 0.0135]", "[0.0085, 0.0135]"), r"inertia = .* array of 3 numbers"),
    "array of text": (("[0.0085, 0.0085, 0.0135]", '["a", "b", "c"]'), r"inertia = .* array of 3 numbers"),
    "array with NaN": (("[0.0085, 0.0085, 0.0135]", "[0.0085, nan, 0.0135]"), r"inertia = .* finite"),
    "inertia not positive": (("[0.0085, 0.0085, 0.0135]", "[0.0, 0.0085, 0.0135]"), r"inertia = .* must be positive"),
    "inertia of no body": (("[0.0085, 0.0085, 0.0135]", "[0.001, 0.001, 0.01]"), r"inertia = .* is of no rigid body"),
    "direction": (("value = [1, 1, -1, -1]", "value = [1, 1, -1, 0.5]"), r"rotor_directions = .* must be \+1 or -1"),
    "rotors in a row": (SINGULAR, r"leave an axis without control"),
    "no yaw": (("value = [1, 1, -1, -1]", "value = [1, 1, 1, 1]"), r"leave an axis without control"),
    "too weak": (("value = 1000.0", "value = 600.0"), r"rotor_speed_max = 600 rad/s cannot carry mass = 1\.47 kg"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_profile_is_refused_in_one_line_that_names_field_and_remedy(case: str) -> None:
    (old, new), message = BAD[case]
    text = INTEL_AERO.replace(old, new, 1)
    assert text != INTEL_AERO
    with pytest.raises(UserError, match=message) as caught:
        parse_vehicle(text, "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


CURVE = load_vehicle("crazyflie-21").text
BAD_CURVE = {
    "kind": (('kind = "pwm-voltage"', 'kind = "cubic"'), r"kind = 'cubic' is not known"),
    "missing": (('kind = "pwm-voltage"', ""), r"needs exactly the keys"),
    "unit": (('unit = "gram-force"', 'unit = "N"'), r"coefficients is given in 'N', expected 'gram-force'"),
    "short": (("11.093358483549203, ", ""), r"coefficients = .* must be an array of 5 numbers"),
    "scale": (("value = 4.2", "value = 0.0"), r"voltage_scale = 0\.0 V must be a number in \(0, "),
    "text": (("value = 4.2", 'value = "4.2"'), r"voltage_scale = '4\.2' V must be a number"),
    "truth": (("value = 0.47", "value = true"), r"pwm_min = True 1 must be a number"),
    "falling": (("20.573302305476638", "-20.5"), r"coefficients = .* must be C00, C10, C01, C20 > 0"),
    "no source": (
        ('unit = "V", source = "Neural-Swarm2"', 'unit = "V", source = " "'),
        r"voltage_scale names no source",
    ),
}


@pytest.mark.parametrize("case", BAD_CURVE)
def test_a_bad_motor_curve_is_refused(case: str) -> None:
    (old, new), message = BAD_CURVE[case]
    with pytest.raises(UserError, match=message):
        parse_vehicle(CURVE.replace(old, new, 1), "mine.toml")


def test_a_missing_file_lists_the_names_that_exist() -> None:
    with pytest.raises(UserError, match=r"'nowhere\.toml' is neither a file nor one of: crazyflie-21, .*intel-aero"):
        load_vehicle("nowhere.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"mine\.toml cannot be read"):
        load_vehicle(path)


@pytest.mark.parametrize("change", [{"mass": -1.0}, {"mass": np.nan}, {"motor_time_constant": 30.0}])
def test_a_number_changed_in_a_program_is_held_to_the_same_range(change: dict[str, float]) -> None:
    name, value = next(iter(change.items()))
    with pytest.raises(UserError, match=rf"{name} = {value!r} .* must be a number in \(0, "):
        load_vehicle("intel-aero").with_(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inertia": [-1.0, 1.0, 1.0]}, "must be positive"),
        ({"inertia": [1e-3, 1e-3, 1e-2]}, "is of no rigid body"),
        ({"inertia": [1e-3, 1e-3]}, "must be an array of 3 numbers"),
        ({"rotor_positions": np.zeros((4, 3))}, "leave an axis without control"),
        ({"gear_points": [[0.1, 0.1, 0.1]]}, "must be below z = 0"),
        ({"mass": 100.0}, "cannot carry mass = 100 kg"),
        ({"masss": 1.0}, "a vehicle has no 'masss'; it has: "),
        ({"text": ""}, "a vehicle has no 'text'"),
        ({"name": "../../x"}, "name = '../../x' must be letters"),
        ({"contact_height": -5.0}, "contact_height = -5.0 m must be a number"),
        ({"motor_curve": 3}, "motor_curve must be a PwmVoltageCurve or None, not 3"),
    ],
)
def test_a_program_changes_a_vehicle_into_none_that_a_profile_could_not_hold(change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_vehicle("intel-aero").with_(**change)


def test_what_a_program_changes_becomes_arrays() -> None:
    changed = load_vehicle("intel-aero").with_(inertia=[0.01, 0.01, 0.015])
    assert isinstance(changed.inertia, np.ndarray) and changed.sha256 != load_vehicle("intel-aero").sha256


@pytest.mark.parametrize("name", ["crazyflie-21", "crazyflie-parrot"])
def test_the_motor_curve_agrees_with_its_formula_and_its_inverse(name: str) -> None:
    """Grams from the data set's formula with p = PWM/65536; the inverse takes the rising branch."""
    curve = load_vehicle(name).motor_curve
    assert curve is not None
    c00, c10, c01, c20, c11 = (c / 9.81e-3 for c in curve.coefficients)
    p, volts = np.linspace(curve.pwm_min + 0.02, 1, 30), np.linspace(3.2, 4.2, 30)
    v = volts / 4.2
    grams = c00 + c10 * p + c01 * v + c20 * p**2 + c11 * p * v
    thrust = curve.thrust(np.repeat(p[:, None], 4, axis=1), volts)
    assert_allclose(thrust[:, 0] / 9.81e-3, grams, rtol=1e-12)
    assert_allclose(curve.pwm(thrust, volts)[:, 0], p, rtol=1e-9)
    assert np.all(curve.thrust(np.zeros((1, 4)), np.array([4.0])) == 0)


def test_a_rule_of_scoring_belongs_to_the_profile_and_not_to_its_name() -> None:
    known = load_vehicle("crazyflie-parrot")
    renamed = parse_vehicle(known.text.replace('name = "crazyflie-parrot"', 'name = "mine"', 1), "mine.toml")
    assert scoring_rule(renamed) == scoring_rule(known) and scoring_rule(known).landing_floor == 0.085
    assert trim_height(renamed) == 0.28
    bare = parse_vehicle(known.text[: known.text.index("[scoring]")], "bare.toml")
    assert bare.scoring is None and scoring_rule(bare).gear_margin > 0.0
    assert bare.sha256 == known.sha256  # no control law and no certificate depends on it


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("walk_floor", "walk_flor", "scoring needs exactly the keys walk_floor, landing_floor"),
        ("value = 0.085, unit", "value = -0.085, unit", r"scoring\.landing_floor = -0\.085 m must be a number in"),
        ('value = 35.0, unit = "gram-force"', 'value = 35.0, unit = "N"', "outlier_above_when_high is given in 'N'"),
    ],
)
def test_a_bad_rule_of_scoring_is_refused(old: str, new: str, message: str) -> None:
    head, table = load_vehicle("crazyflie-parrot").text.split("[scoring]")
    assert old in table
    with pytest.raises(UserError, match=message):
        parse_vehicle(f"{head}[scoring]{table.replace(old, new, 1)}", "mine.toml")
