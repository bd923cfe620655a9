"""Emulated autopilots, to try a companion on before it meets a vehicle.

They speak the protocols with the timings, failsafes and oddities that were measured on or read in real firmware.
Where they are simpler than that: contact is told by the truth rather than found from acceleration; the estimator has
noise, a slow bias and an origin of its own, but neither resets nor diverges; take-off is the pilot's alone; of the
arming checks there are readiness, tilt and mode; parameters are those that a companion reads.
"""
