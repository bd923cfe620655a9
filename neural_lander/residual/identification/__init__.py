"""What a flight says of itself: lag of the thrust, its scale, errors of accelerometer and attitude.

Everything here is reported. Nothing is applied to labels or profiles.
"""
