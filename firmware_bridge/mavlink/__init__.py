"""PX4 and ArduPilot over MAVLink 2."""
