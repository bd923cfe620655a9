"""``neural-lander retrain``: let a bundle learn from new flights, and keep the old one unless the new one is better."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from neural_lander.bundle import Bundle, load_bundle
from neural_lander.bundle_contents import bundle_contents
from neural_lander.bundle_files import check_bundle_destination, read_files, read_parts, write_files
from neural_lander.bundle_history import History, appended, read_history, version, with_history
from neural_lander.certificate import check
from neural_lander.cli.log_options import Columns, load_map
from neural_lander.cli.output import console, emit, progress
from neural_lander.cli.retrain_tables import history_table, retraining
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_logs
from neural_lander.flightlog.fitness import fit_for_learning, without_useless

if TYPE_CHECKING:
    from neural_lander.residual.retraining.manifest import Read

GATE_FAILED = 1  # exit code: the input was sound, the new model or a new log was not good enough
STAGES = ("old flights", "new flights", "fit", "domain", "judging", "certificate")

Stage = Callable[[str, float], None]


def retrain(
    bundle: Annotated[Path, typer.Argument(help="Bundle written by train; replaced only if every gate is passed.")],
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="LOG...", help="New flight logs, or folders of them.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder to find old logs in that were moved, by hash.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Log to take out again: its name, path or hash.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List the bundle's versions and change nothing.")] = False,
    rollback: Annotated[
        int | None, typer.Option(metavar="N", help="Restore version N of the history, byte for byte.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the fit, not of what judges it; default: the bundle's.")
    ] = None,
    columns: Columns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Learn on: fit on old and new flights, judge old and new model on flights neither saw, certify, then replace.

    Where the new flights are too few to judge by, as a landing or two are, all flights judge in turn, each by models
    that are fitted like the old and the new one without it.

    New logs that hold no height above the ground, or whose rates are too coarse, are left out, each with a warning.

    Gates: the new logs fit the vehicle and the old flights; near the ground the new model is at most 3 % worse, with
    95 % confidence; it contracts, as proved. If one fails, the bundle is left as it was.

    Exit code: 0 replaced; 1 a gate failed, such as a log whose numbers do not fit the vehicle or the old flights; 2 the
    input or the usage was at fault, such as a log that cannot be read, or that says it is of another vehicle or mass.
    """
    if (history or rollback is not None) and (paths or data or without or (history and rollback is not None)):
        raise UserError("--history and --rollback stand alone: give neither logs nor other options with them")
    if history:
        _list(bundle, as_json)
    elif rollback is not None:
        _roll_back(bundle, rollback, as_json)
    elif paths or without:
        _retrain(bundle, paths or [], data or [], without or [], seed, load_map(columns), as_json)
    else:
        raise UserError("nothing to do: name new flight logs, or a log to take out with --without")


def _retrain(
    path: Path,
    paths: Sequence[Path],
    folders: Sequence[Path],
    without: Sequence[str],
    seed: int | None,
    column_map: ColumnMap | None,
    as_json: bool,
) -> None:
    before = read_files(path)
    bundle, past = load_bundle(path), read_history(before, str(path))
    check_bundle_destination(path)
    with progress() as bars:
        tasks = {stage: bars.add_task(stage, total=1.0) for stage in STAGES}
        report, after = _learn(
            bundle,
            past,
            paths,
            folders,
            without,
            seed,
            column_map,
            lambda s, done: bars.update(tasks[s], completed=done),
        )
    if after is not None:
        note = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "event": "retrained",
            "added": [row["log"] for row in report["new_flights"]],
            "withdrawn": report["withdrawn"],
            "seed": report["seed"],
            "gates": report["gates"],
        }
        _replace(path, before, with_history(after, appended(past, after, note)))
        report["version"] = len(past.entries) + 1
    emit(report, as_json, lambda: retraining(report))
    if after is None:
        failed = "; ".join(f"{g['gate']}: {g['reason']}" for g in report["gates"] if not g["passed"])
        if without and not paths:
            failed += "; to take it out all the same, train a bundle without it"
        console.print(f"error: {path} is left as it was; gate failed: {failed}", soft_wrap=True, markup=False)
        raise typer.Exit(GATE_FAILED)


