"""An autopilot's firmware in software, as a process."""

import os
import subprocess
from pathlib import Path
from typing import Self


class Firmware:
    """It runs within ``with``, and can be started again."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self._command, self._folder, self._environment = command, folder, os.environ | environment
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Anew, if it runs."""
        self.stop()
        with (self._folder / "firmware.log").open("a") as log:
            self._running = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
