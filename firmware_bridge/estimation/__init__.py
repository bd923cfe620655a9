"""From reports to the state at a tick, and the height above the ground."""
