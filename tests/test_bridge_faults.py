"""Faults between port and vehicle: what each does to the line, and what must hold in flight whatever breaks."""

import functools
import json
import math

import numpy as np
import pytest
from mcap.reader import make_reader
from pymavlink.dialects.v20 import ardupilotmega as dialect

from benchmarks.fault_flights.flight import Flight
from benchmarks.fault_flights.rigs import faults_of
from firmware_bridge.emulator.faults import Dropped, Duplicated, Flipped, Garbage, Merged, Split, Stalled, lost
from firmware_bridge.emulator.line import Wire
from firmware_bridge.mavlink.framing import LONGEST, FrameParser
from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.supervisor.types import Phase
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
MSP, MAVLINK = ("betaflight", "inav"), ("px4", "ardupilot")
NOISY = ("dropped-bytes", "flipped-bits", "garbage")
SEEDS = 32  # per fault and protocol: 1088 flights in all
HARD = 1.0  # m/s: twice what the autopilots' own landings touch down at


def frames(count=200):
    mav = dialect.MAVLink(None, 1, 1)
    made = []
    for k in range(count):
        made.append(dialect.MAVLink_attitude_quaternion_message(k, 1.0, 0.1, 0.2, 0.3, k / 7, 0.0, 0.5).pack(mav))
        mav.seq = (mav.seq + 1) % 256
    return made


def through(fault, sent, every=0.01):
    """(time read, bytes) of each look at a wire with a fault, 2.5 ms apart."""
    wire = Wire()
    wire.fault = fault
    heard, due = [], 0
    for k in range(int((len(sent) * every + 2.0) / 0.0025)):
        now = k * 0.0025
        if due < len(sent) and now >= due * every:
            wire.write(now, sent[due])
            due += 1
        heard.append((now, wire.read(now)))
    return heard


def joined(heard):
    return b"".join(data for _, data in heard)


class TestLineFaults:
    def test_dropped_bytes_are_few_and_the_rest_is_in_order(self):
        sent = b"".join(frames())
        heard = joined(through(Dropped(np.random.default_rng(1)), frames()))
        assert len(heard) == pytest.approx(0.98 * len(sent), rel=0.01)
        rest = iter(sent)
        assert all(byte in rest for byte in heard)

    def test_flipped_bits_are_one_per_byte(self):
        sent, heard = b"".join(frames()), joined(through(Flipped(np.random.default_rng(1)), frames()))
        changed = [a ^ b for a, b in zip(sent, heard, strict=True) if a != b]
        assert len(changed) == pytest.approx(0.02 * len(sent), rel=0.2)
        assert all(bits.bit_count() == 1 for bits in changed)

    def test_split_frames_are_cut_at_every_offset(self):
        sent = frames()
        heard = [data for _, data in through(Split(), sent) if data]
        assert b"".join(heard) == b"".join(sent)
        assert {len(data) for data in heard} >= set(range(1, len(sent[0])))

    def test_merged_frames_come_in_bursts(self):
        sent = frames()
        heard = [(now, data) for now, data in through(Merged(), sent) if data]
        assert joined(heard) == b"".join(sent)
        np.testing.assert_allclose(np.diff([now for now, _ in heard]), 0.04, atol=1e-9)

    def test_duplicated_frames_are_whole(self):
        parser, sent = FrameParser(), frames()
        found = parser.feed(joined(through(Duplicated(np.random.default_rng(1)), sent)))
        assert len(found) == pytest.approx(1.3 * len(sent), rel=0.1)
        assert {f.sequence for f in found} == set(range(200))

    def test_garbage_leaves_the_frames_whole(self):
        sent = frames()
        heard = joined(through(Garbage(np.random.default_rng(1)), sent))
        assert len(heard) > len(b"".join(sent)) + 200
        assert all(frame in heard for frame in sent)

    def test_a_stall_holds_back_and_then_gives_all_in_order(self):
        heard = [(now, data) for now, data in through(Stalled(0.5), frames()) if data]
        assert heard[0][0] == pytest.approx(0.5)
        assert joined(heard) == b"".join(frames())

    def test_a_lost_direction_is_silent(self):
        assert joined(through(lost, frames())) == b""

    @pytest.mark.parametrize("make", [Dropped, Flipped, Garbage, Duplicated])
    def test_seeds_repeat(self, make):
        once, again = (joined(through(make(np.random.default_rng(4)), frames())) for _ in range(2))
        assert once == again

    @pytest.mark.parametrize("make", [Dropped, Flipped, Garbage])
    def test_the_parser_finds_every_frame_that_came_whole(self, make):
        sent = frames(1000)
        heard, parser, found = through(make(np.random.default_rng(2)), sent), FrameParser(), []
        for _, data in heard:
            found += parser.feed(data)
            assert parser.held < LONGEST
        whole = sum(frame in joined(heard) for frame in sent)
        assert 0.3 * len(sent) < whole <= len(found) + 1  # the last may wait for bytes that never come


