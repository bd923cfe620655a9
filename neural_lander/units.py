"""What firmwares, logs and profiles count in, in SI."""

from math import pi

DEGREE = pi / 180  # rad
RPM = 2 * pi / 60  # rad/s
STANDARD_GRAVITY = 9.80665  # m/s^2, 3rd CGPM; what firmwares call 1 g
GRAM_FORCE = 9.81e-3  # N, with the g that the label of the real logs is defined with
