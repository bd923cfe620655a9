"""Where a campaign's work is done: on this machine's cores by joblib, or on a cluster by Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from neural_lander.errors import UserError

DEATHS = 3  # of workers in a row, with nothing done between them, after which the fault is not the worker's
AHEAD = 4  # tasks per core that are handed to a cluster at once
REACHED_WITHIN = 10  # s, a scheduler that is there answers at once

Progress = Callable[[int, int], None]
"""(done, of)."""
Stage = Callable[[str, int, int], None]
"""(what, done, of)."""
Task = TypeVar("Task")
Result = TypeVar("Result")


class Pool(Protocol):
    """Does independent tasks."""

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results as they come, in any order. What a worker that dies had not handed over is done again.

        Raises
        ------
        UserError
            If the same work keeps killing workers, or the workers cannot be reached.
        """
        ...


@dataclass(frozen=True)
class LocalPool:
    """Processes of this machine; with one worker this process itself."""

    workers: int = 1

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See :class:`Pool`."""
        left, deaths = dict(enumerate(tasks)), 0
        while left:
            before = len(left)
            jobs = [delayed(_numbered)(work, k, task) for k, task in left.items()]
            found = Parallel(n_jobs=self.workers, return_as="generator_unordered", batch_size=1)(jobs)
            try:
                with closing(found):
                    for k, result in found:
                        del left[k]
                        yield result
            except TerminatedWorkerError as error:
                deaths = 1 if len(left) < before else deaths + 1
                if deaths == DEATHS:
                    raise UserError(
                        f"worker processes keep being killed (memory?): {len(left)} of {len(tasks)} tasks are left; "
                        f"try fewer --workers than {self.workers}"
                    ) from error


def _numbered(work: Callable[[Task], Result], k: int, task: Task) -> tuple[int, Result]:
    return k, work(task)


@dataclass(frozen=True)
class DaskPool:
    """Workers of a Dask scheduler; they need this program, the effects that are named, and no common disk."""

    address: str
    """Like ``tcp://10.0.0.1:8786``."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        try:
            whole = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
        except ValueError:  # no number of a port
            whole = False
        if not whole:
            raise UserError(f"--scheduler '{self.address}' must be tcp://HOST:PORT or tls://HOST:PORT")

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See :class:`Pool`."""
        from distributed import Client, KilledWorker, as_completed

        try:
            client = Client(self.address, timeout=REACHED_WITHIN, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UserError(f"--scheduler {self.address} does not answer as a Dask scheduler: {error}") from error
        with client:
            cores = sum(client.ncores().values())
            if not cores:
                raise UserError(f"--scheduler {self.address} has no workers: start dask worker {self.address}")
            waiting = iter(tasks)
            running = as_completed(
                [client.submit(work, task, pure=False) for _, task in zip(range(AHEAD * cores), waiting, strict=False)],
                loop=client.loop,
            )
            for future in running:
                try:
                    result = future.result()
                except KilledWorker as error:
                    raise UserError(f"workers of {self.address} keep being killed (memory?): {error}") from error
                for task in islice(waiting, 1):
                    running.add(client.submit(work, task, pure=False))
                yield result
