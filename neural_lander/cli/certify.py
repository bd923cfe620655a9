"""``neural-lander certify``: bound a bundle's network and its thrust iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from neural_lander.bundle import load_bundle
from neural_lander.certificate.document import certify as certificate_of
from neural_lander.cli.output import emit
from neural_lander.cli.tables import certificate_table


def certify(
    bundle: Annotated[Path, typer.Argument(help="Bundle written by train.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute a bundle's bounds again from its weights, and compare them with its certificate."""
    loaded = load_bundle(bundle)  # refuses a certificate that does not follow from the weights
    certificate = certificate_of(loaded.model, loaded.vehicle)
    verdict = "contracts" if certificate["contracts"] else "is not shown to contract"
    emit(
        {"bundle": bundle, **certificate},
        as_json,
        lambda: Group(
            Text(f"{bundle}: network on {loaded.vehicle.name}; the thrust iteration {verdict}"),
            certificate_table(certificate),
        ),
    )
