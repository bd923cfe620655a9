"""MAVLink messages to reports: units, frames, rotor order, validity; and nothing that comes in raises."""

import math
import random
import struct
from typing import get_args

import numpy as np
import pytest
from mavlink_script import COPTER_PARAMETERS, VEHICLE, copter, px4
from pymavlink.dialects.v20 import ardupilotmega as dialect
from scipy.spatial.transform import Rotation

from firmware_bridge.link import (
    AltitudeReport,
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    ImuReport,
    RangeReport,
    Report,
    RotorReport,
    TextReport,
)
from firmware_bridge.mavlink.framing import ESC_STATUS, SEEDS, FrameParser
from firmware_bridge.mavlink.messages import READ, decode

GRAVITY = 9.80665
FEW, MANY = 3000, 100_000


def raw(number, payload, sequence=0, component=1):
    """A frame around any payload."""
    head = struct.pack("<BBBBBBBHB", 0xFD, len(payload), 0, 0, sequence, 1, component, number & 0xFFFF, number >> 16)
    return head + payload + struct.pack("<H", dialect.x25crc(head[1:] + payload + SEEDS[number]).crc)


def only(reports, kind):
    (report,) = [report for report in reports if isinstance(report, kind)]
    return report


@pytest.mark.parametrize("number", READ)
def test_fields_are_decoded_as_pymavlink_does(number) -> None:
    rng = random.Random(number)
    kind = dialect.mavlink_map[number]
    for length in (1, kind.unpacker.size // 2, kind.unpacker.size):
        data = raw(number, rng.randbytes(length))
        (frame,) = FrameParser().feed(data)
        ours, theirs = decode(frame), dialect.MAVLink(None).decode(bytearray(data))
        for name in theirs.get_fieldnames():
            mine, reference = getattr(ours, name), getattr(theirs, name)
            if isinstance(mine, bytes):
                mine, reference = (
                    mine.split(b"\0")[0],
                    reference.encode("latin-1", "replace")[: len(mine.split(b"\0")[0])],
                )
                assert len(mine) == len(reference)
            else:
                np.testing.assert_equal(np.array(mine, dtype=float), np.array(reference, dtype=float))


class TestMotion:
    def test_attitude_and_rates(self) -> None:
        """Heading east and nose up by 10 degrees; in our frames a turn by -10 degrees about y."""
        script = px4().connect()
        theirs = Rotation.from_euler("ZYX", [90, 10, 0], degrees=True).as_quat(scalar_first=True)
        message = dialect.MAVLink_attitude_quaternion_message(script.ms, *theirs, 0.1, 0.2, 0.3)
        report = only(script.say(message), AttitudeReport)
        ours = Rotation.from_quat(report.attitude, scalar_first=True)
        expected = Rotation.from_euler("ZYX", [0, -10, 0], degrees=True)
        assert (ours.inv() * expected).magnitude() < 1e-6
        np.testing.assert_allclose(report.body_rates, [0.1, -0.2, -0.3], atol=1e-7)

    def test_euler_angles_stand_in_until_a_quaternion_comes(self) -> None:
        script = copter().connect()
        angles = (0.1, 0.2, 1.3)  # roll, pitch, yaw
        q = Rotation.from_euler("ZYX", angles[::-1]).as_quat(scalar_first=True)
        euler = dialect.MAVLink_attitude_message(script.ms, *angles, 0.0, 0.0, 0.0)
        quaternion = dialect.MAVLink_attitude_quaternion_message(script.ms, *q, 0.0, 0.0, 0.0)
        first, second = only(script.say(euler), AttitudeReport), only(script.say(quaternion), AttitudeReport)
        assert abs(abs(first.attitude @ second.attitude) - 1) < 1e-7
        assert script.say(euler) == []

    @pytest.mark.parametrize("q", [(0, 0, 0, 0), (math.nan, 0, 0, 0), (2, 0, 0, 0)])
    def test_a_quaternion_that_is_none_becomes_not_a_number(self, q) -> None:
        script = px4().connect()
        report = only(script.say(dialect.MAVLink_attitude_quaternion_message(script.ms, *q, 0, 0, 0)), AttitudeReport)
        assert np.isnan(report.attitude).all()

    def test_at_rest_the_accelerometer_points_up_whatever_message_it_comes_in(self) -> None:
        mg, mrad = (10, 20, -1000), (100, 200, 300)
        rest = (0, 0, 0)
        script = copter().connect()
        us = 1000 * script.ms
        highres = dialect.MAVLink_highres_imu_message(
            us, *(GRAVITY * a / 1000 for a in mg), *(w / 1000 for w in mrad), *rest, 0, 0, 0, 0, 63
        )
        raw_imu = dialect.MAVLink_raw_imu_message(us, *mg, *mrad, *rest)
        scaled = dialect.MAVLink_scaled_imu_message(script.ms, *mg, *mrad, *rest)
        for message in (highres, raw_imu, scaled):
            report = only(script.say(message), ImuReport)
            np.testing.assert_allclose(report.specific_force, GRAVITY * np.array([0.01, -0.02, 1.0]), rtol=1e-6)
            np.testing.assert_allclose(report.body_rates, [0.1, -0.2, -0.3], rtol=1e-6)
            assert report.t == pytest.approx(script.now, abs=2e-3)

    def test_raw_counts_of_px4_are_not_taken_for_accelerations(self) -> None:
        script = px4().connect()
        assert script.say(dialect.MAVLink_raw_imu_message(1000 * script.ms, 1, 2, 3, 4, 5, 6, 7, 8, 9)) == []


class TestRange:
    def sensor(self, script, distance, orientation=25, quality=0):
        message = dialect.MAVLink_distance_sensor_message(
            script.ms, 5, 400, distance, 0, 0, orientation, 0, signal_quality=quality
        )
        return script.say(message)

    @pytest.mark.parametrize(
        "distance, quality, valid", [(123, 0, True), (123, 100, True), (123, 1, False), (4, 0, False), (401, 0, False)]
    )
    def test_a_sensor_says_itself_whether_it_is_right(self, distance, quality, valid) -> None:
        report = only(self.sensor(px4().connect(), distance, quality=quality), RangeReport)
        assert report.distance == pytest.approx(distance / 100 + 0.005) and report.valid is valid

    def test_a_sensor_that_looks_elsewhere_is_no_height(self) -> None:
        assert self.sensor(px4().connect(), 123, orientation=0) == []


class TestRotors:
    def test_of_px4_in_the_profiles_order_and_without_sign(self) -> None:
        order = (2, 0, 3, 1)
        script = px4(order=order).connect()
        assert not script.link.capabilities.rotor_speed
        rpm = (6000, -6100, 6200, -6300)
        for index, count in ((4, 0), (0, 1)):
            payload = struct.pack("<Q4i4f4fB", 1000 * script.ms, *rpm, *[15.0] * 4, *[1.0] * 4, index)
            script.port.coming += raw(ESC_STATUS, payload)
            reports = [r for r in script.link.poll(script.now) if isinstance(r, RotorReport)]
            assert len(reports) == count
        expected = np.array([6200, 6000, 6300, 6100]) * math.pi / 30
        np.testing.assert_allclose(reports[0].rotor_speed, expected)
        assert script.link.capabilities.rotor_speed

    def test_of_ardupilot_once_every_controller_has_spoken(self) -> None:
        """Counts stay 0 where speeds come by bidirectional DShot."""
        script = copter().connect()
        none, rpm = [0] * 4, [6000, 6100, 6200, 6300]

        def say(rpm, counts):
            message = dialect.MAVLink_esc_telemetry_1_to_4_message(bytes(4), none, none, none, rpm, counts)
            return [r for r in script.say(message) if isinstance(r, RotorReport)]

        assert say([1, 2, 3, 0], [1, 1, 1, 0]) == [], "the fourth has never spoken"
        assert say(none, none) == []
        assert say(none, [1, 2, 3, 4]) == [], "none has ever turned"
        for counts in ([1, 2, 3, 4], none):
            (report,) = say(rpm, counts)
            np.testing.assert_allclose(report.rotor_speed, np.array(rpm) * math.pi / 30)
            assert report.t < report.received
        (report,) = say(none, [1, 2, 3, 4])
        np.testing.assert_allclose(report.rotor_speed, 0)

    def test_an_order_that_is_none_is_refused(self) -> None:
        from neural_lander.errors import UserError

        with pytest.raises(UserError, match="motor_order"):
            copter(order=(0, 1, 2, 2)).connect()


class TestBattery:
    def status(self, cells, remaining=50, number=0):
        volts = [*cells, *[65535] * (10 - len(cells))]
        return dialect.MAVLink_battery_status_message(number, 0, 0, 32767, volts, -1, -1, -1, remaining)

    def system(self, millivolts, remaining=50):
        return dialect.MAVLink_sys_status_message(0, 0, 0, 0, millivolts, -1, remaining, 0, 0, 0, 0, 0, 0)

    def test_cells_are_added_up(self) -> None:
        report = only(px4().connect().say(self.status([3700, 3710, 3720, 3730])), BatteryReport)
        assert report.voltage == pytest.approx(14.86) and report.remaining == 0.5

    def test_what_is_not_known_is_not_told(self) -> None:
        script = px4().connect()
        assert script.say(self.status([]), self.system(65535), self.status([3700], number=1)) == []
        assert only(script.say(self.status([15000], remaining=-1)), BatteryReport).remaining is None

    def test_sys_status_stands_in_while_battery_status_is_silent(self) -> None:
        script = px4().connect()
        assert only(script.say(self.system(15000)), BatteryReport).voltage == 15.0
        script.say(self.status([15100]))
        assert script.say(self.system(15000)) == []
        script.now += 6.0
        assert only(script.say(self.system(14900)), BatteryReport).voltage == 14.9

    def test_thrust_is_corrected_by_a_smoothed_voltage(self) -> None:
        """(15/16)^2 less thrust for a fraction; a dip of 20 ms changes nothing that matters."""
        hover = AttitudeSetpoint(np.array([1.0, 0.0, 0.0, 0.0]), VEHICLE.weight)

        def fraction():
            script.heard()
            script.link.send(hover, script.now)
            return script.heard("SET_ATTITUDE_TARGET")[0].thrust

        from firmware_bridge.thrust import ThrustMap

        script = copter(thrust_map=ThrustMap(0.5, VEHICLE.weight, 16.0, 0.65, 0.65)).connect(COPTER_PARAMETERS)
        script.say(self.status([16000]))
        assert fraction() == pytest.approx(0.5)
        script.now += 0.02
        script.say(self.status([12000]))
        assert fraction() == pytest.approx(0.5, rel=0.02)
        for _ in range(200):
            script.now += 0.2
            script.say(self.status([15000]))
        assert fraction() == pytest.approx(0.5 * (16 / 15) ** 2, rel=1e-6)


class TestTexts:
    def chunk(self, text, number, sequence):
        return dialect.MAVLink_statustext_message(4, text, number, sequence)

    def test_a_long_text_comes_whole(self) -> None:
        script = px4().connect()
        text = b"".join(b"%02d " % k for k in range(40))
        assert script.say(self.chunk(text[:50], 3, 0), self.chunk(text[50:100], 3, 1)) == []
        assert only(script.say(self.chunk(text[100:], 3, 2)), TextReport).text == text.decode()

    def test_of_a_text_with_a_lost_chunk_the_rest_is_told(self) -> None:
        script = px4().connect()
        script.say(self.chunk(b"a" * 50, 3, 0))
        assert only(script.say(self.chunk(b"the end", 3, 2)), TextReport).text == "... the end"

    def test_a_text_without_end_does_not_grow_without_bound(self) -> None:
        script = px4().connect()
        texts = [r.text for k in range(255) for r in script.say(self.chunk(b"a" * 50, 3, k))]
        assert texts and max(map(len, texts)) <= 1050


def fuzz(script, count, seed):
    """Frames with right checksums and any payload: shortened, repeated, of special numbers, from anybody."""
    rng, seen = random.Random(seed), set()
    numbers = [*READ, ESC_STATUS, dialect.MAVLINK_MSG_ID_PARAM_VALUE]
    special = [struct.pack("<f", x) for x in (math.nan, math.inf, -math.inf, 3e38, 1e-45, 0.0, -1.0)]
    for _ in range(count):
        number = rng.choice(numbers)
        payload = rng.randbytes(rng.randint(1, 60))
        if rng.random() < 0.5:
            payload = b"".join(rng.choices(special, k=rng.randint(1, 15)))
        if rng.random() < 0.5:  # a time stamp that is not thrown out at once
            payload = struct.pack("<I", script.ms) + payload[4:]
        if number == dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR and len(payload) > 12:
            payload = payload[:12] + bytes([25]) + payload[13:]  # downwards
        script.port.coming += raw(number, payload, component=1 if rng.random() < 0.95 else 100)
        if rng.random() < 0.3:
            script.port.coming += rng.randbytes(rng.randint(1, 40))
        if rng.random() < 0.5:
            script.now += 0.002
            for report in script.link.poll(script.now):
                assert getattr(report, "t", script.now) <= script.now
                seen.add(type(report))
            assert script.link.parser.held < 300
            del script.port.written[:]
    script.link.preflight()
    assert seen == set(get_args(Report)) - {AltitudeReport}, "some kind of report was never made"


@pytest.mark.parametrize("script", [px4, copter])
def test_whatever_comes_in_with_a_right_checksum_nothing_raises(script) -> None:
    fuzz(script().connect(), FEW, seed=11)


@pytest.mark.slow
@pytest.mark.parametrize("script", [px4, copter])
def test_a_hundred_thousand_messages_of_anything_raise_nothing(script) -> None:
    fuzz(script().connect(), MANY // 2, seed=12)
