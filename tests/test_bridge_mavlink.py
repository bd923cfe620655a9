"""The MAVLink link against a scripted autopilot: what it believes, asks for, refuses and sends."""

import gc
import math
import random
import tracemalloc

import numpy as np
import pytest
from mavlink_script import COPTER_PARAMETERS, GUIDED, LAND, OFFBOARD, POSCTL, PX4_PARAMETERS, VEHICLE, copter, px4
from pymavlink.dialects.v20 import ardupilotmega as dialect
from scipy.spatial.transform import Rotation

from firmware_bridge.link import (
    AttitudeSetpoint,
    Link,
    PositionReport,
    RatesSetpoint,
    RestartReport,
    StatusReport,
    TextReport,
)
from firmware_bridge.mavlink.control import STREAM_MARGIN, Control
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.mavlink.px4 import PX4
from firmware_bridge.mavlink.requests import PARAMETER_TRIES, Commands
from firmware_bridge.mavlink.status import FAILSAFE_TEXT_LIFE
from neural_lander.errors import UserError
from neural_lander.frames import FRD_FROM_FLU, NED_FROM_ENU

BOTH = pytest.mark.parametrize("script", [px4, copter])
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
HOVER = AttitudeSetpoint(UPRIGHT, VEHICLE.weight)
SET_MODE, ARM = dialect.MAV_CMD_DO_SET_MODE, dialect.MAV_CMD_COMPONENT_ARM_DISARM
INTERVAL = dialect.MAV_CMD_SET_MESSAGE_INTERVAL
REQUEST = dialect.MAV_CMD_REQUEST_MESSAGE


def only(reports, kind):
    return [report for report in reports if isinstance(report, kind)]


def flown(script):
    """Commands that ask for more than a message."""
    return [m for m in script.heard("COMMAND_LONG") if m.command != REQUEST]


def verdict(script, name):
    (check,) = [check for check in script.link.preflight() if check.name == name]
    return check


def target(script, setpoint):
    script.heard()
    script.link.send(setpoint, script.now)
    (message,) = script.heard("SET_ATTITUDE_TARGET")
    return message


def test_it_is_a_link() -> None:
    link: Link = px4().link
    assert isinstance(link, MavlinkLink)


class TestWhoIsWho:
    @BOTH
    def test_says_every_second_that_an_onboard_controller_is_alive_before_it_hears_anybody(self, script) -> None:
        script = script()
        script.wait(5.01)
        beats = script.heard("HEARTBEAT")
        assert len(beats) in (5, 6) and {m.type for m in beats} == {dialect.MAV_TYPE_ONBOARD_CONTROLLER}
        assert {m.get_srcComponent() for m in beats} == {dialect.MAV_COMP_ID_ONBOARD_COMPUTER}
        assert script.port.written and {m.get_type() for m in script.port.written} == {"HEARTBEAT"}

    @BOTH
    def test_takes_the_vehicles_system_id_for_its_own(self, script) -> None:
        script = script(speaks_as=42).connect()
        script.wait(2.0)
        assert {m.get_srcSystem() for m in script.heard("HEARTBEAT")} == {42}

    @BOTH
    @pytest.mark.parametrize("state", dialect.enums["MAV_STATE"])
    def test_failsafe_emergency_and_termination_are_faults(self, script, state) -> None:
        script = script().connect()
        told_for_less = state == dialect.MAV_STATE_CRITICAL and "ArduPilot" in script.link.capabilities.name
        faulty = dialect.MAV_STATE_CRITICAL <= state <= dialect.MAV_STATE_FLIGHT_TERMINATION and not told_for_less
        (status,) = script.say(script.heartbeat(armed=True, state=state))
        assert (dialect.enums["MAV_STATE"][state].name in status.fault) is faulty
        assert bool(status.fault) is faulty

    @pytest.mark.parametrize("system, component, pilot", [(1, 154, 3), (255, 190, 8), (2, 1, 12), (1, 191, 3)])
    def test_a_foreign_heartbeat_changes_nothing(self, system, component, pilot) -> None:
        """A gimbal, a ground station, another vehicle, another companion."""
        script = copter().connect(mode=GUIDED, armed=True)
        foreign = dialect.MAVLink(None, srcSystem=system, srcComponent=component)
        reports = script.say(
            script.heartbeat(mode=LAND, armed=False, kind=pilot),
            dialect.MAVLink_local_position_ned_message(script.ms, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0),
            dialect.MAVLink_command_ack_message(ARM, 4),
            mav=foreign,
        )
        assert reports == [] and script.link.capabilities.name == "mavlink (ArduPilot)"
        script.link.send(HOVER, script.now)

    def test_a_system_that_is_named_is_waited_for(self) -> None:
        script = copter(speaks_as=7, system=1)
        assert script.say(script.heartbeat()) == []
        script.mav.srcSystem = 1
        assert len(script.say(script.heartbeat())) == 1

    def test_a_second_autopilot_fails_the_check_unless_ours_is_named(self) -> None:
        for named, passed in ((None, False), (1, True)):
            script = px4(system=named).connect()
            script.say(script.heartbeat(), mav=dialect.MAVLink(None, srcSystem=2, srcComponent=1))
            assert verdict(script, "autopilot").passed is passed

    def test_an_autopilot_that_is_no_quadrotor_fails_the_check(self) -> None:
        script = copter().connect(vehicle=dialect.MAV_TYPE_FIXED_WING)
        assert not verdict(script, "airframe").passed
        assert "FIXED_WING" in verdict(script, "airframe").finding

    def test_version_1_is_named_with_its_remedy(self) -> None:
        script = px4().connect()
        script.port.coming += script.frame(script.heartbeat(), force_mavlink1=True)
        script.link.poll(script.now)
        assert "MAV_PROTO_VER" in verdict(script, "protocol").finding and not verdict(script, "protocol").passed


