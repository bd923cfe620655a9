"""From the state to the setpoint, and the end of a landing."""
