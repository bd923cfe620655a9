"""The emulator's MAVLink, met with pymavlink alone: what it says, how fast, and what it does without a word."""

import math
import struct
from collections import Counter

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.estimator import EstimatorNoise
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import ARDUPILOT, FIRMWARES, PX4
from firmware_bridge.emulator.mavlink_streams import EscStatus
from firmware_bridge.emulator.modes import Mode
from firmware_bridge.emulator.world import RigidBodyWorld
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
BOTH = pytest.mark.parametrize("firmware", FIRMWARES.values(), ids=FIRMWARES)
STEP = 1 / 400  # s
QUIET = EstimatorNoise.none()
HOLD_LEVEL = [1.0, 0.0, 0.0, 0.0]


class Companion:
    """A bench: one emulator, pymavlink on the other end, and a clock."""

    def __init__(self, firmware=ARDUPILOT, height=0.0, noise=QUIET, **options):
        world = RigidBodyWorld(VEHICLE, height)
        self.pilot = Autopilot(VEHICLE, world, firmware.settings(), noise=noise)
        if height:
            world.hover()
            self.pilot.begin_airborne(0.0)
        self.emulator = MavlinkAutopilot(self.pilot, firmware, **options)
        self.mav = dialect.MAVLink(None, srcSystem=1, srcComponent=dialect.MAV_COMP_ID_ONBOARD_COMPUTER)
        self.now, self.heard, self.waiting = 0.0, [], b""
        if not height:
            self.run(3.0)

    def say(self, message):
        self.waiting += message.pack(self.mav)
        self.mav.seq = (self.mav.seq + 1) % 256

    def command(self, number, *parameters):
        self.say(dialect.MAVLink_command_long_message(1, 1, number, 0, *parameters, *[0.0] * (7 - len(parameters))))

    def target(self, thrust, q=HOLD_LEVEL, mask=0b111, rates=(0.0, 0.0, 0.0)):
        self.say(dialect.MAVLink_set_attitude_target_message(0, 1, 1, mask, q, *rates, thrust))

    def run(self, seconds, every=None):
        """Messages heard in that time."""
        before = len(self.heard)
        for k in range(round(seconds / STEP)):
            if every is not None and k % 4 == 0:
                every()
            self.now += STEP
            frames = self.emulator.step(self.now, self.waiting)
            self.waiting = b""
            for frame in frames:
                self.heard += [(self.now, message) for message in self.mav.parse_buffer(frame) or []]
        return [message for _, message in self.heard[before:]]

    def only(self, name, seconds=0.05):
        (message,) = [m for m in self.run(seconds) if m.get_type() == name]
        return message