class TestStatus:
    @pytest.mark.parametrize(
        "script, custom, name, follows",
        [
            (copter, GUIDED, "GUIDED", True),
            (copter, 20, "GUIDED_NOGPS", True),
            (copter, LAND, "LAND", False),
            (copter, 99, "mode 99", False),
            (px4, OFFBOARD, "OFFBOARD", True),
            (px4, POSCTL, "POSCTL", False),
            (px4, 4 << 16 | 6 << 24, "AUTO.LAND", False),
        ],
    )
    def test_mode_and_arming_come_from_the_heartbeat(self, script, custom, name, follows) -> None:
        script = script()
        for armed in (False, True):
            (status,) = only(script.say(script.heartbeat(armed=armed, mode=custom)), StatusReport)
            assert (status.mode, status.armed, status.accepts_setpoints) == (name, armed, follows)

    @pytest.mark.parametrize(
        "state, armed, failsafe",
        [
            ("CRITICAL", True, True),
            ("ACTIVE", True, False),
            ("STANDBY", False, None),
            ("FLIGHT_TERMINATION", True, None),
        ],
    )
    def test_px4_tells_by_its_state_whether_a_failsafe_left_our_mode(self, state, armed, failsafe) -> None:
        script = px4().connect(mode=OFFBOARD, armed=armed)
        state = getattr(dialect, f"MAV_STATE_{state}")
        (status,) = only(script.say(script.heartbeat(armed=armed, mode=POSCTL, state=state)), StatusReport)
        assert status.failsafe is failsafe

    @pytest.mark.parametrize(
        "before, after, text, failsafe",
        [
            ("ACTIVE", "CRITICAL", "", True),
            ("CRITICAL", "CRITICAL", "", None),  # an internal error, or a failsafe that changes no mode
            ("ACTIVE", "ACTIVE", "", False),
            ("ACTIVE", "ACTIVE", "Alt fence breached", True),
            ("ACTIVE", "ACTIVE", "Radio Failsafe Cleared", False),
            ("ACTIVE", "ACTIVE", "PreArm: Radio failsafe on", False),
            ("CRITICAL", "CRITICAL", "EKF Failsafe: changed to LAND Mode", True),
            ("CRITICAL", "CRITICAL", "Radio Failsafe - Continuing Guided Mode", None),
            ("ACTIVE", "EMERGENCY", "", None),
        ],
    )
    def test_arducopter_tells_a_failsafe_by_its_state_or_a_text(self, before, after, text, failsafe) -> None:
        before, after = (getattr(dialect, f"MAV_STATE_{state}") for state in (before, after))
        script = copter().connect(mode=GUIDED, armed=True, state=before)
        script.say(*([dialect.MAVLink_statustext_message(4, text.encode())] if text else []))
        for _ in range(3):
            script.now += 0.2
            (status,) = only(script.say(script.heartbeat(armed=True, mode=LAND, state=after)), StatusReport)
            assert status.failsafe is failsafe

    def test_a_failsafe_of_long_ago_is_not_what_left_our_mode(self) -> None:
        script = copter().connect(mode=GUIDED, armed=True)
        script.say(dialect.MAVLink_statustext_message(4, b"Radio Failsafe"))
        script.now += FAILSAFE_TEXT_LIFE + 0.1
        (status,) = only(script.say(script.heartbeat(armed=True, mode=LAND)), StatusReport)
        assert status.failsafe is False

    def test_an_accepted_command_is_no_changed_mode(self) -> None:
        script = copter().connect()
        script.link.take_control(script.now)
        script.link.arm(script.now)
        script.wait(0.1)
        assert only(script.say(script.ack(SET_MODE), script.ack(ARM)), StatusReport) == []
        (status,) = only(script.say(script.heartbeat()), StatusReport)
        assert not status.armed and not status.accepts_setpoints

    def test_landed_is_told_when_it_changes_and_keeps_the_heartbeats_age(self) -> None:
        script = px4().connect()
        heard = script.now
        script.say(script.heartbeat())
        script.now += 0.5
        for state, landed in ((1, True), (1, None), (2, False), (0, None)):
            found = only(script.say(dialect.MAVLink_extended_sys_state_message(0, state)), StatusReport)
            if state == 1 and landed is None:
                assert found == []
            else:
                assert found[0].landed is landed and found[0].received == heard

    def test_reasons_not_to_arm_are_kept_until_it_is_armed_or_well(self) -> None:
        script = copter().connect()
        text = dialect.MAVLink_statustext_message(2, b"PreArm: Compass not healthy")
        (said,) = only(script.say(text), TextReport)
        assert (said.text, said.severity) == ("PreArm: Compass not healthy", 2)
        (status,) = only(script.say(script.heartbeat()), StatusReport)
        assert status.arming_refusals == ("PreArm: Compass not healthy",)
        well = dialect.MAV_SYS_STATUS_PREARM_CHECK
        script.say(dialect.MAVLink_sys_status_message(0, 0, well, 0, 15000, -1, 50, 0, 0, 0, 0, 0, 0))
        (status,) = only(script.say(script.heartbeat()), StatusReport)
        assert status.arming_refusals == ()


