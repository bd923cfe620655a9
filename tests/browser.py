"""What headless Chromium makes of a page."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PROBE = """<script>
const faults = [];
addEventListener("error", (e) => faults.push(String(e.message)));
console.error = (...words) => faults.push(words.join(" "));
addEventListener("load", () => {
  const root = document.documentElement;
  parent.postMessage(JSON.stringify({
    faults, width: root.scrollWidth, room: root.clientWidth,
    wider: [...document.querySelectorAll("section table")].filter((t) =>
      t.getBoundingClientRect().right > t.closest("section").getBoundingClientRect().right).length,
    plots: document.querySelectorAll(".figure svg.main-svg").length,
    lines: document.querySelectorAll(".figure path.js-line").length,
    bars: document.querySelectorAll(".figure .bars .point").length,
    painted: [...document.querySelectorAll("canvas")].filter((c) => c.width &&
      c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v)).length,
    tried: TRIED,
    fetched: performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:")),
  }), "*");
});
</script>"""
FRAME = """<!doctype html><iframe src="page.html" style="width:{width}px;height:4000px;border:0"></iframe><pre></pre>
<script>
addEventListener("message", (e) => {{ document.querySelector("pre").textContent = e.data; }});
</script>"""
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=10000 --window-size=1300,4000 --dump-dom"
)


def seen_by_browser(html: str, width: int, folder: Path, tried: str = "null") -> dict[str, Any]:
    """Errors, width, figures, lines, bars and what was fetched, in a window ``width`` pixels wide.

    ``tried`` is an expression in JavaScript whose value is asked for as well.
    """
    (folder / "page.html").write_text(html.replace("<head>", "<head>" + PROBE.replace("TRIED", tried)), "utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), "utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *OPTIONS.split(), f"--user-data-dir={folder / 'profile'}", (folder / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    report = re.search(r"<pre>(\{.*?\})</pre>", done.stdout, re.S)
    assert report, done.stdout[-500:]
    seen: dict[str, Any] = json.loads(report.group(1))
    return seen
