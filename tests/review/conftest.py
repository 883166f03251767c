"""Reports of finished runs that several tests read."""

from __future__ import annotations

import pytest

from tests.review.pages import Page, page_of
from tests.review.run_folders import one_shot, sequential, wide


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a finished run."""
    return page_of(tmp_path_factory.mktemp("run"), sequential())


@pytest.fixture(scope="session")
def one_shot_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a finished run on a one-shot campaign."""
    return page_of(tmp_path_factory.mktemp("campaign"), one_shot())


@pytest.fixture(scope="session")
def wide_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run with weekly plans and two channels."""
    return page_of(tmp_path_factory.mktemp("wide"), wide())
