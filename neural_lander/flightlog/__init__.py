"""Flight logs: one shape for the learner, one reader per format."""

from neural_lander.flightlog.column_map import ColumnMap
from neural_lander.flightlog.csv_columns import read_csv, write_csv
from neural_lander.flightlog.flights import flights_of
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.mcap_write import McapLogWriter, write_mcap
from neural_lander.flightlog.read import FORMATS, LogFormat, read_log, read_logs

__all__ = [
    "FORMATS",
    "ColumnMap",
    "FlightLog",
    "LogFormat",
    "McapLogWriter",
    "flights_of",
    "read_csv",
    "read_log",
    "read_logs",
    "write_csv",
    "write_mcap",
]
