"""Pages of tables and interactive figures in one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from neural_lander.flightlog.files import replacing

MISSING = "–"
Figure = dict[str, Any]
"""A plotly.js specification, ``data`` and ``layout``; a value that begins with ``--`` names a colour of the style."""


class Page:
    """Collects the figures' data; the sections hold only their places."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.scripts: dict[str, None] = {"page": None}

    def place(self, figure: Figure, size: str = "") -> str:
        """Markup of the place where a figure is drawn; ``size`` is a class of the style sheet."""
        self.figures.append(figure)
        return f'<div class="figure {size}" data-figure="{len(self.figures) - 1}"></div>'

    def widget(self, name: str, data: Any) -> str:
        """Markup of a place that the script ``template/<name>.js`` fills from JSON data."""
        self.scripts[name] = None
        return f'<div class="{name}"><script type="application/json">{_embedded(data)}</script></div>'

    def write(
        self, path: Path, title: str, subtitle: str, headline: Iterable[str], sections: Iterable[str]
    ) -> None:  # fmt: skip
        """Write the page, replacing the file as a whole.

        Parameters
        ----------
        title, subtitle, headline
            Plain text; the headline is a list of sentences, the first the most important.
        sections
            Markup, from :func:`section`; they may place figures while they are made.

        Raises
        ------
        UserError
            Where the file cannot be written.
        """
        from plotly.offline import get_plotlyjs

        made = "\n".join(sections)
        text = Template(_template("page.html")).substitute(
            title=escape(title),
            subtitle=escape(subtitle),
            headline="".join(f"<p>{escape(sentence)}</p>" for sentence in headline),
            sections=made,
            figures=_embedded(self.figures),
            style=_template("style.css"),
            script="\n".join(f"{{\n{_template(f'{name}.js')}\n}}" for name in self.scripts),
            plotly=get_plotlyjs(),
        )
        with replacing(path) as part:
            part.write_text(text, "utf-8")


def section(title: str, explanation: str, body: str) -> str:
    """One card of the page; ``body`` is markup."""
    return f"<section><h2>{escape(title)}</h2><p class=explanation>{escape(explanation)}</p>{body}</section>"


def plain_table(heads: Sequence[str], rows: Sequence[str], kind: str = "numbers") -> str:
    """HTML table of ready-made rows; ``kind`` is its class, ``numbers`` or ``text``; ``tight`` keeps words whole."""
    head = "".join(f"<th scope=col>{escape(h)}</th>" for h in heads)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def row(heads: Sequence[str], *cells: str) -> str:
    """One row of :func:`plain_table`; the cells are HTML, the first is the row's name."""
    rest = "".join(f'<td data-label="{escape(h)}">{c}</td>' for h, c in zip(heads[1:], cells[1:], strict=True))
    return f"<tr><th scope=row>{cells[0]}</th>{rest}</tr>"


def number(value: float | None) -> str:
    """Three significant digits without an exponent, at most three decimals; a dash for none."""
    if value is None or not math.isfinite(value):
        return MISSING
    digits = 3 if value == 0 else min(3, max(0, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:.{digits}f}"
    return "0" if float(text) == 0 else text


def _embedded(data: Any) -> str:
    # "</script>" inside a string would end the element
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")


def _template(name: str) -> str:
    return (resources.files("neural_lander.pages") / "template" / name).read_text("utf-8")
