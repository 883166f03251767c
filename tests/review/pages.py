"""Reads a report as a browser would: its text, its tags, its figures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from review.report import write_report
from tests.review.run_folders import Parts, write_run

PLAIN = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2019": "'"})
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        text: what a reader sees, white space collapsed; true minus signs, dashes and quotes as those of a keyboard.
        tags: (tag, attributes) in their order.
        unbalanced: tags that were closed but not open, or never closed.
        figures: the SVG figures' source.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self._seen: list[str] = []
        self.feed(source)
        self.close()
        self.unbalanced += self._open
        self.text = " ".join(" ".join(self._seen).split()).translate(PLAIN)
        self.figures = re.findall(r"<svg.*?</svg>", source, flags=re.S)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self._open):
            self._seen.append(data)

    def attributes(self, name: str) -> list[str]:
        """All values of one attribute."""
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def page_of(folder: Path, parts: Parts, overrides: str = "- debug=fast\n") -> Page:
    """The report of a run folder with this content."""
    return Page(write_report(write_run(folder, parts, overrides)).read_text(encoding="utf-8"))