def _learn(
    bundle: Bundle,
    past: History,
    paths: Sequence[Path],
    folders: Sequence[Path],
    without: Sequence[str],
    seed: int | None,
    column_map: ColumnMap | None,
    stage: Stage,
) -> tuple[dict[str, Any], dict[str, bytes] | None]:
    """The report, and the four files that may replace the old ones; None where a gate failed."""
    from neural_lander.certificate.document import certified_slopes, certify
    from neural_lander.residual.retraining import manifest
    from neural_lander.residual.retraining import retrain as learning
    from neural_lander.residual.retraining.gates import CERTIFIED, Gate

    entries = manifest.withdraw(bundle.info["datasets"], without)
    options = learning.options_of(bundle, seed)
    in_use = manifest.active(entries)
    new_logs, ignored = learning.unknown_logs(_read(paths, bundle, column_map), entries)
    for one in ignored:
        _warn(f"{one['log']} is left out: {one['reason']}")
    if paths and not new_logs and not without:
        raise UserError("nothing new to learn from: the bundle knows every flight that was given")

    read = partial(manifest.read_again, column_map=column_map)
    old = learning.old_flights(bundle, in_use, manifest.find_logs(in_use, bundle.path, folders, read), options, stage)
    number = len(past.entries) + 1
    new, gate, rows = learning.check_new(bundle, old, new_logs, options, number, stage)
    report: dict[str, Any] = {
        "bundle": bundle.path, "vehicle": bundle.vehicle.name, "replaced": False, "version": len(past.entries),
        "seed": options.seed,
        "gates": [gate.as_json()], "new_flights": rows, "old_flights": len(old), "ignored": ignored,
        "withdrawn": list(without), "judged_on": None, "fit_report": None, "datasets": None, "certificate": None,
    }  # fmt: skip
    if not gate.passed:
        return report, None

    withdrawn, lost = _withdrawn(bundle, entries, folders, learning, options, read, stage)
    done = learning.refit(bundle, old, new, withdrawn, lost, options, stage)
    network = done.result.predictors.network
    slopes, thrusts = certified_slopes(
        network, bundle.vehicle, options.seed, lambda fraction: stage("certificate", fraction)
    )
    certificate = certify(network, bundle.vehicle, slopes, thrusts=thrusts)
    result = learning.with_withdrawn(done.result, entries)
    after = bundle_contents(result, certificate)
    wrong = list(check.problems(after))
    factor = certificate["entries"]["contraction_factor"]["value"]
    reason = f"contraction factor {factor:.3g}, below 1 is asked; {'; '.join(wrong) or 'the certificate checks'}"
    passed = bool(certificate["contracts"]) and not wrong
    gates = [gate, done.gate, Gate(CERTIFIED, passed, reason, {"contraction_factor": factor, "problems": wrong})]
    replaced = all(g.passed for g in gates)
    if replaced and bundle.certificate["tracking"]:
        _warn(
            "what was measured of the closed loop is about the old network, and is gone from the certificate: "
            "neural-lander certify --landings N measures the new one"
        )
    report |= {
        "replaced": replaced, "gates": [g.as_json() for g in gates], "judged_on": done.judged,
        "training_samples": result.training_samples, "split": result.split, "fit_report": result.fit_report,
        "datasets": result.datasets, "certificate": certificate,
    }  # fmt: skip
    return report, after if replaced else None


def _withdrawn(
    bundle: Bundle,
    entries: Sequence[Mapping[str, Any]],
    folders: Sequence[Path],
    learning: Any,
    options: Any,
    read: Read,
    stage: Stage,
) -> tuple[list[Any], bool]:
    """Flights that are taken out now, and whether they cannot be found."""
    from neural_lander.residual.retraining.manifest import TRAIN, WITHDRAWN, find_logs, role

    pairs = zip(bundle.info["datasets"], entries, strict=True)
    gone = [before for before, now in pairs if role(before) == TRAIN and role(now) == WITHDRAWN]
    try:
        return list(
            learning.old_flights(bundle, gone, find_logs(gone, bundle.path, folders, read), options, stage)
        ), False
    except UserError as error:
        _warn(f"the old model is compared as it is, which saw the flights that judge: {error}")
        return [], True


def _read(paths: Sequence[Path], bundle: Bundle, column_map: ColumnMap | None) -> list[FlightLog]:
    """Logs of files and folders that can be learned from.

    Raises
    ------
    UserError
        Where a file cannot be read, a log names another vehicle or mass, or none is left to learn from.
    """
    from neural_lander.residual.retraining.poison import check_vehicle

    logs = read_logs(paths, column_map=column_map) if paths else []
    for log in logs:
        check_vehicle(log, bundle.vehicle)
    wrong = [bool(fit_for_learning(log, bundle.vehicle).wrong) for log in logs]  # which the data gate refuses, by name
    others = [log for log, known in zip(logs, wrong, strict=True) if not known]
    left = without_useless(others, bundle.vehicle) if others else []
    return [*left, *(log for log, known in zip(logs, wrong, strict=True) if known)]


def _replace(path: Path, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    if read_files(path) != dict(before):
        raise UserError(f"{path} was changed while this ran, and is left as it is: run it again")
    write_files(path, after)
    load_bundle(path)


def _list(path: Path, as_json: bool) -> None:
    contents, *_ = read_parts(path)  # what is no bundle is no present version
    past = read_history(contents, str(path))
    versions = [{**entry, "restorable": past.restorable(entry)} for entry in past.entries]
    emit({"bundle": path, "present": len(versions), "versions": versions}, as_json, lambda: history_table(versions))


def _roll_back(path: Path, number: int, as_json: bool) -> None:
    before = read_files(path)
    past = read_history(before, str(path))
    restored = version(past, number)
    if wrong := next(check.problems(restored), None):
        raise UserError(f"--rollback {number}: that version does not pass the checks of today: {wrong}")
    note = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "event": f"rolled back to {number}"}
    _replace(path, before, with_history(restored, appended(past, restored, note)))
    result = {"bundle": path, "restored": number, "version": len(past.entries) + 1}
    emit(result, as_json, lambda: Text(f"{path}: version {number} is restored, as version {result['version']}"))


def _warn(text: str) -> None:
    warnings.warn(text, NeuralLanderWarning, stacklevel=3)
