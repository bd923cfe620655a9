"""The emulated autopilot without a protocol: flies, obeys the pilot, and fails as real ones do."""

import math

import numpy as np
import pytest

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.estimator import EmulatedEstimator, EstimatorNoise
from firmware_bridge.emulator.modes import TICK, Demand, Mode, OnLoss, Settings
from firmware_bridge.emulator.world import RigidBodyWorld, SimulatedVehicle
from neural_lander.state import State
from neural_lander.vehicle import GRAVITY, load_vehicle
from sim.world import PyBulletWorld

VEHICLE = load_vehicle("intel-aero")
LEVEL = (1.0, 0.0, 0.0, 0.0)


def settings(**changes):
    return Settings(**({"setpoint_timeout": 1.0, "on_loss": OnLoss.HOLD} | changes))


def standing(**changes):
    autopilot = Autopilot(VEHICLE, RigidBodyWorld(VEHICLE), settings(**changes))
    autopilot.advance(0.0)
    autopilot.advance_by = lambda s: [autopilot.advance(autopilot.now + 0.02) for _ in range(round(s / 0.02))]
    return autopilot


def hovering(height=1.0, **changes):
    world = RigidBodyWorld(VEHICLE, height)
    world.hover()
    autopilot = Autopilot(VEHICLE, world, settings(**changes))
    autopilot.begin_airborne(0.0)
    return autopilot


def stream(autopilot, seconds, thrust, **what):
    """Setpoints at 100 Hz."""
    for _ in range(round(seconds / 0.01)):
        autopilot.accept(Demand(autopilot.now, thrust, **(what or {"attitude": LEVEL})))
        autopilot.advance(autopilot.now + 0.01)


def hover_fraction(autopilot):
    return VEHICLE.weight / autopilot.thrust_of(1.0)


class TestWorld:
    def test_falls_freely_without_rotors(self):
        world = RigidBodyWorld(VEHICLE, 50.0)
        for _ in range(400):
            world.step(np.zeros(4), TICK)
        drag = 0.1  # 1/s
        assert world.state.velocity[2] == pytest.approx(-GRAVITY / drag * (1 - math.exp(-drag)), rel=2e-3)

    def test_stands_still_on_its_feet_and_feels_its_weight(self):
        world = RigidBodyWorld(VEHICLE)
        for _ in range(800):
            world.step(np.zeros(4), TICK)
        assert world.state.contact
        assert float(world.state.height) == pytest.approx(-0.003, abs=1e-4)  # the gear gives way by its stated sag
        np.testing.assert_allclose(world.specific_force, [0, 0, GRAVITY], atol=1e-3)
        np.testing.assert_allclose(world.state.velocity, 0, atol=1e-4)

    @pytest.mark.parametrize("height, more", [(2.0, 1.0), (0.0, 1 / (1 - (0.115 / (4 * 0.15)) ** 2))])
    def test_ground_effect_is_that_of_cheeseman_and_bennett(self, height, more):
        world = RigidBodyWorld(VEHICLE, height)
        world.hover()
        world.step(np.full(4, VEHICLE.hover_speed), TICK)
        assert world.specific_force[2] == pytest.approx(GRAVITY * more, rel=1e-3)

    def test_flies_as_the_physics_engine_does(self):
        """In free flight, tumbling; apart from its own drag, 0.1 per second."""
        with PyBulletWorld(VEHICLE, dt=TICK) as bullet:
            bullet.reset(np.array([0.0, 0.0, 20.0 + VEHICLE.gear_clearance]))
            light, other = RigidBodyWorld(VEHICLE, 20.0), SimulatedVehicle(bullet)
            light.hover()
            speeds = VEHICLE.hover_speed * np.array([1.0, 1.01, 1.02, 1.0])
            for _ in range(200):  # 0.5 s
                light.step(speeds, TICK)
                other.step(speeds, TICK)
            assert np.linalg.norm(other.state.body_rates) > 1.0
            np.testing.assert_allclose(light.state.body_rates, other.state.body_rates, atol=0.02)
            np.testing.assert_allclose(light.state.attitude, other.state.attitude, atol=0.01)
            np.testing.assert_allclose(light.state.velocity, other.state.velocity, atol=0.03)
            np.testing.assert_allclose(light.specific_force, other.specific_force, atol=0.1)
            np.testing.assert_allclose(light.rotor_speed, other.rotor_speed, rtol=1e-9)

    def test_adapter_refuses_another_step_than_the_worlds(self):
        class Still:
            dt = 1 / 240

        with pytest.raises(ValueError, match="0.0025"):
            SimulatedVehicle(Still()).step(np.zeros(4), TICK)

    def test_adapter_turns_the_specific_force_into_the_body(self):
        class Tilted:
            dt = TICK
            state = State(np.zeros(3), np.zeros(3), np.array([math.sqrt(0.5), math.sqrt(0.5), 0, 0]), np.zeros(3), 1.0)
            specific_force = np.array([0.0, 0.0, 9.81])  # lying on its right side: body y points up

        np.testing.assert_allclose(SimulatedVehicle(Tilted()).specific_force, [0, 9.81, 0], atol=1e-12)


