"""Whether a log's thrust comes from measured rotor speed or from the command, by their rates.

Measured speed is the better of the two where it follows the thrust: at 40 Hz or more, or at least as often as the
command. Telemetry of a few hertz, as autopilots log it by default, shows nothing of what moves in between.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neural_lander.flightlog.rates import LEAST_RATE
from neural_lander.flightlog.streams import Stream

SPEED, COMMAND = "rotor_speed", "rotor_command"


def choose_rotors(streams: Mapping[str, Stream], said: list[str]) -> tuple[dict[str, Stream], dict[str, str]]:
    """The streams without a rotor speed that is slower than the command, and in words where thrust comes from.

    Parameters
    ----------
    streams
        ``rotor_speed`` and ``rotor_command``, as far as the log has them.
    said
        Takes what is left out, and that nothing is there.
    """
    rates = {name: _rate(stream) for name, stream in streams.items()}
    kept = dict(streams)
    if not kept:
        said.append("no motor command and no rotor speed is logged")
        return {}, {}
    if len(kept) == 2 and rates[SPEED] < min(LEAST_RATE, rates[COMMAND]):
        del kept[SPEED]
        said.append(
            f"rotor speed comes at {rates[SPEED]:.3g} Hz only and the command at {rates[COMMAND]:.3g} Hz: the command "
            "is read"
        )
    name = SPEED if SPEED in kept else COMMAND
    others = [f"{other} at {rates[other]:.3g} Hz" for other in rates if other != name]
    words = f"{name} at {rates[name]:.3g} Hz" + (f", rather than {others[0]}" if others else "")
    return kept, {"thrust_from": words}


def _rate(stream: Stream) -> float:
    """Hz, by the median period; 0 where there is none."""
    period = float(np.median(np.diff(stream.t))) if len(stream.t) > 1 else 0.0
    return 1 / period if period > 0 else 0.0
