"""The network's parts: standardised inputs folded away, embedded numbers, products of tastes and contents."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from propensity.fit_settings import FitSettings
from propensity.network import LIKINGS, NetworkSpec, PropensityNetwork
from propensity.number_embedding import UNITS, NumberEmbedding, number_columns

SPEC = NetworkSpec(customers=5, state=7, contents=3, candidates=4, members=3, width=8, numbers=2, bins=6, tastes=2)


def network(spec: NetworkSpec = SPEC, seed: int = 0) -> PropensityNetwork:
    """One whose weights, zero ones too, are drawn."""
    torch.manual_seed(seed)
    made = PropensityNetwork(spec)
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(0.3 * torch.randn_like(weights))
    columns, edges = number_columns(torch.randn(200, spec.customers), spec.bins)
    made.embedding.columns, made.embedding.edges = columns[: spec.numbers], edges[: spec.numbers]
    return made.eval()


def inputs(rows: int = 40, seed: int = 1) -> tuple[torch.Tensor, ...]:
    """Customers, state, contents, candidate, sent."""
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(rows, width, generator=g) for width in (5, 7, 3, 4)]
    return *parts, torch.rand(rows, generator=g) < 0.5


def test_training_on_standardised_features_is_folded_into_the_weights() -> None:
    people, state, contents, candidate, sent = inputs()
    trained = network()
    moments = (torch.randn(7), torch.rand(7) + 0.5), (torch.randn(4), torch.rand(4) + 0.5)
    (state_mean, state_scale), (mean, scale) = moments
    before = trained(
        trained.project_customers(people), (state - state_mean) / state_scale, contents, (candidate - mean) / scale,
        sent, None,
    )  # fmt: skip
    trained.absorb(*moments)
    after = trained(trained.project_customers(people), state, contents, candidate, sent, None)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, tastes=0), replace(SPEC, numbers=0, bins=0)])
def test_all_decisions_at_once_are_what_each_is_alone(spec: NetworkSpec) -> None:
    people, state, contents, _, _ = inputs()
    candidates = torch.randn(40, 3, 4)
    made = network(spec)
    projected = made.project_customers(people)
    together = made.forward_all(projected, state, contents[:3], candidates)
    for decision in range(4):
        content = max(decision - 1, 0)
        alone = made(
            projected, state, contents[content].expand(40, -1), candidates[:, content],
            torch.full((40,), decision > 0), None,
        )  # fmt: skip
        torch.testing.assert_close(together[:, decision], alone, rtol=1e-4, atol=1e-4)


def test_who_likes_what_is_a_product_that_a_hold_does_not_see() -> None:
    people, state, contents, candidate, sent = inputs()
    made, plain = network(), network()
    with torch.no_grad():
        plain.tastes.weight.zero_()
    args = (state, contents, candidate, sent, torch.zeros(40, dtype=torch.int64))
    added = made(made.project_customers(people), *args) - plain(plain.project_customers(people), *args)
    described = made.embedding(people)
    tastes = (described @ made.tastes.weight.T).view(40, SPEC.tastes, LIKINGS)
    liked = torch.einsum("nr,nrl->nl", contents @ made.kinds.weight.T, tastes)
    wanted = (liked @ made.likings.weight.T) * sent.unsqueeze(1)
    torch.testing.assert_close(added, wanted, rtol=1e-4, atol=1e-4)


def test_what_grows_with_a_feature_goes_on_growing_where_the_hidden_units_are_silent() -> None:
    made = network()
    with torch.no_grad():
        made.response.head.weight.zero_()
    people, state, contents, candidate, _ = inputs(1)
    sent, member, far = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 7)
    far[0, 2] = 100.0
    base = [
        made.base(made.project_customers(people)[:, : 8 + 5] + made.base.project(1, s), member)
        for s in (state, state + far)
    ]
    out = [made(made.project_customers(people), s, contents, candidate, sent, member) for s in (state, state + far)]
    moved = out[1] - out[0]
    moved = moved.index_add(1, made.base_columns, base[0] - base[1])  # type: ignore[arg-type]
    torch.testing.assert_close(moved[0], 100.0 * made.response.first[1].weight[8:, 2], rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=60), st.integers(1, 12))
def test_embedded_numbers_are_bounded_and_stay_finite_whatever_is_repeated(values: list[float], bins: int) -> None:
    column = torch.tensor(values).unsqueeze(1)
    columns, edges = number_columns(column, bins)
    assert len(columns) == int(len(column.unique()) > 2)
    made = NumberEmbedding(len(columns), bins)
    made.columns, made.edges = columns, edges
    out = made(torch.cat([column, torch.tensor([[-1e30], [1e30]])]))
    assert out.shape == (len(column) + 2, 1 + UNITS * len(columns))
    assert out[:, 1:].isfinite().all()
    if len(columns):
        low, high = made(column.min().view(1, 1))[0, 1:], made(column.max().view(1, 1))[0, 1:]
        torch.testing.assert_close(out[-2, 1:], low)  # beyond the trained range nothing changes
        torch.testing.assert_close(out[-1, 1:], high)


def test_flags_and_levels_are_not_embedded() -> None:
    table = torch.stack([torch.arange(30) % 2, torch.arange(30), torch.ones(30)], dim=1).float()
    assert number_columns(table, 4)[0].tolist() == [1]
    assert len(number_columns(table, 0)[0]) == 0


def test_what_is_left_open_follows_from_the_log_and_what_is_said_holds() -> None:
    open_settings = FitSettings()
    assert open_settings.for_log(one_shot=True).bins > open_settings.for_log(one_shot=False).bins == 0
    said = FitSettings(epochs=5, dropout=0.0, bins=7)
    assert said.for_log(one_shot=True).epochs == said.for_log(one_shot=False).epochs == 5
    assert (said.for_log(one_shot=True).dropout, said.for_log(one_shot=False).bins) == (0.0, 7)