class TestEstimator:
    def test_origin_is_where_it_was_switched_on(self):
        estimator = EmulatedEstimator(RigidBodyWorld(VEHICLE, 3.0), EstimatorNoise.none(), 0, TICK)
        np.testing.assert_allclose(estimator.state.position, 0, atol=1e-12)

    def test_noise_is_that_asked_for(self):
        estimator = EmulatedEstimator(RigidBodyWorld(VEHICLE), EstimatorNoise(position_bias=0.0), 1, TICK)
        drawn = []
        for _ in range(4000):
            estimator.update()
            drawn.append(np.concatenate([estimator.state.velocity, estimator.accelerometer]))
        np.testing.assert_allclose(np.std(drawn, axis=0), [0.01] * 3 + [0.15] * 3, rtol=0.06)

    def test_range_is_slant_in_a_tilt(self):
        world = RigidBodyWorld(VEHICLE, 1.0)
        q = (math.cos(0.1), math.sin(0.1), 0.0, 0.0)  # 0.2 rad
        world._q = q
        world.state = world._truth()
        estimator = EmulatedEstimator(world, EstimatorNoise.none(), 0, TICK)
        expected = (1.0 + VEHICLE.gear_clearance) / math.cos(0.2)
        assert estimator.distance(VEHICLE.gear_points.tolist()) == pytest.approx(expected)


class TestPilot:
    def test_does_not_arm_before_it_has_booted(self):
        autopilot = standing()
        assert autopilot.arm("pilot") == "Waiting for navigation alignment"
        assert not autopilot.armed

    def test_takes_off_holds_lands_and_disarms(self):
        autopilot = standing()
        autopilot.advance_by(3.0)
        assert autopilot.arm("pilot") is None
        autopilot.take_off(1.0, "pilot")
        autopilot.advance_by(7.0)
        assert autopilot.mode is Mode.HOLD
        assert autopilot.world.state.position[2] == pytest.approx(1.0 + VEHICLE.gear_clearance, abs=0.05)
        autopilot.switch(Mode.LAND, "pilot")
        autopilot.advance_by(8.0)
        assert not autopilot.armed
        assert autopilot.watch.touchdown_speed == pytest.approx(0.5, abs=0.2)
        said = [what for _, what in autopilot.events]
        assert said.index("landed") < said.index("disarmed by autopilot")

    def test_takes_over_from_the_companion_at_any_time(self):
        autopilot = hovering()
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 0.5, 0.9)
        autopilot.switch(Mode.HOLD, "pilot")
        stream(autopilot, 2.0, 0.0)  # the companion goes on, and is not heard
        assert autopilot.mode is Mode.HOLD
        assert abs(autopilot.world.state.velocity[2]) < 0.2

    def test_disarms_in_the_air_by_force_only(self):
        autopilot = hovering()
        assert autopilot.disarm("companion") == "Not landed"
        assert autopilot.armed
        assert autopilot.disarm("pilot", force=True) is None
        assert not autopilot.armed


