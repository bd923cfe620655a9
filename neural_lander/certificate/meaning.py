"""What each number of a certificate says, in a sentence for a pilot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NETWORK, ITERATION, SATURATED = "The network", "The thrust iteration", "The network where rotors are saturated"

SAYS: Mapping[str, tuple[str, str]] = {
    "lipschitz_total": (
        NETWORK,
        "However the whole input moves, the predicted force changes by at most this much per unit of it.",
    ),
    "lipschitz_state": (
        NETWORK,
        "The same where height, velocity and attitude move and the rotor thrusts stand still.",
    ),
    "lipschitz_height": (
        NETWORK,
        "A metre of height changes the predicted force by at most this much. Where the network is faded out, outside "
        "of its training, the fading adds to it and to the slope over the state.",
    ),
    "lipschitz_product": (
        NETWORK,
        "The same of the whole input, from the layers one by one: lipschitz_total is tighter.",
    ),
    "lipschitz_rotor_thrust": (
        NETWORK,
        "L_u: a newton of rotor thrust, in whatever mixture of rotors, changes the predicted force by at most this.",
    ),
    "lipschitz_rotor_speed_squared": (NETWORK, "L_u again, per squared rotor speed instead of thrust."),
    "lipschitz_collective": (
        NETWORK,
        "A newton of collective thrust changes the predicted force by at most this: the slope that the controller "
        "meets.",
    ),
    "thrust_column": (ITERATION, "How far all rotor thrusts together move per newton of collective thrust."),
    "contraction_factor": (
        ITERATION,
        "Each pass of the thrust iteration shrinks its error at least to this share; below 1 it converges.",
    ),
    "iterations_to_tolerance": (
        ITERATION,
        "After a first pass and so many more the thrust is within thrust_tolerance of the solution, wherever it began.",
    ),
    "rotor_thrust_low": (
        ITERATION,
        "A rotor may give less than this, but the network is then asked for this: what it predicts stays the same, so "
        "that slopes and factor hold whatever the rotors do.",
    ),
    "rotor_thrust_high": (
        ITERATION,
        "A rotor may give more than this, but the network is then asked for this: what it predicts stays the same, so "
        "that slopes and factor hold whatever the rotors do.",
    ),
    "thrust_tolerance": (ITERATION, "How exactly the thrust is to be met; the controller goes on until it is."),
    "rotor_speed_max": (ITERATION, "As fast as the rotors turn; how much thrust they give follows from it."),
    "attitude_and_torque_held": (
        ITERATION,
        "The controller keeps attitude and torque fixed while it iterates: if it did not, nothing here would hold.",
    ),
    "Lambda": ("", "How fast a position error is to vanish, per second."),
    "K_v": ("", "Force against an error in velocity."),
    "Gamma": ("", "How fast the trim learns a lasting error; 0 where there is no trim."),
    "controller_step": ("", "Time between two commands."),
    "start_time": (
        "",
        "For so long after the descent begins, the late answer of motors and attitude is counted apart.",
    ),
    "settled_time": ("", "From so long after the descent begins, the numbers called settled hold."),
    "split_time_constant": ("", "Disturbances slower than this count by how fast they change, faster ones by size."),
    "quantile": ("", "Which quantile of the disturbance is given."),
    "input_gap_per_s": ("", "rho_u: no part of the gap between rotor thrusts is said to vanish with s."),
    "start_s": ("", "Error s with which a descent began, mostly the reference's own jump to descent speed."),
    "start_s_vertical": ("", "The vertical part of it."),
    "start_height_error": ("", "Height error with which a descent began."),
    "start_level": ("", "Largest unexplained force after the start."),
    "start_impulse": ("", "Push that the late answer of motors and attitude gave in all at the start."),
    "start_impulse_vertical": ("", "The vertical part of it."),
    "disturbance": (
        "",
        "epsilon_m: largest unexplained force, the late answer at the start apart, and slow changes where "
        "split_time_constant stands: wrong predictions, lag, wind. A maximum seen, no bound.",
    ),
    "disturbance_quantile": ("", "It was below this for the share of the time that 'quantile' says."),
    "disturbance_rate": ("", "How fast the slow part of it changed."),
    "disturbance_vertical": ("", "Largest unexplained vertical force."),
    "input_gap": (
        "",
        "delta_u: how far the thrusts the network was asked for were from those commanded; the disturbance has it too.",
    ),
    "decay_rate": ("", "A wrong start dies out at this rate."),
    "gain_of_size": ("", "How much error s a disturbance of a size can build up, per unit of acceleration."),
    "gain_of_rate": ("", "The same for one that changes at a rate; the trim follows it."),
    "s_ball": ("", "While disturbances are no larger, s ends within this."),
    "p_ball": ("", "And the position within this of the reference."),
    "height_ball": ("", "And the height within this."),
    "vertical_speed_ball": ("", "And the vertical speed within this."),
    "s_worst": ("", "No more error s than this at any moment of a descent, its start included."),
    "height_worst": ("", "No more height error than this at any moment of a descent, its start included."),
    "height_settled": ("", "No more height error than this once the start has settled, down to the touchdown."),
    "vertical_speed_settled": ("", "At touchdown the vertical speed is off by at most this."),
    "verified_flights": ("", "So many other landings were held against these numbers."),
    "verified_violations": ("", "So many of them left the envelope on s."),
    "verified_height_violations": ("", "So many of them left the bounds on height or vertical speed."),
    "verified_outside_domain": ("", "So many of them were, for a moment, where the network was not trained."),
    "verified_worst_s": ("", "The largest error s in these landings."),
    "verified_envelope_over_worst_s": ("", "The envelope is so many times as large."),
    "verified_envelope_over_worst_s_settled": ("", "The same once the start has settled."),
    "verified_time_above_disturbance": (
        "",
        "For this share of the time the disturbance was above the largest measured.",
    ),
    "verified_time_above_quantile": ("", "For this share of the time it was above the quantile."),
}
"""Name -> (part of the certificate, what it says); the closed loop's part is named by its gains."""