class TestStreams:
    @BOTH
    def test_come_at_the_asked_rates(self, firmware):
        bench = Companion(firmware)
        for number in (32, 31, 26):
            bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 5000)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 132, 20000)
        bench.run(0.5)
        counted = Counter(m.get_type() for m in bench.run(2.0))
        for name in ("LOCAL_POSITION_NED", "ATTITUDE_QUATERNION", "SCALED_IMU"):
            assert counted[name] == pytest.approx(400, abs=2)
        assert counted["DISTANCE_SENSOR"] == pytest.approx(100, abs=2)
        assert counted["HEARTBEAT"] == 2

    @pytest.mark.parametrize("asked, given", [(400.0, 333.3), (300.0, 333.3), (150.0, 166.7), (50.0, 50.0)])
    def test_ardupilot_takes_whole_milliseconds_and_no_fewer_than_three(self, asked, given):
        bench = Companion()
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 31, 1e6 / asked)
        bench.run(0.1)
        heard = [m for m in bench.run(2.0) if m.get_type() == "ATTITUDE_QUATERNION"]
        assert len(heard) / 2.0 == pytest.approx(given, rel=0.02)

    def test_an_interval_may_be_denied(self):
        bench = Companion(denied=[27])
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 27, 5000)
        assert bench.only("COMMAND_ACK").result == dialect.MAV_RESULT_DENIED
        assert not [m for m in bench.run(0.5) if m.get_type() == "RAW_IMU"]

    def test_ardupilot_has_no_highres_imu_and_names_the_number_as_the_real_one_does(self):
        bench = Companion(ARDUPILOT)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 105, 5000)
        heard = bench.run(0.2)
        assert [m.result for m in heard if m.get_type() == "COMMAND_ACK"] == [dialect.MAV_RESULT_DENIED]
        assert [m.text for m in heard if m.get_type() == "STATUSTEXT"] == ["No ap_message for mavlink id (105)"]

    @pytest.mark.parametrize("firmware, beats, result", [(PX4, 3, 4), (ARDUPILOT, 13, 0)])
    def test_px4_beats_once_a_second_whatever_it_is_asked_for(self, firmware, beats, result):
        bench = Companion(firmware)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, dialect.MAVLINK_MSG_ID_HEARTBEAT, 250_000)
        heard = bench.run(3.0)
        assert [m.result for m in heard if m.get_type() == "COMMAND_ACK"] == [result]
        assert sum(m.get_type() == "HEARTBEAT" for m in heard) == pytest.approx(beats, abs=1)

    @BOTH
    def test_state_is_told_in_ned_and_frd(self, firmware):
        bench = Companion(firmware, height=1.0)
        bench.pilot.world.push((0.0, 2.0, 0.0))  # to the north, in our y
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 32, 5000)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 31, 5000)
        heard = bench.run(0.06)
        velocity = next(m for m in heard if m.get_type() == "LOCAL_POSITION_NED")
        assert velocity.vx == pytest.approx(2.0, abs=0.05)
        assert abs(velocity.vy) < 0.05
        attitude = next(m for m in heard if m.get_type() == "ATTITUDE_QUATERNION")
        yaw = math.atan2(
            2 * (attitude.q1 * attitude.q4 + attitude.q2 * attitude.q3), 1 - 2 * (attitude.q3**2 + attitude.q4**2)
        )
        assert yaw == pytest.approx(math.pi / 2, abs=0.02)  # our x is east

    def test_specific_force_at_rest_points_up_against_frd(self):
        for firmware, number, name, expected in (
            (ARDUPILOT, 27, "RAW_IMU", pytest.approx(-1000, abs=2)),  # milli-g
            (PX4, 105, "HIGHRES_IMU", pytest.approx(-9.81, abs=0.02)),
        ):
            bench = Companion(firmware)
            bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 5000)
            assert next(m for m in bench.run(0.1) if m.get_type() == name).zacc == expected

    def test_streams_wait_for_room_on_the_line(self):
        bench = Companion()
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 32, 2500)
        bench.run(0.1)
        sent = sum(len(f) for _ in range(400) for f in bench.emulator.step(bench.pilot.now + STEP, room=0))
        assert 0 < sent < 45 * 200  # one frame at a time instead of 400

    def test_rotor_speeds_are_those_of_the_motors(self):
        bench = Companion(ARDUPILOT, height=1.0)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 11030, 20000)
        heard = [m for m in bench.run(0.5) if m.get_type() == "ESC_TELEMETRY_1_TO_4"]
        np.testing.assert_allclose(np.array(heard[-1].rpm) * math.pi / 30, VEHICLE.hover_speed, rtol=0.03)

    def test_esc_status_is_framed_like_any_message(self):
        data = EscStatus(7, np.array([1.0, 2.0, 3.0, 4.0]), 16.0).pack(dialect.MAVLink(None, 1, 1))
        assert data[1] == 57 and len(data) == 69
        assert int.from_bytes(data[7:10], "little") == 291
        assert dialect.x25crc(data[1:-2] + b"\x0a").crc == int.from_bytes(data[-2:], "little")
        assert struct.unpack_from("<Q4i", data, 10) == (7, 1, 2, 3, 4)


