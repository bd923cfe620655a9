"""Flights of the fault campaign: companion, line, autopilot, vehicle, and who watches them, on one simulated clock."""