class TestRequests:
    def test_a_heartbeat_is_asked_for_ten_times_a_second_where_none_comes(self) -> None:
        script = px4().connect()
        script.heard()
        for _ in range(20):  # an autopilot that answers; its own beat comes once a second
            script.wait(0.05)
            if script.commands(REQUEST):
                script.say(script.ack(REQUEST), script.heartbeat())
        script.wait(0.05)
        check = verdict(script, "mode and arming")
        assert check.passed and "every 0.20 s" in check.finding

    def test_a_heartbeat_that_comes_often_is_not_asked_for(self) -> None:
        script = copter().connect()
        script.say(script.heartbeat())
        script.heard()
        script.wait(2.0, each=lambda: script.say(script.heartbeat()))
        assert script.commands(REQUEST) == []

    def test_an_autopilot_that_knows_no_such_request_is_not_asked_again(self) -> None:
        script = px4().connect()
        script.say(script.heartbeat())
        script.wait(0.2)
        script.heard()
        reports = script.say(script.ack(REQUEST, dialect.MAV_RESULT_UNSUPPORTED))
        script.wait(3.0)
        assert script.commands(REQUEST) == [] and only(reports, TextReport) == []

    @pytest.mark.parametrize("result", [dialect.MAV_RESULT_DENIED, dialect.MAV_RESULT_FAILED])
    def test_one_whose_line_has_no_room_for_it_is_asked_again_a_second_later_for_a_while(self, result) -> None:
        script = px4().connect()
        script.say(script.heartbeat())
        script.heard()
        asked = []
        for _ in range(300):
            script.wait(0.05)
            if script.commands(REQUEST):
                asked.append(script.now)
                assert only(script.say(script.ack(REQUEST, result)), TextReport) == []
        assert len(asked) == 10 and np.diff(asked) == pytest.approx(1.0, abs=0.06)

    def test_a_heartbeat_is_asked_for_one_at_a_time(self) -> None:
        """A line that is dead for ten minutes must not be flooded when it is back."""
        script = px4().connect()
        script.say(script.heartbeat())
        script.heard()
        script.wait(600.0)
        assert len(script.commands(REQUEST)) <= 600 / 0.15
        script.say(script.ack(REQUEST), script.heartbeat())
        script.wait(1.0, each=lambda: script.say(script.ack(REQUEST), script.heartbeat()))
        assert script.commands(REQUEST) == []

    @BOTH
    def test_intervals_are_asked_for_one_at_a_time_and_again_without_an_answer(self, script) -> None:
        script = script(rate=100.0)
        script.say(script.heartbeat())
        (first,) = script.commands(INTERVAL)
        assert (first.param1, first.param2) == (dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED, 10_000)
        script.wait(0.6)
        (again,) = script.commands(INTERVAL)
        assert again.param1 == first.param1 and again.confirmation == 1
        script.say(script.ack(INTERVAL))
        script.wait(0.1)
        (second,) = script.commands(INTERVAL)
        assert second.param1 == dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION

    def test_what_is_denied_is_replaced_where_it_can_be_and_named(self) -> None:
        script = copter()
        script.say(script.heartbeat())
        denied = {dialect.MAVLINK_MSG_ID_HIGHRES_IMU, dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR}
        asked = []
        for _ in range(30):
            script.now += 0.05
            script.say()
            for message in script.commands(INTERVAL):
                asked.append(int(message.param1))
                script.say(script.ack(INTERVAL, 2 if message.param1 in denied else 0))
        assert dialect.MAVLINK_MSG_ID_RAW_IMU in asked
        check = verdict(script, "message intervals")
        assert check.passed and check.finding.endswith("HIGHRES_IMU, DISTANCE_SENSOR")
        assert [c.name for c in script.link.preflight() if c.name.endswith("IMU")] == ["RAW_IMU"]

    def test_a_stream_that_does_not_come_fails_the_check(self) -> None:
        script = px4(rate=50.0).connect()
        position = dialect.MAVLink_local_position_ned_message
        script.wait(3.0, 0.02, lambda: script.say(position(script.ms, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)))
        assert verdict(script, "LOCAL_POSITION_NED").passed
        assert not verdict(script, "ATTITUDE_QUATERNION").passed
        assert script.link.streams.rates["LOCAL_POSITION_NED"] == pytest.approx(50, abs=2)

    def test_a_rejected_command_is_told_to_the_user(self) -> None:
        script = copter().connect()
        script.link.arm(script.now)
        script.wait(0.1)
        (text,) = only(script.say(script.ack(ARM, dialect.MAV_RESULT_FAILED)), TextReport)
        assert text.text == "arming: failed"

    def test_an_answer_to_another_companion_is_not_ours(self) -> None:
        script = copter().connect()
        script.link.arm(script.now)
        script.wait(0.1)
        assert only(script.say(script.ack(ARM, 4, (1, 190))), TextReport) == []
        assert len(only(script.say(script.ack(ARM, 4, (1, 191))), TextReport)) == 1

    @pytest.mark.parametrize("ask", ["arm", "disarm", "hand_back", "take_control"])
    def test_what_flies_is_asked_for_once_and_silence_is_told(self, ask) -> None:
        """A repetition after a lost answer could undo what the pilot has done in between."""
        script = copter().connect()
        script.heard()
        getattr(script.link, ask)(script.now)
        (text,) = only(script.wait(3.0), TextReport)
        assert len(flown(script)) == 1 and text.text.endswith("did not answer")
        getattr(script.link, ask)(script.now)
        script.wait(0.1)
        assert len(flown(script)) == 1, "asked anew, it is sent anew"

    def test_disarming_replaces_arming(self) -> None:
        script = copter().connect()
        script.link.arm(script.now)
        script.link.disarm(script.now)
        script.heard()
        script.wait(1.2)
        assert [m.param1 for m in script.commands(ARM)] == [0.0]

    @pytest.mark.parametrize("script, mode, sub", [(copter, LAND, 0), (px4, 4, 6)])
    def test_handing_back_asks_for_the_landing_mode_and_ends_the_wish_for_control(self, script, mode, sub) -> None:
        script = script().connect()
        script.heard()
        script.link.take_control(script.now)
        script.link.hand_back(script.now)
        for _ in range(5):  # asked every tick, it is sent no faster
            script.link.hand_back(script.now)
            script.wait(0.02, 0.02)
        (message,) = script.commands(SET_MODE)
        assert (message.param1, message.param2, message.param3) == (1, mode, sub)

    def test_guided_is_asked_for_at_once(self) -> None:
        script = copter().connect()
        script.heard()
        script.link.take_control(script.now)
        script.wait(0.05)
        (message,) = script.commands(SET_MODE)
        assert (message.param1, message.param2) == (1, GUIDED)

    def test_offboard_is_asked_for_only_after_a_second_of_setpoints(self) -> None:
        script = px4().connect()
        script.heard()
        start = script.now
        script.link.take_control(start)
        while not script.commands(SET_MODE):
            script.link.send(HOVER, script.now)
            script.wait(0.05)
            script.link.take_control(script.now)
            assert script.now - start < 2.0
        assert script.now - start > 1.0

    def test_a_hole_in_the_setpoints_begins_the_second_anew(self) -> None:
        script = px4().connect()
        script.link.send(HOVER, script.now)
        script.wait(0.9)
        script.link.take_control(script.now)
        script.heard()
        script.wait(0.9, each=lambda: script.link.send(HOVER, script.now))
        assert script.commands(SET_MODE) == []

    def test_offboard_without_setpoints_is_given_up_with_a_word(self) -> None:
        script = px4().connect()
        script.heard()
        script.link.take_control(script.now)
        (text,) = only(script.wait(5.0), TextReport)
        assert "no setpoints were streamed" in text.text and script.commands(SET_MODE) == []

    def test_nothing_is_asked_of_nobody(self) -> None:
        script = px4()
        for ask in (script.link.arm, script.link.disarm, script.link.hand_back, script.link.take_control):
            ask(script.now)
        script.wait(3.0)
        assert {m.get_type() for m in script.heard()} == {"HEARTBEAT"}


