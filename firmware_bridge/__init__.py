"""The edge towards real autopilots: nothing is written yet.

Links (MAVLink, MSP, Crazyflie), the real-time loop, the supervisor, the recorder and the emulator are not written yet.
"""
