"""``neural-lander certify``: bound a bundle's network and its thrust iteration, and write the certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from neural_lander.bundle import load_uncertified, replace_certificate
from neural_lander.certificate.document import certify as certificate_of
from neural_lander.certificate.evidence import proved_slopes
from neural_lander.cli.output import emit, progress
from neural_lander.cli.tables import certificate_table


def certify(
    bundle: Annotated[Path, typer.Argument(help="Bundle written by train; its certificate is replaced.")],
    seed: Annotated[int, typer.Option(help="Of the search for the steepest slopes.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Prove the tightest bounds we know, search for what is reached, and put the certificate into the bundle.

    Check it without this program: python -m neural_lander.certificate.check BUNDLE
    """
    network, vehicle = load_uncertified(bundle)
    with progress() as bars:
        task = bars.add_task("slopes", total=1.0)
        slopes = proved_slopes(network, vehicle, seed, lambda fraction: bars.update(task, completed=fraction))
    certificate = replace_certificate(bundle, certificate_of(network, vehicle, slopes)).certificate
    verdict = "contracts" if certificate["contracts"] else "is not shown to contract"
    emit(
        {"bundle": bundle, **certificate},
        as_json,
        lambda: Group(
            Text(f"{bundle}: network on {vehicle.name}; the thrust iteration {verdict}"),
            certificate_table(certificate),
        ),
    )