class TestParameters:
    @BOTH
    def test_are_asked_for_by_name_and_given_up_in_the_end(self, script) -> None:
        script = script()
        script.say(script.heartbeat())
        script.wait(10.0)
        asked = [m.param_id for m in script.heard("PARAM_REQUEST_READ")]
        names = set(script.link.parameters.values)
        assert set(asked) == names
        assert all(asked.count(name) == PARAMETER_TRIES for name in names)

    def test_px4s_integers_lie_bit_by_bit_and_negative_ones_too(self) -> None:
        for value in (4, -1, 0, 7):
            script = px4()
            script.say(script.heartbeat(), script.parameter("COM_OBL_RC_ACT", value))
            assert script.link.parameters.values["COM_OBL_RC_ACT"] == value

    @pytest.mark.parametrize(
        "script, name, good, bad, remedy",
        [
            (copter, "GUID_OPTIONS", 8.0, 1.0, "set it to 9"),
            (copter, "GUID_TIMEOUT", 0.5, 1.0, "set it to 0.5 s or less"),
            (copter, "MOT_THST_HOVER", 0.4, 0.08, "profile"),
            (copter, "PILOT_THR_FILT", 0.0, 2.0, "set it to 0"),
            (px4, "COM_OF_LOSS_T", 0.5, 1.0, "set it to 0.5 s or less"),
            (px4, "COM_OBL_RC_ACT", 4, 7, "set 4 (Land)"),
            (px4, "MPC_THR_HOVER", 0.5, 0.95, "profile"),
        ],
    )
    def test_are_judged_with_a_remedy(self, script, name, good, bad, remedy) -> None:
        script = script().connect()
        script.say(script.parameter(name, good))
        assert all(check.passed for check in script.link.preflight() if check.name == name)
        script.say(script.parameter(name, bad))
        check = verdict(script, name)
        assert not check.passed and remedy in check.finding and f"{bad:g}" in check.finding

    def test_a_calibration_made_with_another_curve_fails(self) -> None:
        calibrated = copter().connect().link.thrust_map
        for curve, passed in ((0.65, True), (0.5, False)):
            script = copter(thrust_map=calibrated).connect(parameters={**COPTER_PARAMETERS, "MOT_THST_EXPO": curve})
            check = verdict(script, "thrust")
            assert check.passed is passed and ("calibrate anew" in check.finding) is not passed

    def test_what_was_not_read_fails(self) -> None:
        script = copter().connect(parameters={"GUID_OPTIONS": 8.0})
        assert not verdict(script, "GUID_TIMEOUT").passed
        assert not verdict(script, "thrust").passed and "MOT_THST_EXPO" in verdict(script, "thrust").finding

    @BOTH
    def test_a_declared_floor_needs_the_height_of_motion_capture(self, script) -> None:
        for value, good, word in ((1, False, "set "), (3, None, ""), (6, None, ""), (77, False, "unknown sensor")):
            connected = script(declared_floor=True).connect()
            name = connected.link.identity.autopilot.height.parameter
            connected.say(connected.parameter(name, value if "EKF2" in name else float(value)))
            check = verdict(connected, "declared floor")
            assert check.passed is (value == (3 if "EKF2" in name else 6) if good is None else good), check
            assert f"{name} = {value}" in check.finding and word in check.finding

    def test_a_height_of_motion_capture_that_is_not_taken_in_holds_no_floor(self) -> None:
        connected = px4(declared_floor=True).connect()
        connected.say(connected.parameter("EKF2_HGT_REF", 3), connected.parameter("EKF2_EV_CTRL", 9))
        check = verdict(connected, "declared floor")
        assert not check.passed and "EKF2_EV_CTRL = 9" in check.finding and "add 2" in check.finding

    @BOTH
    def test_without_a_declared_floor_nobody_asks_what_the_height_is_of(self, script) -> None:
        assert "declared floor" not in [check.name for check in script().connect().link.preflight()]

    @BOTH
    def test_a_declared_floor_is_not_believed_unread(self, script) -> None:
        check = verdict(script(declared_floor=True).connect(parameters={}), "declared floor")
        assert not check.passed and "could not be read" in check.finding


