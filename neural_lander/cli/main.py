"""The command ``neural-lander``: verbs are imported when they are run, and errors become one line."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from neural_lander import __version__
from neural_lander.errors import NeuralLanderWarning, UserError

USER_ERROR = 2  # exit code, the one that usage errors have
INTERRUPTED = 130  # 128 + SIGINT


@dataclass(frozen=True)
class Verb:
    """One verb: where it is and the line that the overview shows for it."""

    target: str
    """``module:name`` of a function, or of a ``typer.Typer`` with verbs of its own."""
    help: str


VERBS: Mapping[str, Verb] = {
    "demo": Verb("neural_lander.cli.demo:demo", "Collect, train, bound and land in PyBullet; write a report."),
    "collect": Verb("neural_lander.cli.collect:collect", "Fly in simulation and write flight logs to learn from."),
    "logs": Verb("neural_lander.cli.logs:app", "Look into flight logs: info, quality, convert, plot."),
    "train": Verb("neural_lander.cli.train:train", "Learn the residual force from flight logs; write a bundle."),
    "retrain": Verb("neural_lander.cli.retrain:retrain", "Learn on from new flights; list versions, roll back."),
    "evaluate": Verb("neural_lander.cli.evaluate:evaluate", "Judge a bundle on flight logs it has not seen."),
    "ablate": Verb("neural_lander.cli.ablate:ablate", "Compare choices of the model on flights and landings unseen."),
    "certify": Verb("neural_lander.cli.certify:certify", "Bound a bundle's network and its control loop."),
    "compare": Verb("neural_lander.cli.compare:compare", "Land every controller on the same plant, with statistics."),
    "tune": Verb("neural_lander.cli.tune:tune", "Choose every controller's gains by the same budget; for compare."),
    "fly": Verb("neural_lander.cli.fly:fly", "Fly, or watch, a real autopilot from a companion computer."),
    "calibrate": Verb("neural_lander.cli.calibrate:calibrate", "Measure thrust against throttle while a pilot hovers."),
    "emulate": Verb("neural_lander.cli.emulate:emulate", "Run an autopilot and its vehicle behind a pseudo-terminal."),
}

# Verb -> extras that it asks for beside the base install, for the whole of it.
NEEDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("demo", "compare", "tune"), ("train", "sim")),
    **dict.fromkeys(("collect", "emulate"), ("sim",)),
    **dict.fromkeys(("train", "retrain", "evaluate", "ablate", "certify"), ("train",)),
    "logs": ("logs",),
}

# Module that may be missing -> extras that bring it. What is not here belongs to the base install.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("scipy", "pandas", "joblib"), ("train", "sim")),
    "plotly": ("train", "sim", "logs"),
    "torch": ("train",),
    **dict.fromkeys(("pybullet", "pybullet_utils", "pyarrow", "gymnasium"), ("sim",)),
    "distributed": ("cluster",),
    "cvxpy": ("certify",),
    **dict.fromkeys(("pyulog", "rosbags", "matplotlib"), ("logs",)),
}


class Verbs(TyperGroup):
    """Lists the verbs from the table, and imports the one that is run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the placeholder of the verb by the command itself."""
        name, placeholder, rest = super().resolve_command(ctx, args)
        return name, placeholder if name is None else load(name), rest


class VerbCommand(TyperCommand):
    """A verb that says of a value which it refuses what was typed and what may be."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """See Typer; its newer versions name of value and range only the bound that was missed."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _in_full(error)
            raise


def load(name: str) -> Any:
    """Command of a verb, imported now."""
    module, attribute = VERBS[name].target.split(":")
    target = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name, cls=VerbCommand)(function)
    command = typer.main.get_command(target)
    command.name = name
    return command


def application() -> Any:
    """The command with all its verbs, none of them imported yet."""
    app = typer.Typer(
        name="neural-lander", cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )

    @app.callback(help="Landing control of quadrotors with learned, bounded aerodynamics.")
    def options(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    ) -> None:
        del version

    for name, verb in VERBS.items():
        app.command(name, help=verb.help)(_placeholder)
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the arguments are those of the process unless given.

    Returns
    -------
    int
        0, 2 where the input or the usage was at fault (one line on stderr, no traceback), 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.simplefilter("always", NeuralLanderWarning)
        warnings.showwarning = _one_line(warnings.showwarning)
        try:
            with _stdout_of(arguments):
                application()(arguments, prog_name="neural-lander")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if code == INTERRUPTED:
                sys.stderr.write("interrupted\n")
            return code
        except UserError as error:
            sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
            return USER_ERROR
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in EXTRAS:
                raise
            sys.stderr.write(f"error: {_remedy(arguments[0], missing)}\n")
            return USER_ERROR
    return 0


def _stdout_of(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Under ``--json`` stdout is for the one object alone, whatever a user's code prints."""
    if "--json" not in arguments:
        return nullcontext()
    from neural_lander.cli.output import stdout_for_results  # rich, which an error of usage does without

    return stdout_for_results()


def _placeholder() -> None:
    """Never run: stands in the list of verbs until one is resolved."""


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"neural-lander {__version__}\n")
        raise typer.Exit


def _in_full(error: typer.BadParameter) -> str:
    """The message of an error that pydantic found, with the value and its range."""
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return error.message
    low, high = getattr(error.param, "min", None), getattr(error.param, "max", None)
    bounds = {"from": low, "to": high} if None not in (low, high) else {"at least": low, "at most": high}
    words = " ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    if found[0]["type"] in ("greater_than_equal", "less_than_equal"):
        return f"{found[0]['input']} must be {words}"
    return f"{found[0]['input']!r}: {error.message}" + (f"; it must be {words}" if words else "")


def _remedy(verb: str, missing: str) -> str:
    if missing.startswith("pybullet") and sys.version_info >= (3, 12):
        running = "{}.{}".format(*sys.version_info)
        return f"{verb} needs pybullet, which has wheels up to Python 3.11 only (this is {running}): use Python 3.11"
    brings, whole = EXTRAS[missing], NEEDS.get(verb, ())
    extras = whole if set(whole) & set(brings) else brings[:1]
    return f"{verb} needs {missing}: pip install 'neural-lander[{','.join(extras)}]'"


def _one_line(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Show our own warnings as one line on stderr, all others as before."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, NeuralLanderWarning):
            sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")
        else:
            otherwise(message, category, filename, lineno, file, line)

    return show


if __name__ == "__main__":
    sys.exit(main())
