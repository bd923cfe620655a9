"""A simulated vehicle behind a pseudo-terminal that speaks an autopilot's protocol, with its timings and oddities."""