class TestSetpoints:
    def test_hover_fraction_carries_the_weight_on_this_battery(self):
        autopilot = hovering(height=2.0)
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 1.0, hover_fraction(autopilot))
        assert abs(autopilot.world.state.velocity[2]) < 0.15

    def test_thrust_falls_with_the_square_of_the_voltage(self):
        autopilot = hovering()
        full = autopilot.thrust_of(0.5) / autopilot.voltage**2
        autopilot.power.drawn = 1.0
        assert autopilot.thrust_of(0.5) / autopilot.voltage**2 == pytest.approx(full)

    def test_follows_attitude_and_rates(self):
        autopilot = hovering(height=3.0)
        autopilot.switch(Mode.COMPANION, "companion")
        tilt = (math.cos(0.1), 0.0, math.sin(0.1), 0.0)  # 0.2 rad about y
        stream(autopilot, 1.0, hover_fraction(autopilot), attitude=tilt)
        np.testing.assert_allclose(autopilot.world.state.attitude, tilt, atol=0.02)
        stream(autopilot, 0.5, hover_fraction(autopilot), rates=(0.0, 0.0, 0.8))
        assert autopilot.world.state.body_rates[2] == pytest.approx(0.8, abs=0.1)

    def test_thrust_as_a_climb_rate_holds_height_at_one_half(self):
        autopilot = hovering(height=2.0, thrust_is_climb_rate=True)
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 2.0, 0.5)
        assert abs(autopilot.world.state.velocity[2]) < 0.1
        stream(autopilot, 2.0, 0.6)
        assert autopilot.world.state.velocity[2] == pytest.approx(0.2 * 2.5, abs=0.1)

    def test_companions_mode_wants_a_stream_first(self):
        autopilot = hovering(stream_before_switch=1.0)
        assert autopilot.switch(Mode.COMPANION, "companion") == "No offboard signal"
        stream(autopilot, 0.8, 0.5)
        assert autopilot.switch(Mode.COMPANION, "companion") == "No offboard signal"
        stream(autopilot, 0.4, 0.5)
        assert autopilot.switch(Mode.COMPANION, "companion") is None

    def test_disarmed_the_companions_mode_is_accepted_without_a_stream_and_does_not_arm(self):
        """As PX4 does, flown in software."""
        autopilot = standing(stream_before_switch=1.0)
        autopilot.advance_by(3.0)
        assert autopilot.switch(Mode.COMPANION, "companion") is None
        assert autopilot.arm("pilot") == "Arming denied: Resolve system health failures first"
        stream(autopilot, 1.2, 0.0)
        assert autopilot.arm("pilot") is None

    @pytest.mark.parametrize("on_loss, mode", [(OnLoss.HOLD, Mode.HOLD), (OnLoss.LAND, Mode.LAND)])
    def test_loss_of_setpoints_changes_the_mode_after_the_timeout(self, on_loss, mode):
        autopilot = hovering(on_loss=on_loss)
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 0.5, hover_fraction(autopilot))
        for _ in range(90):
            autopilot.advance(autopilot.now + 0.01)
        assert autopilot.mode is Mode.COMPANION
        for _ in range(20):
            autopilot.advance(autopilot.now + 0.01)
        assert autopilot.mode is mode

    def test_loss_of_setpoints_levels_and_stays_in_the_mode_as_arducopter_does(self):
        autopilot = hovering(height=3.0, on_loss=OnLoss.LEVEL, setpoint_timeout=3.0)
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 0.3, hover_fraction(autopilot), attitude=(math.cos(0.05), 0.0, math.sin(0.05), 0.0))
        for _ in range(450):
            autopilot.advance(autopilot.now + 0.01)
        assert autopilot.mode is Mode.COMPANION
        assert autopilot.world.state.rows[2][2] > 0.999
        assert abs(autopilot.world.state.velocity[2]) < 0.1

    def test_rests_on_the_ground_without_thrust_and_leaves_it_with_thrust(self):
        autopilot = standing()
        autopilot.advance_by(3.0)
        autopilot.switch(Mode.COMPANION, "companion")
        autopilot.arm("pilot")
        stream(autopilot, 2.0, 0.0)
        assert autopilot.landed and autopilot.world.state.contact
        stream(autopilot, 1.0, 1.15 * hover_fraction(autopilot))
        assert not autopilot.landed
        assert float(autopilot.world.state.height) > 0.2

    @pytest.mark.parametrize("minds, by_climb_rate", [(True, False), (True, True), (False, False)])
    def test_a_take_off_by_thrust_keeps_some_from_arming_again_until_they_are_restarted(self, minds, by_climb_rate):
        """ArduCopter 4.5, as flown in software: what its land detector was not told is an internal error to it."""
        autopilot = standing(minds_take_off_by_thrust=minds, thrust_is_climb_rate=by_climb_rate)
        autopilot.advance_by(3.0)
        autopilot.switch(Mode.COMPANION, "companion")
        assert autopilot.arm("pilot") is None
        stream(autopilot, 2.0, 0.8)
        assert not autopilot.landed
        said = (2, "Internal Errors 0x100000") in autopilot.texts
        autopilot.disarm("pilot", force=True)
        refusal = autopilot.arm("pilot")
        assert said == (refusal is not None) == (minds and not by_climb_rate)
        assert refusal is None or refusal.startswith("PreArm: Internal errors")
        autopilot.disarm("pilot", force=True)
        autopilot.reboot()
        autopilot.advance_by(4.0)
        assert autopilot.arm("pilot") is None


class TestTrouble:
    def test_reboot_disarms_forgets_and_takes_time(self):
        autopilot = hovering(height=0.2)
        autopilot.reboot()
        autopilot.advance(autopilot.now + 0.1)
        assert not autopilot.armed and not autopilot.running and autopilot.mode is Mode.LEVEL
        for _ in range(20):
            autopilot.advance(autopilot.now + 0.1)
        assert autopilot.running and autopilot.uptime < 3.0
        assert not autopilot.armed

    def test_disarms_by_itself_when_it_lies_on_its_side(self):
        world = RigidBodyWorld(VEHICLE, 0.3)
        world._q = (math.cos(0.8), math.sin(0.8), 0.0, 0.0)  # 1.6 rad
        autopilot = Autopilot(VEHICLE, world, settings())
        autopilot.begin_airborne(0.0)
        autopilot.switch(Mode.COMPANION, "companion")
        stream(autopilot, 3.0, 0.0, attitude=(math.cos(0.8), math.sin(0.8), 0.0, 0.0))
        assert not autopilot.armed
        assert "Crash: Disarming" in [what for _, what in autopilot.events]

    def test_a_suspended_process_is_not_caught_up_with_for_ever(self):
        autopilot = hovering()
        autopilot.advance(100.0)
        assert autopilot.now == pytest.approx(100.0, abs=2 * TICK)
