"""The edge towards real autopilots: so far only the conversion of frames.

Links (MAVLink, MSP, Crazyflie), the real-time loop, the supervisor, the recorder and the emulator are not written yet.
"""
