"""What our MCAP files hold: one JSON message per record on one topic, described by a JSON schema.

JSON with a schema is what Foxglove and PlotJuggler plot without plugins (``/flight.position.z``), it states a float64
exactly, and compressed it is as small as the numbers themselves. One message per record keeps the record whole,
so that a log cut at any place still is a log. See https://mcap.dev/spec.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from neural_lander.flightlog.log import COLUMNS

PROFILE = "neural-lander"
"""In the MCAP header: what the reader recognises the file by."""
TOPIC = "/flight"
SCHEMA_NAME = "neural_lander.FlightRecord"
METADATA_NAME = "neural_lander.flight"
"""Name of the metadata record; its values are JSON."""
UNIT_KEY = "rotor_command_unit"
"""Key of the channel's own metadata."""
FLUSH_PERIOD = 0.5  # s of log time; what a cut-off costs at most


def schema(fields: Iterable[str], rotor_command_unit: str) -> bytes:
    """JSON schema of a record with these fields."""
    properties: dict[str, object] = {}
    for field in fields:
        components, unit, frame = COLUMNS[field]
        unit = rotor_command_unit if field == "rotor_command" else unit
        text = f"{unit}, {frame}" if frame else unit
        number = {"type": "number"}
        properties[field] = {**number, "description": text}
        if components:
            inner = {"properties": dict.fromkeys(components, number), "required": list(components)}
            properties[field] = {"type": "object", "description": text, **inner}
    return json.dumps(
        {"title": SCHEMA_NAME, "type": "object", "properties": properties, "required": list(properties)}
    ).encode()


def template(fields: Iterable[str]) -> str:
    """What ``%`` fills with the numbers of a record, in the order of ``COLUMNS``, to give its JSON."""
    parts = []
    for field in fields:
        components = COLUMNS[field][0]
        inner = ",".join(f'"{c}":%r' for c in components)
        parts.append(f'"{field}":{{{inner}}}' if components else f'"{field}":%r')
    return "{" + ",".join(parts) + "}"