class TestTime:
    def test_round_trip_of_timesync_is_that_of_arducopter(self):
        bench, trips = Companion(), []
        powered = bench.now - bench.pilot.uptime
        for k in range(200):
            sent = bench.now + 0.0137 * k
            bench.emulator.step(sent, dialect.MAVLink_timesync_message(0, k + 1).pack(bench.mav))
            for now in sent + np.arange(1e-4, 0.01, 1e-4):
                frames = bench.emulator.step(now)
                replies = [m for f in frames for m in bench.mav.parse_buffer(f) if m.get_type() == "TIMESYNC" and m.tc1]
                trips += [(now - sent, m.ts1 - k, m.tc1 * 1e-9 + powered - sent) for m in replies]
        taken, echoed, clock = np.array(trips).T
        np.testing.assert_array_equal(echoed, 1)
        assert np.median(taken) == pytest.approx(0.0058, abs=2e-4)
        assert len(trips) == 200 and max(taken) < 0.0068
        np.testing.assert_allclose(clock, 0.0029, atol=6e-4)  # read half-way, by a crystal that is nearly right

    def test_px4_asks_for_our_time_too(self):
        asked = [m for m in Companion(PX4).run(1.0) if m.get_type() == "TIMESYNC"]
        assert len(asked) == pytest.approx(10, abs=1)
        assert all(m.tc1 == 0 for m in asked)

    @BOTH
    def test_clock_and_sequence_begin_anew_after_a_reboot(self, firmware):
        bench = Companion(firmware)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 32, 5000)
        before = [m for m in bench.run(2.0) if m.get_type() == "LOCAL_POSITION_NED"][-1]
        bench.pilot.reboot()
        after = bench.run(4.0)
        assert "LOCAL_POSITION_NED" not in [m.get_type() for m in after]  # nobody asked the new boot
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 32, 5000)
        again = next(m for m in bench.run(0.1) if m.get_type() == "LOCAL_POSITION_NED")
        assert again.time_boot_ms < before.time_boot_ms
        assert after[0].get_seq() == 0


class TestParameters:
    def test_integers_lie_bit_by_bit_in_px4_and_as_numbers_in_ardupilot(self):
        bench = Companion(PX4)
        bench.say(dialect.MAVLink_param_request_read_message(1, 1, b"COM_RC_IN_MODE", -1))
        bench.emulator.set_parameter("COM_RC_IN_MODE", 4)
        value = bench.only("PARAM_VALUE")
        assert struct.unpack("<i", struct.pack("<f", value.param_value)) == (4,)
        bench = Companion(ARDUPILOT)
        bench.say(dialect.MAVLink_param_request_read_message(1, 1, b"GUID_OPTIONS", -1))
        assert bench.only("PARAM_VALUE").param_value == 9.0

    def test_hover_throttle_is_told_nearly(self):
        bench = Companion()
        bench.say(dialect.MAVLink_param_request_read_message(1, 1, b"MOT_THST_HOVER", -1))
        assert bench.only("PARAM_VALUE").param_value == pytest.approx(bench.pilot.hover_throttle, rel=0.03)

    def test_setting_one_acts(self):
        bench = Companion()
        bench.say(dialect.MAVLink_param_set_message(1, 1, b"GUID_OPTIONS", 0.0, 6))
        assert bench.only("PARAM_VALUE").param_value == 0.0
        assert bench.pilot.settings.thrust_is_climb_rate

    def test_an_unknown_one_is_not_answered(self):
        bench = Companion()
        bench.say(dialect.MAVLink_param_request_read_message(1, 1, b"NO_SUCH", -1))
        assert "PARAM_VALUE" not in [m.get_type() for m in bench.run(0.1)]