def assert_held(flight):
    """The four things that must hold, whatever breaks."""
    rig, witness, limit = flight.rig, flight.rig.witness, flight.age_allowed
    what = f"{flight.fault}, seed {flight.seed}, {flight.firmware}"
    assert flight.began == flight.began, f"{what}: control was never given"
    assert witness.setpoints, what
    assert witness.oldest <= limit, f"{what}: a setpoint from a state of {witness.oldest:.3f} s"
    assert witness.not_finite == 0, what
    assert witness.intact > 300, what
    # A checksum of 8 bits takes one frame of noise in 256 for whole, and swallows what that covers.
    allowed = 1 if flight.firmware in MSP and flight.fault in NOISY else 0
    assert witness.lost_in_a_row <= allowed, f"{what}: {witness.lost} frames that came whole were not parsed"
    assert all(parser.most_held < rig.longest_frame for parser in rig.parsers), what
    assert flight.armed_again == 0, f"{what}: armed or took control again"
    landed = [r.height for r in flight.records if r.decision.phase is Phase.LANDED]
    assert not landed or landed[0] < 0.1, f"{what}: taken for landed at {landed[0]:.2f} m"
    assert not any(t > flight.began and event in ("armed", "armed by companion") for t, event in rig.events), what
    if flight.firmware not in MSP and flight.fault != "restart":  # which stops the motors in the air
        assert (flight.watch.touchdown_speed or 0.0) < HARD, f"{what}: down at {flight.watch.touchdown_speed:.2f} m/s"


def assert_log_whole(path, flight):
    """Every tick is in the log, in order and with what was decided: up to the fault and beyond."""
    with path.open("rb") as file:
        logged = [json.loads(m.data) for _, _, m in make_reader(file).iter_messages(topics=["/bridge"])]
    start = flight.records[0].t
    assert [(m["t"], m["phase"]) for m in logged] == [
        (pytest.approx(r.t - start, abs=1e-6), r.decision.phase) for r in flight.records
    ]
    sent = [r for r in flight.records if r.setpoint is not None and r.t <= flight.began]
    before = [m for m in logged if m["t"] <= flight.began - start + 1e-6 and m["setpoint_thrust"] is not None]
    assert len(before) == len(sent) > 20
    assert [m["setpoint_thrust"] for m in before] == [pytest.approx(r.setpoint.thrust) for r in sent]


BLIND = 0.07  # s: the limit of 50 ms, a sample and a tick of 10 ms each
REACTS = {  # fault -> longest time in s until the loop stops sending or leaves control; others may fly on
    **dict.fromkeys(("stall-200ms", "stall-1000ms", "half-open-deaf", "restart", "stale-state", "nan-state"), BLIND),
    "frozen-values": BLIND + 0.04,  # and four samples of the accelerometer
    "unplugged": 0.02,
    "nan-setpoint": 0.02,
    "half-open-mute": 2.2,  # the autopilot's own timeout, told by its next heartbeat; or felt, for ArduPilot tells none
}
UNTOUCHED = ("split-frames", "duplicated-frames", "foreign-ids")
"""What the loop need not notice; by MSP a request that is heard twice may delay the answers by more than is allowed."""


