"""Contents from templates and generators: what a grid gives, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from campaigns import content_generator
from campaigns.content_generator import generate
from campaigns.content_templates import ContentTemplate, expand
from campaigns.errors import CampaignError

GRID = ContentTemplate(
    id="{{ category }}_{{ offer_name }}_{{ tone_name }}",
    values={
        "category": ["fashion", "home"],
        "offer": {"none": {"words": "new", "discount": 0}, "fifth": {"words": "a fifth off", "discount": 0.2}},
        "tone": {"warm": "Dear friend", "plain": "Now"},
    },
    attributes={"category": "{{ category }}", "discount": "{{ offer.discount }}", "price": 30, "fresh": True},
    text="{{ tone }}: {{ offer.words }} in {{ category | upper }}",
    where="contents.templates[0]",
)


def changed(**parts: Any) -> ContentTemplate:
    """The grid with some parts exchanged."""
    return ContentTemplate(**{**vars(GRID), **parts})


def test_every_combination_gives_an_id_attributes_and_a_text() -> None:
    rows = expand(GRID)
    assert len(rows) == 8
    assert len({row["content_id"] for row in rows}) == 8
    assert rows[2] == {
        "content_id": "fashion_fifth_warm", "category": "fashion", "discount": 0.2, "price": 30, "fresh": True,
        "text": "Dear friend: a fifth off in FASHION",
    }  # fmt: skip
    assert isinstance(rows[0]["discount"], int)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"text": "{{ tonne }}"}, r"contents.templates\[0\].text: .*'tonne' is undefined; did you mean 'tone'\?"),
        ({"id": "{{ offer.nam }}"}, r"contents.templates\[0\].id: .*has no attribute 'nam'"),
        ({"attributes": {"price": "{{ 1 / 0 }}"}}, r"attributes.price: .*does not render: division by zero"),
        ({"text": "{{ tone "}, r"text: .*does not render: .*line 1"),
        ({"text": "{% for x in range(10**9) %}a{% endfor %}"}, "not allowed"),
        ({"text": "{{ 'a' * 1000000000 }}"}, "not allowed"),
        ({"text": "{% for x in range(99999999) %}a{% endfor %}"}, "does not render: Range too big"),
        ({"text": "{{ tone.__class__.__mro__ }}"}, "does not render"),
        ({"text": "{{ category | nosuchfilter }}"}, "does not render"),
        ({"values": {"category": []}}, "values.category: is empty"),
        ({"values": {"category": 3}}, "must be a list of values"),
        ({"values": {"a": list(range(30)), "b": list(range(30))}}, "30 a x 30 b are 900 contents; at most 500"),
    ],
)
def test_a_template_that_does_not_render_names_its_place_and_variable(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        expand(changed(**parts))


def write(settings: Mapping[str, Any], logged: pd.DataFrame) -> list[dict[str, Any]]:
    """A generator: one content for every category of the log."""
    return [{"content_id": f"{settings['prefix']}_{name}", "category": name} for name in logged["category"].unique()]


def fail(settings: Mapping[str, Any], logged: pd.DataFrame) -> list[dict[str, Any]]:
    """A generator that fails."""
    raise RuntimeError("no tokens left")


def nothing(settings: Mapping[str, Any], logged: pd.DataFrame) -> list[Any]:
    """A generator that returns what is no rows."""
    return settings.get("rows", [])


LOGGED = pd.DataFrame({"content_id": ["a", "b"], "category": ["x", "y"]})


def test_a_generator_gets_its_settings_and_the_logs_contents() -> None:
    rows = generate(f"{__name__}:write", {"prefix": "spring"}, LOGGED)
    assert rows == [{"content_id": "spring_x", "category": "x"}, {"content_id": "spring_y", "category": "y"}]


def test_a_generator_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "house_model"

        def load(self) -> Any:
            return write

    def points(group: str, name: str | None = None) -> list[Point]:
        assert group == "campaign_optimizer.contents"
        return [Point()] if name in (None, "house_model") else []

    monkeypatch.setattr(content_generator, "entry_points", points)
    assert len(generate("house_model", {"prefix": "p"}, LOGGED)) == 2
    with pytest.raises(CampaignError, match="there are house_model"):
        generate("other", {}, LOGGED)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nowhere:write", {}, "cannot be loaded .*No module named 'nowhere'"),
        (f"{__name__}:nowhere", {}, "cannot be loaded"),
        (f"{__name__}:LOGGED", {}, "is no function"),
        (f"{__name__}:fail", {}, "failed with RuntimeError: no tokens left"),
        (f"{__name__}:nothing", {}, "returned no content"),
        (f"{__name__}:nothing", {"rows": [3]}, "row 0 is int"),
        (f"{__name__}:nothing", {"rows": 3}, "failed with TypeError"),
    ],
)
def test_a_generator_that_fails_is_said(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        generate(name, settings, LOGGED)