class TestSetpoints:
    @pytest.mark.parametrize(
        "reason, changes",
        [
            ("throttle ignored", {"mask": 0b01000111}),
            ("quaternion", {"q": [1.0006, 0.0, 0.0, 0.0]}),  # 1.2e-3 off in the squared norm
            ("not finite", {"q": [math.nan, 0.0, 0.0, 0.0]}),
            ("neither attitude nor rates", {"mask": 0b10000111}),
        ],
    )
    def test_ardupilot_drops_without_a_word(self, reason, changes):
        bench = Companion(height=1.0)
        bench.pilot.switch(Mode.COMPANION, "pilot")
        bench.run(0.02)
        bench.target(0.5, **changes)
        said = [m.get_type() for m in bench.run(0.02)]
        assert bench.emulator.dropped == {reason: 1}
        assert bench.emulator.taken == 0
        assert "STATUSTEXT" not in said and "COMMAND_ACK" not in said

    def test_outside_of_guided_they_count_for_px4_only(self):
        for firmware, taken in ((ARDUPILOT, 0), (PX4, 25)):
            bench = Companion(firmware, height=1.0)
            bench.run(0.26, every=lambda b=bench: b.target(0.4))
            assert bench.emulator.taken == pytest.approx(taken, abs=1)

    def test_attitude_arrives_in_our_frames(self):
        bench = Companion(height=2.0)
        bench.pilot.switch(Mode.COMPANION, "pilot")
        half = math.sqrt(0.5)  # heading east
        tilt = math.cos(0.1), 0.0, math.sin(-0.1), 0.0  # nose down by 0.2 rad, FRD
        q = [
            half * tilt[0] - half * tilt[3],
            half * tilt[1] - half * tilt[2],
            half * tilt[2] + half * tilt[1],
            half * tilt[3] + half * tilt[0],
        ]
        fraction = VEHICLE.weight / bench.pilot.thrust_of(1.0)
        bench.run(1.0, every=lambda: bench.target(fraction, q))
        assert bench.pilot.world.state.velocity[0] > 0.7  # nose down means forward, and forward is our x
        assert abs(bench.pilot.world.state.velocity[1]) < 0.1

    def test_setpoints_for_another_system_are_not_ours(self):
        bench = Companion(height=1.0)
        bench.pilot.switch(Mode.COMPANION, "pilot")
        bench.say(dialect.MAVLink_set_attitude_target_message(0, 9, 1, 7, HOLD_LEVEL, 0, 0, 0, 0.5))
        bench.run(0.02)
        assert bench.emulator.taken == 0


class TestCommands:
    @BOTH
    def test_arming_is_acknowledged_at_once_and_told_by_the_next_heartbeat(self, firmware):
        bench = Companion(firmware)
        bench.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)
        assert bench.only("COMMAND_ACK").result == dialect.MAV_RESULT_ACCEPTED
        told = [m for m in bench.run(1.1) if m.get_type() == "HEARTBEAT"]
        assert told[0].base_mode & dialect.MAV_MODE_FLAG_SAFETY_ARMED

    @BOTH
    def test_disarming_in_the_air_is_refused_with_a_word(self, firmware):
        bench = Companion(firmware, height=1.0)
        bench.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 0)
        heard = bench.run(0.05)
        assert next(m for m in heard if m.get_type() == "COMMAND_ACK").result == firmware.refused
        assert "Not landed" in [m.text for m in heard if m.get_type() == "STATUSTEXT"][-1]
        assert bench.pilot.armed

    def test_px4_wants_setpoints_before_offboard(self):
        bench = Companion(PX4, height=1.0)
        bench.command(dialect.MAV_CMD_DO_SET_MODE, 1, 6)
        assert bench.only("COMMAND_ACK").result == dialect.MAV_RESULT_TEMPORARILY_REJECTED
        bench.run(1.2, every=lambda: bench.target(0.4))
        bench.command(dialect.MAV_CMD_DO_SET_MODE, 1, 6)
        assert bench.only("COMMAND_ACK").result == dialect.MAV_RESULT_ACCEPTED
        assert bench.pilot.mode is Mode.COMPANION

    @pytest.mark.parametrize("name, mode", [("px4", 6 << 16), ("ardupilot", 4)])
    def test_heartbeat_carries_the_number_of_the_mode(self, name, mode):
        bench = Companion(FIRMWARES[name], height=1.0)
        bench.pilot.settings.stream_before_switch = 0.0
        bench.pilot.switch(Mode.COMPANION, "pilot")
        told = [m for m in bench.run(1.1) if m.get_type() == "HEARTBEAT"][-1]
        assert told.custom_mode == mode

    def test_arducopters_radio_arms_in_guided_only_where_an_option_says_so(self):
        bench = Companion()
        bench.pilot.switch(Mode.COMPANION, "companion")
        bench.emulator.set_parameter("GUID_OPTIONS", 8)
        assert bench.pilot.arm("pilot") == "Mode not armable"
        bench.emulator.set_parameter("GUID_OPTIONS", 9)
        assert bench.pilot.arm("pilot") is None

    def test_an_unknown_command_is_unsupported(self):
        bench = Companion()
        bench.command(dialect.MAV_CMD_DO_PARACHUTE, 1)
        assert bench.only("COMMAND_ACK").result == dialect.MAV_RESULT_UNSUPPORTED


