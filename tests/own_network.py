"""Programs in a network of their own: an autopilot's firmware in software listens on all addresses."""

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def printed_by(module: str, *words: str) -> str:
    """What a module of ours prints, run with these words where nothing but the loop-back is up."""
    command = shlex.join([sys.executable, "-m", module, *words])
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", f"ip link set lo up && exec {command}"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
