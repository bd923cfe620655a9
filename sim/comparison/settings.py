"""How everybody in a comparison flew, in words and figures for results.json."""

from __future__ import annotations

from typing import Any

from neural_lander.control.estimate import DISTURBANCE_LIMIT
from neural_lander.control.touchdown import CONTACT_TIME, SPOOL_TIME, TouchdownLaw
from neural_lander.control.tracking import DEFAULT_TRIM_RATE
from sim.aerodynamics import name_of
from sim.comparison.campaign import Campaign
from sim.rigid_body import TIME_STEP


def settings(campaign: Campaign) -> dict[str, Any]:
    """What all of its flights share, whatever their task; JSON values."""
    plant, law = campaign.copies[0].plant, TouchdownLaw(resting_share=campaign.resting_share)
    return {
        "flights_per_controller": campaign.flights,
        "airframes": len(campaign.copies),
        "seed": campaign.seed,
        "omega_n_rad_s": campaign.omega_n,
        "gains": (
            f"Lambda = omega_n I, K_v = m omega_n I, trim Gamma = {DEFAULT_TRIM_RATE:g} 1/s, the same for every "
            f"controller; those that estimate a force limit it to {DISTURBANCE_LIMIT:g} of the weight along each axis"
        ),
        "effects": [name_of(effect) for effect in plant.effects],
        "sensor_noise": plant.noise.to_json(),
        "controller_step_s": TIME_STEP,
        "world": campaign.world,
        "touchdown": (
            f"contact for {CONTACT_TIME:g} s; while contact is felt thrust falls to {law.resting_share:.0%} "
            f"within {SPOOL_TIME:g} s, to {law.laid_share:.0%} once the ground is seen to carry, for every controller; "
            "without that cut all of them hop (--resting-share 1)"
        ),
        "intervals": (
            "95 %: of medians by Student's t over the airframes' medians, at least the bootstrap of airframes and then "
            "flights, which alone counts for one airframe or ten and more; Wilson for rates. Two "
            "figures are told apart where their intervals do not overlap"
        ),
    }