def explained(certificate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every number with ``part``, ``name``, ``value``, ``unit``, ``norm``, ``label``, ``meaning`` and ``source``.

    What was found by a search stands as ``found`` beside the bound that it is for.
    """
    rows = list(_rows(certificate["entries"], ""))
    for tracking in certificate["tracking"]:
        rows += _rows(tracking["entries"], loop_named(tracking))
    return rows


def loop_named(tracking: Mapping[str, Any]) -> str:
    """Heading of the closed loop at its gains."""
    Gamma = tracking["entries"]["Gamma"]["value"]
    return f"The closed loop, trim at {Gamma:g} 1/s" if Gamma else "The closed loop without trim"


def tracking_lines(tracking: Mapping[str, Any]) -> list[str]:
    """What a certificate says of the closed loop at one choice of gains, in sentences for a pilot."""
    of = {name: entry["value"] for name, entry in tracking["entries"].items()}
    on, trim = tracking["measured_on"], f"with trim {of['Gamma']:g} 1/s" if of["Gamma"] else "without trim"
    lines = [
        f"Closed loop {trim}: a descent is off by at most {1e3 * of['height_worst']:.0f} mm in height at any moment "
        f"and {1e3 * of['height_settled']:.0f} mm from {of['settled_time']:g} s on, and touches down within "
        f"{of['vertical_speed_settled']:.2f} m/s of its speed, while the vertical force that nothing explains stays "
        f"below {of['disturbance_vertical']:.2g} N, and in the first {of['start_time']:g} s exceeds it by no more than "
        f"a push of {of['start_impulse_vertical']:.2g} N s: the largest in {on['flights']} flights ({on['what']}).",
    ]
    if "verified_flights" in of:
        lines.append(
            f"Of {of['verified_flights']} other flights {of['verified_violations']} left the envelope on |s| and "
            f"{of['verified_height_violations']} the bounds on height and vertical speed; the envelope is "
            f"{of['verified_envelope_over_worst_s']:.1f} times the worst |s| "
            f"({of['verified_envelope_over_worst_s_settled']:.1f} times from {of['settled_time']:g} s on), and the "
            f"force was above its {100 * of['quantile']:g} % quantile for "
            f"{100 * of['verified_time_above_quantile']:.2g} % of the time, above the largest for "
            f"{100 * of['verified_time_above_disturbance']:.2g} %."
        )
    return lines


def _rows(entries: Mapping[str, Any], loop: str) -> Iterator[dict[str, Any]]:
    for name, entry in entries.items():
        bare = name.removesuffix("_reached")
        if bare != name and bare in entries:
            continue
        part, says = SAYS.get(name, (SATURATED, "The slope along collective thrust where only these rotors follow it."))
        value, found = entry["value"], entries.get(f"{name}_reached", {"value": None})["value"]
        yield {
            "part": loop or part,
            "name": name,
            "value": str(value).lower() if isinstance(value, bool) else value,
            "unit": entry["unit"],
            "norm": entry["norm"],
            "label": entry["status"],
            "found": found,
            "meaning": says,
            "source": entry["source"],
        }