class TestOthers:
    def test_foreign_heartbeats_contradict_ours(self):
        bench = Companion()
        bench.emulator.foreign = True
        heard = [m for m in bench.run(1.0) if m.get_type() == "HEARTBEAT"]
        sources = {(m.get_srcSystem(), m.get_srcComponent()) for m in heard}
        assert sources == {(1, 1), (1, 154), (255, 190), (2, 1)}
        own = [m.base_mode for m in heard if (m.get_srcSystem(), m.get_srcComponent()) == (1, 1)]
        others = [m.base_mode for m in heard if (m.get_srcSystem(), m.get_srcComponent()) != (1, 1)]
        assert not any(b & 128 for b in own) and all(b & 128 for b in others)

    def test_frozen_state_keeps_its_time_stamp_while_the_rest_goes_on(self):
        bench = Companion(height=1.0)
        for number in (32, 2):
            bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 10000)
        bench.run(0.1)
        bench.emulator.frozen = True
        bench.run(0.05)
        heard = bench.run(0.5)
        assert len({m.time_boot_ms for m in heard if m.get_type() == "LOCAL_POSITION_NED"}) == 1
        assert len({m.time_boot_ms for m in heard if m.get_type() == "SYSTEM_TIME"}) > 40

    def test_halted_values_keep_still_while_their_stamps_run_on(self):
        bench = Companion(height=1.0, noise=EstimatorNoise())
        for number in (32, 31, 27):
            bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 10000)
        bench.run(0.1)
        bench.emulator.halted = True
        bench.run(0.05)
        heard = bench.run(0.5)
        positions = [m for m in heard if m.get_type() == "LOCAL_POSITION_NED"]
        assert len({m.time_boot_ms for m in positions}) > 40
        assert len({(m.x, m.y, m.z, m.vx, m.vy, m.vz) for m in positions}) == 1
        assert len({(m.q1, m.rollspeed) for m in heard if m.get_type() == "ATTITUDE_QUATERNION"}) == 1
        assert len({(m.xacc, m.zacc) for m in heard if m.get_type() == "RAW_IMU"}) > 40
        bench.emulator.halted = False
        assert len({m.x for m in bench.run(0.1) if m.get_type() == "LOCAL_POSITION_NED"}) > 5

    def test_poisoned_state_is_not_a_number(self):
        bench = Companion(height=1.0)
        bench.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, 32, 10000)
        bench.emulator.poisoned = True
        heard = [m for m in bench.run(0.2) if m.get_type() == "LOCAL_POSITION_NED"]
        assert heard and all(math.isnan(m.x) for m in heard)
