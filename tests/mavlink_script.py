"""One end of a MAVLink line as a script: frames by pymavlink in, what was written out through pymavlink's parser."""

import itertools
import struct

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.mavlink.link import MavlinkLink
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ARMED = dialect.MAV_MODE_FLAG_SAFETY_ARMED
GUIDED, STABILIZE, LAND = 4, 0, 9
OFFBOARD, POSCTL = 6 << 16, 3 << 16
PX4_PARAMETERS = {
    "MPC_THR_HOVER": 0.5,
    "COM_OF_LOSS_T": 0.5,
    "COM_OBL_RC_ACT": 4,
    "THR_MDL_FAC": 0.3,
    "MC_BAT_SCALE_EN": 0,
    "EKF2_HGT_REF": 1,
    "EKF2_EV_CTRL": 15,
}
COPTER_PARAMETERS = {
    "GUID_OPTIONS": 8.0,
    "GUID_TIMEOUT": 0.5,
    "MOT_THST_HOVER": 0.5,
    "MOT_THST_EXPO": 0.65,
    "MOT_BAT_VOLT_MAX": 0.0,
    "ATC_ANGLE_BOOST": 1.0,
    "PILOT_THR_FILT": 0.0,
    "EK3_SRC1_POSZ": 1.0,
}


class ScriptPort:
    """A port of which the test is the other end."""

    def __init__(self):
        self.coming, self.written, self.closed, self.full = b"", [], False, False
        self._mav = dialect.MAVLink(None)

    def read(self):
        data, self.coming = self.coming, b""
        return data

    def write(self, data):
        if self.full:
            return False
        (message,) = self._mav.parse_buffer(data)
        self.written.append(message)
        return True

    def close(self):
        self.closed = True


class Script:
    """An autopilot that says what it is told to, and a link that listens."""

    def __init__(self, kind, speaks_as=1, **options):
        self.kind, self.now, self.booted = kind, 100.0, 90.0
        self.port = ScriptPort()
        self.link = MavlinkLink(self.port, VEHICLE, **options)
        self.mav = dialect.MAVLink(None, srcSystem=speaks_as, srcComponent=1)
        self.read_so_far = 0

    @property
    def ms(self):
        return round(1e3 * (self.now - self.booted))

    def frame(self, message, mav=None, **options):
        mav = mav or self.mav
        data = message.pack(mav, **options)
        mav.seq = (mav.seq + 1) % 256
        return data

    def say(self, *messages, mav=None):
        """Reports of the next poll, after these messages."""
        self.port.coming += b"".join(self.frame(message, mav) for message in messages)
        return list(self.link.poll(self.now))

    def heartbeat(self, armed=False, mode=STABILIZE, kind=None, vehicle=dialect.MAV_TYPE_QUADROTOR, state=4):
        return dialect.MAVLink_heartbeat_message(vehicle, kind or self.kind, ARMED * armed, mode, state, 3)

    def wait(self, seconds, step=0.05, each=lambda: None):
        """Polls; reports of all of them."""
        reports = []
        for _ in range(round(seconds / step)):
            self.now += step
            each()
            reports += self.link.poll(self.now)
        return reports

    def heard(self, name=None):
        """Messages that the link wrote since the last call, of one name or all."""
        new, self.read_so_far = self.port.written[self.read_so_far :], len(self.port.written)
        return [message for message in new if name in (None, message.get_type())]

    def commands(self, number):
        return [m for m in self.heard("COMMAND_LONG") if m.command == number]

    def ack(self, number, result=0, target=(0, 0)):
        return dialect.MAVLink_command_ack_message(number, result, 0, 0, *target)

    def parameter(self, name, value):
        bitwise = self.kind == dialect.MAV_AUTOPILOT_PX4 and isinstance(value, int)
        kind = dialect.MAV_PARAM_TYPE_INT32 if bitwise else dialect.MAV_PARAM_TYPE_REAL32
        message = dialect.MAVLink_param_value_message(name.encode(), 0.0 if bitwise else value, kind, 1, 0)
        if bitwise:  # pymavlink packs a float there: lay the integer's bits into the frame by hand
            return _Bitwise(message, value)
        return message

    def connect(self, parameters=None, **heartbeat):
        """Recognised, synchronised, with all parameters and every interval granted."""
        self.say(self.heartbeat(**heartbeat))
        values = parameters
        if values is None:
            values = PX4_PARAMETERS if self.kind == dialect.MAV_AUTOPILOT_PX4 else COPTER_PARAMETERS
        self.say(*(self.parameter(name, value) for name, value in values.items()))
        for _ in itertools.count():
            self.now += 0.1
            self.say()
            asked = self.heard()
            replies = [self.answer(message) for message in asked]
            self.now += 0.006
            self.say(*(reply for reply in replies if reply is not None))
            waiting = any(getattr(m, "command", None) == dialect.MAV_CMD_SET_MESSAGE_INTERVAL for m in asked)
            if self.link.sync.ready and not waiting:
                break
        return self

    def answer(self, message):
        if message.get_type() == "TIMESYNC" and message.tc1 == 0:
            return dialect.MAVLink_timesync_message(round(1e9 * (self.now + 0.003 - self.booted)), message.ts1)
        if message.get_type() == "COMMAND_LONG":
            return self.ack(message.command)
        return None


class _Bitwise:
    """A PARAM_VALUE with an integer's bits where the float belongs."""

    def __init__(self, message, value):
        self.message, self.value = message, value

    def pack(self, mav, **options):
        data = bytearray(self.message.pack(mav))
        data[10:14] = struct.pack("<i", self.value)
        seed = bytes([dialect.MAVLink_param_value_message.crc_extra])
        data[-2:] = struct.pack("<H", dialect.x25crc(bytes(data[1:-2]) + seed).crc)
        return bytes(data)


def px4(**options):
    return Script(dialect.MAV_AUTOPILOT_PX4, **options)


def copter(**options):
    return Script(dialect.MAV_AUTOPILOT_ARDUPILOTMEGA, **options)