class TestSetpoints:
    @BOTH
    def test_attitude_and_thrust_in_the_autopilots_frames(self, script) -> None:
        script = script().connect()
        ours = Rotation.from_euler("ZYX", [0.7, -0.2, 0.1])
        message = target(script, AttitudeSetpoint(ours.as_quat(scalar_first=True), VEHICLE.weight))
        assert message.type_mask == 0b00000111 and (message.target_system, message.target_component) == (1, 1)
        theirs = Rotation.from_quat(message.q, scalar_first=True).as_matrix()
        np.testing.assert_allclose(theirs, NED_FROM_ENU @ ours.as_matrix() @ FRD_FROM_FLU, atol=1e-6)
        assert message.thrust == pytest.approx(0.5, abs=1e-6)

    @BOTH
    def test_body_rates_and_thrust(self, script) -> None:
        script = script().connect()
        message = target(script, RatesSetpoint(np.array([0.1, 0.2, 0.3]), VEHICLE.weight))
        assert message.type_mask == 0x80
        rates = (message.body_roll_rate, message.body_pitch_rate, message.body_yaw_rate)
        assert rates == pytest.approx((0.1, -0.2, -0.3))

    @BOTH
    @pytest.mark.parametrize(
        "setpoint, field",
        [
            (AttitudeSetpoint(np.array([math.nan, 0.0, 0.0, 0.0]), 1.0), "attitude"),
            (AttitudeSetpoint(np.array([1.0011, 0.0, 0.0, 0.0]), 1.0), "norm"),
            (AttitudeSetpoint(np.zeros(4), 1.0), "norm"),
            (AttitudeSetpoint(UPRIGHT, 1.0, yaw_rate=math.inf), "yaw_rate"),
            (AttitudeSetpoint(UPRIGHT, math.nan), "thrust"),
            (AttitudeSetpoint(UPRIGHT, -0.001), "thrust"),
            (AttitudeSetpoint(UPRIGHT, 1e3), "thrust"),
            (RatesSetpoint(np.array([0.0, math.inf, 0.0]), 1.0), "body_rates"),
            (RatesSetpoint(np.zeros(4), 1.0), "body_rates"),
            (RatesSetpoint(np.zeros(3), math.inf), "thrust"),
        ],
    )
    def test_what_must_not_be_sent_is_refused_and_nothing_goes_out(self, script, setpoint, field) -> None:
        script = script().connect()
        script.heard()
        with pytest.raises(UserError, match=field):
            script.link.send(setpoint, script.now)
        assert script.heard() == []

    def test_a_norm_within_a_thousandth_goes_out_as_one(self) -> None:
        message = target(px4().connect(), AttitudeSetpoint(1.0009 * UPRIGHT, 1.0))
        assert np.linalg.norm(message.q) == pytest.approx(1, abs=1e-6)

    def test_ardupilot_without_thrust_as_thrust_gets_nothing(self) -> None:
        for parameters in ({**COPTER_PARAMETERS, "GUID_OPTIONS": 7.0}, {}):
            script = copter().connect(parameters=parameters)
            script.heard()
            with pytest.raises(UserError, match="GUID_OPTIONS"):
                script.link.send(HOVER, script.now)
            assert script.heard() == []

    def test_a_calibrated_map_does_not_lift_that_refusal(self) -> None:
        calibrated = px4().connect().link.thrust_map
        script = copter(thrust_map=calibrated).connect(parameters={**COPTER_PARAMETERS, "GUID_OPTIONS": 0.0})
        with pytest.raises(UserError, match="climb rate"):
            script.link.send(HOVER, script.now)

    def test_what_the_line_had_no_room_for_counts_as_not_sent(self) -> None:
        script = copter().connect()
        script.port.full = True
        assert script.link.send(HOVER, script.now) is False and script.link.fraction is None
        script.port.full = False
        assert script.link.send(HOVER, script.now) is True and script.link.fraction is not None

    def test_an_option_that_is_cleared_in_flight_stops_the_setpoints(self) -> None:
        script = copter().connect()
        script.link.send(HOVER, script.now)
        script.say(script.parameter("GUID_OPTIONS", 0.0))
        with pytest.raises(UserError, match="climb rate"):
            script.link.send(HOVER, script.now)

    def test_before_an_autopilot_is_heard_nothing_is_sent(self) -> None:
        with pytest.raises(UserError, match="no autopilot"):
            px4().link.send(HOVER, 0.0)

    def test_ardupilots_boost_of_a_tilted_vehicle_is_taken_back(self) -> None:
        """It divides the fraction by the cosine of the tilt that it measures."""
        tilted = Rotation.from_euler("x", 0.5).as_quat()[[3, 0, 1, 2]]
        attitude = dialect.MAVLink_attitude_quaternion_message
        for boost, expected in ((1.0, 0.5 * math.cos(0.5)), (0.0, 0.5)):
            script = copter().connect(parameters={**COPTER_PARAMETERS, "ATC_ANGLE_BOOST": boost})
            script.say(attitude(script.ms, *tilted, 0.0, 0.0, 0.0))
            assert target(script, HOVER).thrust == pytest.approx(expected, abs=1e-6)

    def test_a_thrust_that_the_rotors_have_and_the_battery_does_not_becomes_full(self) -> None:
        script = px4().connect(parameters={**PX4_PARAMETERS, "MPC_THR_HOVER": 0.9})
        assert target(script, AttitudeSetpoint(UPRIGHT, 2.1 * VEHICLE.weight)).thrust == 1.0


