"""What is looked at before a flight, beside what a link checks of its autopilot; each with a verdict and a remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.heard import Heard
from firmware_bridge.link import Capabilities, CheckResult
from firmware_bridge.supervisor.limits import Limits
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import GRAVITY

STANDING = 0.1  # m: gear height of a vehicle that stands on the ground, with the errors of mounting and floor, guess
AT_REST = 0.15  # share of g by which the specific force may be off at rest, guess
ALIGNED = 0.17  # rad between up by attitude and up by accelerometer, 10 degrees: a wrong axis is 90 or 180, guess
TILTED = 0.35  # rad, 20 degrees: what the user is asked to tilt by hand
BY_HAND = "frames by hand"
OTHER_AXIS = 0.2  # rad that may be left about the other axis


def check_vehicle(heard: Heard, limits: Limits, now: float) -> list[CheckResult]:
    """State, height and frames as they are at time ``now`` in s; the vehicle stands still on the ground."""
    view = heard.view(now)
    estimate = view.estimate
    if estimate is None:
        words = "position and attitude have not both come; look at the port, its speed, and the autopilot's streams"
        return [CheckResult("state", False, words), *_arming(heard)]
    position, attitude = estimate.position_age_at_most, estimate.attitude_age_at_most
    age = max(position, attitude)
    words = f"position at most {1e3 * position:.0f} ms old, attitude {1e3 * attitude:.0f} ms"
    young = age <= limits.state_age
    remedy = "" if young else f"; at most {1e3 * limits.state_age:.0f} ms: raise the streams' rates or the line's speed"
    results = [CheckResult("state", young, words + remedy), _height(heard, view.height_age, limits)]
    disarmed = heard.status is not None and not heard.status.armed
    if view.state is not None and disarmed:
        results.append(_standing(float(view.state.height)))
    if estimate.specific_force is not None and disarmed:
        results.append(_frames(estimate.specific_force))
    return results + _arming(heard)


def check_request(capabilities: Capabilities, arm: bool, rates: bool) -> list[CheckResult]:
    """Whether the link can arm, and takes body rates, where the user asked for it by ``--arm`` and ``--body-rates``."""
    results = []
    if arm:
        can = capabilities.arming
        words = "the link can arm" if can else "the pilot's radio alone arms: leave --arm out, arm by it"
        results.append(CheckResult("arming by us", can, words))
    if rates:
        can = capabilities.rates_setpoints
        words = "the link takes them" if can else "this link takes attitudes alone: leave --body-rates out"
        results.append(CheckResult("body rates", can, words))
    return results


def check_controller(guidance: Guidance) -> list[CheckResult]:
    """Whether the link tells what the controller cannot fly without."""
    if guidance.misses_accelerometer is None:
        return []
    words = f"the autopilot's accelerometer tells it, as {guidance.name} needs"
    if guidance.misses_accelerometer:
        words = f"this link tells none, which {guidance.name} cannot fly without; take --controller l1 or pd-trim"
    return [CheckResult("specific force", not guidance.misses_accelerometer, words)]


def _arming(heard: Heard) -> list[CheckResult]:
    """What the autopilot itself has against arming: also where it tells no position."""
    if heard.status is None:
        return []
    refusals = heard.status.arming_refusals
    words = "the autopilot says: " + ", ".join(refusals) if refusals else "nothing refused"
    return [CheckResult("arming", not refusals or heard.status.armed, words)]


def _height(heard: Heard, age: float, limits: Limits) -> CheckResult:
    if heard.height_source is None:
        return CheckResult("height", False, "no source")
    name = heard.height_source.name
    if age <= limits.height_age:
        return CheckResult("height", True, f"above the ground from the {name}")
    came = "never came" if math.isinf(age) else f"is {age:.1f} s old"
    remedy = "a barometer or GPS is no height; stream DISTANCE_SENSOR, or pass --floor with motion capture"
    return CheckResult("height", False, f"from the {name} {came}; {remedy}")


def _standing(height: float) -> CheckResult:
    words = f"gear {100 * height:.1f} cm above the ground while disarmed"
    fits = abs(height) <= STANDING
    remedy = "" if fits else "; it should stand: look at --floor, the rangefinder's mounting, and gear_points"
    return CheckResult("standing", fits, words + remedy)


def _frames(specific_force: np.ndarray) -> CheckResult:
    """At rest the accelerometer feels g upwards; turned into the world by a wrong frame it points elsewhere."""
    felt = float(np.linalg.norm(specific_force))
    off = math.acos(min(max(float(specific_force[2]) / max(felt, 1e-9), -1.0), 1.0))
    words = f"the accelerometer feels {felt:.2f} m/s^2, {math.degrees(off):.1f} degrees off the attitude's up"
    good = abs(felt - GRAVITY) <= AT_REST * GRAVITY and off <= ALIGNED
    return CheckResult("frames", good, words + ("" if good else "; let it stand still, else its frames are wrong"))


class TiltCheck:
    """Frame sanity by hand: the user lifts the nose, then the left side, level in between; attitude must say the same.

    It sees what :func:`check_vehicle` cannot: an axis that is wrong in attitude and accelerometer alike.
    """

    steps: Sequence[str] = ("lift the nose by 30 degrees or more", "put it level, then lift the left side as far")

    def __init__(self) -> None:
        self.done = 0
        self.wrong = ""
        self._levelled = False

    @property
    def passed(self) -> bool:
        """Whether all steps were seen as they were asked for."""
        return self.done == len(self.steps)

    def take(self, attitude: np.ndarray) -> None:
        """Look at an attitude (4,), quaternion (w, x, y, z) from body to world."""
        if self.passed or self.wrong:
            return
        R = quaternion_to_matrix(attitude)
        nose, left = math.asin(min(max(float(R[2, 0]), -1.0), 1.0)), math.asin(min(max(float(R[2, 1]), -1.0), 1.0))
        self._levelled |= abs(nose) < OTHER_AXIS and abs(left) < OTHER_AXIS
        if not self._levelled:
            return  # still tilted from the step before
        asked, other = ((nose, left), (left, nose))[self.done]
        names = (("nose", "left side"), ("left side", "nose"))[self.done]
        if asked > TILTED and abs(other) < OTHER_AXIS:
            self.done += 1
            self._levelled = False
        elif asked < -TILTED or (abs(other) > TILTED and abs(asked) < OTHER_AXIS):
            moved = f"the {names[0]} goes down" if asked < -TILTED else f"the {names[1]} moves"
            self.wrong = f"asked for the {names[0]} up, and by the attitude {moved}"

    def result(self) -> CheckResult:
        """The verdict so far."""
        if self.wrong:
            remedy = "the frames are wrong: look at the autopilot's orientation (SENS_BOARD_ROT, AHRS_ORIENTATION)"
            return CheckResult(BY_HAND, False, f"{self.wrong}; {remedy}")
        words = "nose and left side move as they should" if self.passed else f"please {self.steps[self.done]}"
        return CheckResult(BY_HAND, self.passed, words)
