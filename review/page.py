"""A page from a template: one self-contained file, everything that comes from a run escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def render_template(name: str, content: Mapping[str, Any]) -> str:
    """The page that a template makes of its content."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name).render(**content) + "\n"


def write_page(target: Path, page: str) -> Path:
    """Writes a page whole or not at all, in a folder that need not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_text(page, encoding="utf-8")
    part.replace(target)
    return target