class TestRestart:
    def reborn(self, script):
        script.booted = script.now - 2.0
        position = dialect.MAVLink_local_position_ned_message
        return script.wait(
            0.5, 0.05, lambda: script.port.__setattr__("coming", script.frame(position(script.ms, *[0.0] * 6)))
        )

    def test_is_told_once_and_nothing_from_before_counts(self) -> None:
        script = copter().connect(armed=True, mode=GUIDED)
        position = dialect.MAVLink_local_position_ned_message
        script.say(position(script.ms, *[0.0] * 6))
        script.link.take_control(script.now)
        script.link.arm(script.now)
        reports = self.reborn(script)
        assert len(only(reports, RestartReport)) == 1
        assert script.link.parameters.values["GUID_OPTIONS"] is None and not script.link.sync.ready
        with pytest.raises(UserError):
            script.link.send(HOVER, script.now)
        script.heard()
        script.wait(5.0)
        asked = [m.command for m in script.heard("COMMAND_LONG")]
        assert set(asked) == {INTERVAL, REQUEST}, "only messages are asked for: nothing arms and nothing takes control"

    def test_is_seen_in_the_answers_for_the_time_where_nothing_else_comes(self) -> None:
        """Streams are forgotten in a restart; what still comes unasked carries no time."""
        script = px4().connect()
        script.booted = script.now - 2.0
        reports = []
        for _ in range(20):
            script.now += 0.05
            answers = [script.answer(m) for m in script.heard("TIMESYNC")]
            reports += script.say(script.heartbeat(), *(answer for answer in answers if answer is not None))
        assert len(only(reports, RestartReport)) == 1

    def test_frames_of_the_past_are_dropped_and_are_no_restart(self) -> None:
        script = copter().connect()
        position = dialect.MAVLink_local_position_ned_message
        old = script.frame(position(script.ms, *[1.0] * 6))
        script.now += 5.0
        script.say(position(script.ms, *[2.0] * 6))
        for _ in range(50):
            script.now += 0.01
            script.port.coming = old
            assert script.link.poll(script.now) == []
        (report,) = only(script.say(position(script.ms, *[2.0] * 6)), PositionReport)
        assert report.position[0] == 2.0


