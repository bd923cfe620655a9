"""A folder of files that is there as a whole or not at all, whenever the process that writes it is stopped.

The new folder is written beside the old one, and the two names are exchanged in one step that the kernel makes whole
(``renameat2`` with ``RENAME_EXCHANGE`` on Linux, ``renamex_np`` with ``RENAME_SWAP`` on macOS). Where the system or
the file system has neither, the old folder is renamed away and the new one into its place; stopped between these two,
nothing is at the path, and whoever opens it next puts the old folder back (:func:`recover`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from neural_lander.errors import UserError
from neural_lander.folder_identity import ATTEMPTS, held, identity, names_in

if sys.platform != "win32":  # there are no locks on folders there
    import fcntl

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux, fcntl.h and linux/fs.h
RENAME_SWAP = 2  # macOS, sys/stdio.h
NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)
SUFFIX = 8  # characters that tempfile.mkdtemp adds, none of them a dash
NEW, OLD = "new", "old"
"""Names within the staging folder."""


def check_destination(path: Path, ours: Collection[str], optional: Collection[str] = ()) -> None:
    """Refuse what :func:`replace_folder` would have to destroy: a file, or a folder with anything not ``ours``.

    Parameters
    ----------
    ours
        Files that are all there.
    optional
        Files that may be there.

    Raises
    ------
    UserError
        Naming what is in the way.
    """
    place = path.resolve()
    if not place.exists():
        return
    if not place.is_dir():
        raise UserError(f"{path} exists and is no folder: choose another name for the bundle")
    whole = "a bundle is replaced as a whole"
    if place == Path.cwd():
        raise UserError(f"{path} is the folder you are in, and {whole}: run this from another one")
    if os.path.ismount(place):
        raise UserError(f"{path} is a mount point, and {whole}: keep the bundle in a folder inside it")
    present = names_in(place)
    foreign = sorted(present - set(ours) - set(optional))
    if foreign or (present and not present >= set(ours)):
        found = foreign[0] if foreign else sorted(present)[0]
        raise UserError(
            f"{path} exists and is not a bundle (it holds '{found}'): choose another name, or empty it yourself"
        )


def replace_folder(
    path: Path, contents: Mapping[str, bytes], ours: Collection[str], optional: Collection[str] = ()
) -> None:
    """Put a folder of these files at ``path``, in place of a folder of such files if there is one.

    Raises
    ------
    UserError
        Where something else is at ``path``, or the place cannot be written; what was there is then as it was.
    """
    recover(path)
    check_destination(path, ours, optional)
    place = path.resolve()  # a link stays one: what it leads to is replaced
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _staging(place) as staging:
            new = staging / NEW
            new.mkdir()
            for name, data in contents.items():
                _write(new / name, data)
            _sync(new)
            _put(new, place, staging / OLD)
            _sync(place.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def read_folder(path: Path, names: Collection[str], optional: Collection[str] = ()) -> dict[str, bytes]:
    """The files of one folder, all from before or all from after any replacement that comes between.

    Raises
    ------
    OSError
        Of the file that is missing or cannot be read.
    """
    for attempt in range(ATTEMPTS):
        recover(path)
        with held(path) as before:
            try:
                contents = {name: (path / name).read_bytes() for name in names}
                contents |= {name: (path / name).read_bytes() for name in optional if (path / name).is_file()}
            except OSError:
                if identity(path) == before or attempt == ATTEMPTS - 1:
                    raise
                continue
            if identity(path) == before:
                return contents
    raise OSError(errno.EBUSY, "replaced again and again while it was read", str(path))


def recover(path: Path) -> None:
    """Put back the folder that a process renamed away and was stopped before it had put the new one there."""
    if path.exists():
        return
    place = path.resolve()
    with _alone_in(place.parent):
        for staging in _abandoned(place):
            if (staging / OLD).is_dir():
                with contextlib.suppress(OSError):  # somebody else put something there first, or nothing can be written
                    _clear(staging, place)
                return


def _put(new: Path, path: Path, aside: Path) -> None:
    """The folder ``new`` at ``path``; what was there is then at ``new`` or at ``aside``."""
    with _alone_in(path.parent):  # nobody else is the first to put one there
        if not path.is_dir():
            new.rename(path)
        elif not _exchange(new, path):
            _rename_twice(new, path, aside)


def _rename_twice(new: Path, path: Path, aside: Path) -> None:
    path.rename(aside)  # interrupted from here on, the staging folder's end puts it back
    new.rename(path)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step; False where this system or file system cannot.

    Raises
    ------
    OSError
        Where it could and failed.
    """
    names = os.fsencode(a), os.fsencode(b)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(*names, ctypes.c_uint(RENAME_SWAP))
        else:
            failed = libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], ctypes.c_uint(RENAME_EXCHANGE))
    except (OSError, TypeError, AttributeError):  # no such library, or a C library older than the call
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in NOT_SUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(b))


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to write in; locked while its process lives, and gone after it."""
    with _alone_in(path.parent):
        for left in _abandoned(path):
            _clear(left, path)
        staging = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        lock = _lock(staging)
    try:
        yield staging
    finally:
        _clear(staging, path)
        if lock is not None:
            os.close(lock)


def _clear(staging: Path, path: Path) -> None:
    """Remove a staging folder, but never the only copy of what belongs at ``path``."""
    if (staging / OLD).is_dir() and not path.exists():
        (staging / OLD).rename(path)
    shutil.rmtree(staging, ignore_errors=True)


def _abandoned(path: Path) -> list[Path]:
    """Staging folders of ``path`` whose process is gone; without locks, those that hold the old folder."""
    found = []
    entries = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    for staging in (entry for entry in entries if _is_staging(entry, path)):
        if sys.platform == "win32":
            found += [staging] if (staging / OLD).is_dir() else []
        elif (lock := _lock(staging)) is not None:
            os.close(lock)
            found.append(staging)
    return found


def _is_staging(folder: Path, path: Path) -> bool:
    """By name and content, so that a folder of the user's own is never taken for one."""
    suffix = folder.name.removeprefix(_prefix(path))
    if len(suffix) != SUFFIX or "-" in suffix or not folder.name.startswith(_prefix(path)) or not folder.is_dir():
        return False
    try:
        return {entry.name for entry in folder.iterdir()} <= {NEW, OLD}
    except FileNotFoundError:  # its process has just ended
        return False


@contextlib.contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """While staging folders in ``parent`` are made, looked for, or put in place.

    A new one is not locked for a moment, and a process that looks takes its lock for a moment.
    """
    lock = None
    with contextlib.suppress(OSError):  # no such folder, or no locks there
        if sys.platform != "win32":
            lock = os.open(parent, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Descriptor that holds the lock on a folder; None where another process holds it or there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _prefix(path: Path) -> str:
    return f".{path.name}-"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Names within a folder to the disk, so that a power cut cannot undo their order."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
