"""A process of its own that lets the sticks go where the one that flies has died or hangs. Python's own library alone.

It shares the port, and hears by a pipe, every few hundredths of a second, which frame lets the sticks go at that
moment. While the pipe is silent for too long, or once it is closed from the other end without a word, that frame is
written. It has no other use of the port: it reads nothing, and decides nothing about flight.
"""

import os
import select
import signal
import struct
import sys
import time

PATIENCE = 0.4  # s of silence; the program's own dead-man has 0.3 s
TIMES = 3  # the process that died may have left half a frame, which takes the next one with it
GAP = 0.02  # s between them, a guess
ROOM = 0.2  # s to wait for room on the line, a guess
HEAD = struct.Struct("<H")
"""Length of the frame that follows; 0 stands for none: the sticks are the pilot's."""


def watch(port: int, pipe: int, patience: float = PATIENCE) -> bool:
    """Until the pipe is closed; whether the sticks were let go. Both are file descriptors."""
    frame, pending, acted = b"", b"", False
    while True:
        if not select.select([pipe], [], [], patience if frame else None)[0]:
            let_go(port, frame)
            frame, acted = b"", True
            continue
        data = os.read(pipe, 65536)
        if not data:
            if frame:
                let_go(port, frame)
            return acted or bool(frame)
        pending += data
        while len(pending) >= HEAD.size:
            (length,) = HEAD.unpack_from(pending)
            if len(pending) < HEAD.size + length:
                break
            frame, pending = pending[HEAD.size : HEAD.size + length], pending[HEAD.size + length :]


def let_go(port: int, frame: bytes) -> None:
    """Write the frame a few times."""
    for _ in range(TIMES):
        try:
            if select.select([], [port], [], ROOM)[1]:
                os.write(port, frame)
        except OSError:
            return  # the port has gone
        time.sleep(GAP)


def main() -> None:
    """Of the process: descriptors of port and pipe are its arguments."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)  # it ends with the pipe
    watch(int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