def test_time_stamps_are_those_of_the_autopilot_on_our_clock() -> None:
    script = px4().connect()
    stamp = script.now - 0.020
    message = dialect.MAVLink_local_position_ned_message(
        round(1e3 * (stamp - script.booted)), 1.0, 2.0, -3.0, 4.0, 5.0, 6.0
    )
    (report,) = only(script.say(message), PositionReport)
    assert report.t == pytest.approx(stamp, abs=1e-3) and report.received == script.now
    np.testing.assert_allclose(report.position, [2, 1, 3])
    np.testing.assert_allclose(report.velocity, [5, 4, -6])


def test_its_question_for_the_time_is_answered() -> None:
    script = px4().connect()
    script.heard()
    theirs = 1_000_000 * script.ms + 7
    script.say(dialect.MAVLink_timesync_message(0, theirs))
    (answer,) = [m for m in script.heard("TIMESYNC") if m.tc1]
    assert (answer.ts1, answer.tc1) == (theirs, int(script.now * 1e9))


def test_closing_sends_nothing() -> None:
    script = px4().connect()
    script.heard()
    script.link.close()
    assert script.port.closed and script.heard() == []


def test_the_quadrants_name_the_motors() -> None:
    from firmware_bridge.mavlink.reports import motor_order

    assert motor_order(VEHICLE) == (0, 1, 2, 3)
    order = [2, 0, 3, 1]
    turned = VEHICLE.with_(
        rotor_positions=VEHICLE.rotor_positions[order], rotor_directions=VEHICLE.rotor_directions[order]
    )
    assert motor_order(turned) == (2, 0, 3, 1)
    plus = VEHICLE.with_(rotor_positions=np.array([[0.2, 0, 0], [-0.2, 0, 0], [0, 0.2, 0], [0, -0.2, 0]]))
    with pytest.raises(UserError, match="motor_order"):
        motor_order(plus)


