"""The edge towards real autopilots.

    port -> link -> reports -> estimator and height -> supervisor -> controller -> setpoint -> link

and a recorder in a thread of its own. Links for MAVLink, MSP and the Crazyflie, the real-time loop, the supervisor; and
the emulator, an autopilot in software to try all of it on. Nothing here imports torch, cvxpy or a simulator.
"""
