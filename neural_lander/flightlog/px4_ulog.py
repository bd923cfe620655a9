"""PX4 ULog, by pyulog: https://docs.px4.io/main/en/dev_log/ulog_file_format.html."""

from __future__ import annotations

from pathlib import Path

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.px4_flight import TOPICS, px4_flight
from neural_lander.flightlog.px4_topics import load

MAGIC = b"ULog\x01\x12\x35"


class Px4Ulog:
    """Log format: see the module."""

    name = "px4-ulog"
    description = "PX4 ULog"

    def recognises(self, head: bytes) -> bool:
        """ULog's magic."""
        return head.startswith(MAGIC)

    def read(self, path: Path) -> FlightLog:
        """The flight at the times of its fastest source of motion; see :func:`px4_flight`.

        Raises
        ------
        UserError
            Where the file is damaged beyond use, is of no multirotor with four motors, or lacks pose or velocity.
        """
        return px4_flight(load(path, TOPICS), self.name, str(path))