def test_how_well_it_is_heard_is_told_in_words() -> None:
    script = px4(rate=50.0)
    assert script.link.quality() == ("no autopilot is heard", "0 damaged")
    script.connect()
    position = dialect.MAVLink_local_position_ned_message
    script.wait(3.0, 0.02, lambda: script.say(position(script.ms, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)))
    damaged = bytearray(script.frame(position(script.ms, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)))
    damaged[-1] ^= 1
    script.port.coming += bytes(damaged)
    script.wait(0.5)
    much, well = script.link.quality()
    assert float(much.removesuffix(" messages/s")) == pytest.approx(50, abs=3)
    assert "ms, 1 damaged" in well and well.startswith("round trip ")


def test_a_slow_line_fails_the_check() -> None:
    script = px4()
    assert not any(check.passed for check in script.link.preflight())
    script.connect()
    assert verdict(script, "TIMESYNC").passed
    slow = px4()
    slow.say(slow.heartbeat())
    assert not verdict(slow, "TIMESYNC").passed
    for _ in range(20):
        slow.now += 0.1
        slow.say()
        answers = [slow.answer(message) for message in slow.heard("TIMESYNC")]
        slow.now += 0.08
        slow.say(*answers)
    assert "faster line" in verdict(slow, "TIMESYNC").finding and not verdict(slow, "TIMESYNC").passed


@pytest.mark.slow
def test_memory_stays_flat_over_an_hour() -> None:
    """Telemetry, noise, texts, refusals and restarts, 10 times a second."""
    script, rng, sizes = copter().connect(), random.Random(8), []
    position = dialect.MAVLink_local_position_ned_message
    tracemalloc.start()
    for k in range(36_000):
        script.now += 0.1
        if k % 4500 == 4499:
            script.booted = script.now - 2.0
        script.port.coming += rng.randbytes(rng.randint(0, 30))
        text = dialect.MAVLink_statustext_message(2, b"PreArm: %d" % k, rng.randrange(3), rng.randrange(9))
        answers = [script.answer(message) for message in script.port.written]
        script.port.written.clear()
        script.say(
            position(script.ms, *[0.0] * 6),
            script.heartbeat(),
            text,
            *(answer for answer in answers if answer is not None),
            mav=script.mav,
        )
        if script.link.parameters.values["GUID_OPTIONS"]:
            script.link.send(HOVER, script.now)
        if k % 6000 == 5999:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(sizes[1:]) - min(sizes[1:]) < 50_000, sizes


@pytest.mark.parametrize("goes_on", [True, False])
def test_px4_is_asked_for_control_with_a_setpoint_and_never_after_the_last(goes_on: bool) -> None:
    """After a hole in the stream a wish waits; whoever stops sending before it is due has changed his mind."""
    commands = Commands()
    control = Control(commands)
    asked = []
    for k in range(700):
        now = k / 200
        asked += [(now, command.number) for command in commands.due(now)[0]]
        if k == 320:
            control.take(PX4, now)
        if not 0.6 <= now < 1.05 and (goes_on or now < 2.0):
            control.setpoint_sent(PX4, now)
    assert [number for _, number in asked] == ([SET_MODE] if goes_on else [])
    assert not goes_on or asked[0][0] == pytest.approx(1.05 + PX4.stream_before_switch + STREAM_MARGIN, abs=0.02)