def assert_reacted(flight):
    """Whether the loop noticed, in time, what it has to notice; and flew on through what it need not."""
    what = f"{flight.fault}, seed {flight.seed}, {flight.firmware}: reaction after {flight.reaction:.3f} s"
    # What an autopilot does unheard may be what was wanted of it, for as long as the fault lasts: on the ground, or
    # where a held setpoint has carried it ahead of the plan. That it is noticed else is in test_bridge_obedience.
    unnoticed = flight.fault == "half-open-mute" and math.isnan(flight.reaction)
    if flight.fault in REACTS and not unnoticed:
        assert flight.reaction <= REACTS[flight.fault], what
    if flight.fault in UNTOUCHED and not (flight.firmware in MSP and flight.fault == "duplicated-frames"):
        assert math.isnan(flight.reaction), what
        phases = {record.decision.phase for record in flight.records if record.t > flight.began}
        assert Phase.LANDED in phases or flight.end is Phase.TRACKING, what


@functools.cache
def flown(fault, seed, firmware="px4"):
    return Flight(VEHICLE, fault, seed, firmware).run()


@pytest.mark.parametrize(
    "fault, seed, firmware",
    [
        ("flipped-bits", 0, "px4"),
        ("unplugged", 1, "px4"),
        ("stale-state", 0, "betaflight"),
        ("frozen-values", 0, "ardupilot"),
    ],
)
def test_what_must_hold_holds_in_a_flight(fault, seed, firmware, tmp_path):
    flight = flown(fault, seed, firmware)
    assert_held(flight)
    assert_reacted(flight)
    recorder = Recorder(tmp_path / "log.mcap", {}, commands=True)
    for record in flight.records:
        recorder.put(record)
    recorder.close()
    assert_log_whole(tmp_path / "log.mcap", flight)


@pytest.mark.slow
def test_a_flight_repeats_to_the_last_bit():
    first, second = flown("flipped-bits", 0), Flight(VEHICLE, "flipped-bits", seed=0).run()
    assert first.rig.witness.setpoints == second.rig.witness.setpoints
    np.testing.assert_array_equal(first.rig.world.state.position, second.rig.world.state.position)


def test_the_companion_does_arm_before_the_fault():
    """Else that it does not arm after the fault would say nothing."""
    flight = flown("unplugged", 1)
    assert len(flight.rig.witness.armings) == 1 and flight.rig.witness.armings[0] < flight.began
    assert "armed by companion" in [what for _, what in flight.rig.events]


@pytest.mark.slow
def test_an_autopilot_that_hears_nothing_is_not_taken_for_landed():
    """ArduCopter then holds its height in guided, while the companion asks for less and less thrust."""
    flight = Flight(VEHICLE, "half-open-mute", seed=9, firmware="ardupilot").run()
    assert_held(flight)
    assert flight.watch.touchdown_speed is None  # nor does it fall when it hears again


@pytest.mark.slow
def test_the_witness_sees_an_old_state():
    """Else that no setpoint was made from one would say nothing."""
    flight = flown("restart", 0)
    flight.now += 2.0
    flight.rig.witness.written(dialect.MAVLink_set_attitude_target_message(
        0, 1, 1, 7, [1.0, 0.0, 0.0, 0.0], 0.0, 0.0, 0.0, math.nan).pack(dialect.MAVLink(None, 1, 191)))  # fmt: skip
    assert flight.rig.witness.oldest > 1.9
    assert flight.rig.witness.not_finite == 1


@pytest.mark.slow
def test_the_witness_is_not_misled_by_stamps_that_run_on():
    """Those of a frozen state say that it is young until the loop has seen that it is not."""
    flight = flown("frozen-values", 1)
    assert flight.loop.limits.state_age < flight.rig.witness.oldest < flight.age_allowed
    assert flight.loop.heard.estimator.refused["position is the one before under a newer stamp"] > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "firmwares, fault", [(names, fault) for names in (MAVLINK, MSP) for fault in faults_of(names[0])], ids=str
)
def test_what_must_hold_holds_in_many_flights(firmwares, fault, tmp_path):
    for seed in range(SEEDS):
        path = tmp_path / f"{seed}.mcap"
        recorder = Recorder(path, {}, commands=True)
        flight = Flight(VEHICLE, fault, seed, firmwares[seed // 3 % 2], recorder.put).run()
        recorder.close()
        assert_held(flight)
        assert_reacted(flight)
        assert recorder.dropped == 0
        assert_log_whole(path, flight)
        path.unlink()
