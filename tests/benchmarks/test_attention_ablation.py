"""Attention over the recent past: what it may see, and that it learns what counters cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.attention_ablation import BY_CONTENT, BY_MOMENT, COUNTERS, fit_version, head_losses
from benchmarks.recent_past import LATEST, make_recent_past
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.replay import DecisionRows, decision_rows
from propensity.fit_settings import FitSettings
from propensity.metrics import predict_rows
from tests.propensity.test_fit import catalogue, population
from tests.worlds import SmallWorld, small_world

FLAGS = ("opened", "clicked", "visited", "purchased", "unsubscribed")


def hand_made(decision: list[list[int]], happened: dict[tuple[int, int], dict[str, int]]) -> DecisionGrid:
    """A grid of decisions, with events by customer and slot: what happened, and what it is credited to."""
    table = np.array(decision, dtype=np.int32)
    flags = {name: np.zeros(table.shape, dtype=bool) for name in FLAGS}
    credited = {name: np.zeros(table.shape, dtype=np.int32) for name in FLAGS}
    for cell, events in happened.items():
        for name, content in events.items():
            flags[name][cell], credited[name][cell] = True, content
    yes = np.ones(table.shape, dtype=bool)
    outcomes = {name: values.astype(np.float32) for name, values in flags.items()}
    return DecisionGrid(0, table, np.full(table.shape, 0.5), yes, yes, outcomes, flags, credited)


def rows_at(customer: list[int], slot: list[int], decision: list[int]) -> DecisionRows:
    """Rows without features or outcomes."""
    empty = torch.zeros(len(slot), 0)
    weight = torch.ones(len(slot))
    whole = (torch.tensor(values) for values in (customer, slot, decision))
    return DecisionRows(*whole, empty, empty, {}, weight)


def test_tokens_are_earlier_sends_and_events_latest_first() -> None:
    # Content 1 goes out in slot 0 and is opened in slot 2; content 3 goes out in slot 3, at once bought.
    grid = hand_made([[1, 0, 0, 3, 0]], {(0, 2): {"opened": 1}, (0, 3): {"purchased": 3}})
    rows = rows_at([0, 0], [3, 4], [3, 0])
    tokens, there = make_recent_past(grid, population(), catalogue(), SlotClock(), rows).tokens(torch.arange(2))
    assert there.sum(dim=1).tolist() == [2, 3]
    attributes, sent, happened, daypart = tokens[..., :2], tokens[..., 2], tokens[..., 3:8], tokens[..., 8:12]
    assert attributes[1, :3].tolist() == [[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    assert sent[1, :3].tolist() == [1.0, 0.0, 1.0]
    assert happened[1, :3].tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert daypart[1, :3].argmax(dim=1).tolist() == [2, 1, 0]  # 12, 8 and 0 o'clock
    assert (tokens[1, 1, -2], tokens[1, 1, -1]) == (pytest.approx(2 ** (-8 / 24)), pytest.approx(2 ** (-8 / 96)))
    assert happened[0].tolist()[0] == [1, 0, 0, 0, 0]  # the purchase of its own slot is not known to the row of slot 3
    assert not tokens[~there].any()


def test_no_row_sees_its_own_or_later_slots() -> None:
    w = small_world()
    rows = decision_rows(w.grid, w.population, w.catalogue, w.log.clock, hold_share=0.05)
    for slot in (7, 20, 40):
        here = rows.take(rows.slot == w.grid.first_slot + slot)
        before = tokens_of(w, w.grid, here)
        assert torch.equal(before, tokens_of(w, scrambled(w.grid, from_slot=slot), here))
        assert not torch.equal(before, tokens_of(w, scrambled(w.grid, from_slot=slot - 1), here))


def scrambled(grid: DecisionGrid, from_slot: int) -> DecisionGrid:
    """The same log with other decisions and outcomes from a slot on."""
    generator = np.random.default_rng(0)

    def other(values: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed[:, from_slot:] = generator.integers(0, 2, changed[:, from_slot:].shape).astype(values.dtype)
        return changed

    tables = {
        name: {k: other(v) for k, v in getattr(grid, name).items()}
        for name in ("outcomes", "happened", "happened_content")
    }
    return replace(grid, decision=other(grid.decision), **tables)


def tokens_of(w: SmallWorld, grid: DecisionGrid, rows: DecisionRows) -> torch.Tensor:
    past = make_recent_past(grid, w.population, w.catalogue, w.log.clock, rows)
    return past.tokens(torch.arange(len(rows)))[0]


def test_only_the_latest_are_kept() -> None:
    slots = LATEST + 5
    rows = rows_at([0], [slots - 1], [1])
    past = make_recent_past(hand_made([[1] * slots], {}), population(), catalogue(), SlotClock(), rows)
    assert past.column[0].tolist() == [slots - 2 - back for back in range(LATEST)]


@pytest.mark.slow
def test_attention_learns_what_only_the_order_of_sends_tells() -> None:
    # Who was last sent content 1 buys in half of the slots, others in one of twenty; features say nothing of it.
    customers, slots = 400, 30
    generator = np.random.default_rng(1)
    decision = generator.integers(0, 4, (customers, slots))
    bought, last = np.zeros((customers, slots), dtype=np.float32), np.zeros(customers, dtype=np.int64)
    for slot in range(slots):
        bought[:, slot] = generator.random(customers) < np.where(last == 1, 0.5, 0.05)
        last = np.where(decision[:, slot] > 0, decision[:, slot], last)
    grid = hand_made(decision.tolist(), {})
    who, when = (torch.from_numpy(index.ravel()) for index in np.indices(decision.shape))
    chosen = torch.from_numpy(decision)[who, when]
    rows = rows_at(who.tolist(), when.tolist(), chosen.tolist())
    rows = replace(
        rows,
        state=torch.from_numpy(generator.normal(size=(len(who), 2)).astype(np.float32)),
        candidate=torch.zeros(len(who), 1),
        outcomes={"purchased": torch.from_numpy(bought)[who, when]},
    )
    people = population().take(torch.arange(customers))
    train, judge = rows.take(who % 2 == 0), rows.take(who % 2 == 1)
    loss = {}
    for version in (COUNTERS, BY_MOMENT, BY_CONTENT):
        parts = [make_recent_past(grid, people, catalogue(), SlotClock(), part) for part in (train, judge)]
        fitted = fit_version(version, train, parts[0], people, catalogue(), FitSettings(members=2, width=16), seed=0)
        seen = fitted.seen(judge, parts[1], catalogue())
        said = predict_rows(fitted.model, seen, people, catalogue())
        loss[version] = head_losses(said, seen, people, catalogue())["purchase"].mean()
    known = float(head_losses(None, judge, people, catalogue())["purchase"].mean())
    assert loss[COUNTERS] == pytest.approx(known, rel=0.05)
    assert loss[BY_MOMENT] < known - 0.08
    assert loss[BY_CONTENT] < known - 0.04  # what it says of the moment reaches sends alone
