"""Wrong settings end in one line that says what may be there instead, with exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from campaigns.errors import CampaignError
from conf.schema import RunConfig
from scripts.cli import known_keys, launch
from scripts.pipeline.context import check_config
from tests.scripts.settings import composed


def leave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[int, str]:
    """Exit code and standard error of an entry point whose task is never to be reached."""

    def task(config: object, run_folder: Path) -> None:
        raise AssertionError("the settings were accepted")

    monkeypatch.setattr(sys, "argv", ["run.py", *overrides])
    GlobalHydra.instance().clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        launch(task)
    return int(left.value.code or 0), capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed=-1: must be at least 0"),
        ("seed=1.5", "could not be converted to Integer"),
        ("data.customers=-5", "data.customers=-5: must be at least 1"),
        ("data.days=0", "data.days=0: must be at least 1"),
        ("data.days=100000", "data.days=100000: must be at least 1 and at most 3660 days"),
        ("data.max_rejected=2", "data.max_rejected=2.0: must be at least 0 and at most 1"),
        ("data.attribution_hours=0", "data.attribution_hours=0.0: must be more than 0"),
        ("data.attribution_hours=nan", "data.attribution_hours=nan: must be a finite number"),
        ("objective.horizon_days=0", "objective.horizon_days=0: must be at least 1 and at most 366 days"),
        ("objective.horizon_days=100000", "objective.horizon_days=100000: must be at least 1 and at most 366 days"),
        ("objective.margin_rate=-1", "objective.margin_rate=-1.0"),
        ("objective.send_cost=nan", "objective.send_cost=nan: must be a finite number"),
        ("objective.unsubscribe_cost=-1", "objective.unsubscribe_cost=-1.0: must be at least 0"),
        ("objective.terminal=never", "objective.terminal='never': must be zero or continue"),
        ("guardrails.holdout=1", "guardrails.holdout=1.0"),
        ("guardrails.spacing_hours=inf", "guardrails.spacing_hours=inf"),
        ("propensity.members=0", "propensity.members=0: must be at least 1"),
        ("propensity.epochs=0", "propensity.epochs=0"),
        ("propensity.batch_size=0", "propensity.batch_size=0"),
        ("propensity.learning_rate=0", "propensity.learning_rate=0.0: must be more than 0"),
        ("propensity.hold_share=0", "propensity.hold_share=0.0: must be more than 0 and at most 1"),
        ("propensity.hold_share=1.5", "propensity.hold_share=1.5"),
        ("propensity.validation_share=0", "propensity.validation_share=0.0"),
        ("propensity.validation_share=1", "propensity.validation_share=1.0: must be more than 0 and less than 1"),
        ("market.margin=0", "market.margin=0.0: must be more than 0"),
        ("market.pessimism=-1", "market.pessimism=-1.0"),
        ("market.judge_customers=0", "market.judge_customers=0"),
        ("agent.ppo.rows=0", "agent.ppo.rows=0: must be at least 1"),
        ("agent.ppo.batch_size=0", "agent.ppo.batch_size=0"),
        ("agent.ppo.gamma=1.5", "agent.ppo.gamma=1.5"),
        ("agent.ppo.clip_range=0", "agent.ppo.clip_range=0.0"),
        ("agent.ppo.learning_rate=-0.1", "agent.ppo.learning_rate=-0.1"),
        ("agent.linucb.ridge=0", "agent.linucb.ridge=0.0: must be more than 0"),
        ("agent.linucb.window_hours=0", "agent.linucb.window_hours=0"),
        ("evaluation.draws=0", "evaluation.draws=0: must be at least 100"),
        ("evaluation.first_slots=0", "evaluation.first_slots=0"),
        ("evaluation.level=1", "evaluation.level=1.0: must be at least 0.5 and less than 1"),
        ("panel=[ppo,ppo]", "panel: ppo is there more than once"),
        ("panel=ppo", "write a list, such as panel=[ppo]."),
        ("data.channels=push", "write a list, such as data.channels=[push]."),
        ("+data.custmers=5", "data.custmers is no known key. Did you mean 'data.customers'?"),
        ("+sead=1", "sead is no known key. Did you mean 'seed'?"),
        ("guardrail=none", "Did you mean 'guardrails'?"),
        ("guardrails=nonne", "Did you mean 'guardrails/none'?"),
        ("agent=pppo", "Did you mean 'agent/ppo'?"),
        ("agent.ppo.lerning_rate=1", "Did you mean 'agent.ppo.learning_rate'?"),
        ("objective.horizon=28", "Did you mean 'objective.horizon_days'?"),
        ("experiment=ecomerce", "Did you mean 'experiment/ecommerce'?"),
        ("guardrails.channel_max_per_week={sms:9}", "guardrails.channel_max_per_week.sms=9: must be 0"),
        ("guardrails.channel_max_per_week=2", "write entries, such as {sms:1,email:2}"),
        ("guardrails.channel_max_per_week={sms:0.5}", "override guardrails.channel_max_per_week={sms:0.5}: Value"),
        ("guardrails.channel_max_per_wek={sms:1}", "Did you mean 'guardrails.channel_max_per_week'?"),
        ("debug=fst", "Did you mean 'debug/fast'?"),
        ("~data", "missing mandatory value: data"),
        ("data", "missing EQUAL"),
        ("data.customers=", "could not be converted to Integer"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, override: str, message: str
) -> None:
    code, errors = leave(monkeypatch, capsys, override, f"hydra.run.dir={tmp_path}")
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in errors
    assert "file://" not in errors


@pytest.mark.parametrize(("setting", "value"), [("channels", "[email]"), ("variant", "travel"), ("exploration", "0.5")])
@pytest.mark.parametrize("source", ["hillstrom", "log"])
def test_what_only_the_reference_market_reads_is_refused_with_other_data(source: str, setting: str, value: str) -> None:
    with pytest.raises(CampaignError, match=rf"data\.{setting}=.*data=reference alone .* data={source}"):
        check_config(composed(f"data={source}", f"data.{setting}={value}", "data.path=somewhere"))


def test_a_sweep_may_be_asked_for_behind_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found: list[int] = []
    behind = ["run.py", "debug=fast", "-m", "seed=3,4", f"hydra.sweep.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", behind)
    GlobalHydra.instance().clear()
    launch(lambda config, _: found.append(config.seed))
    assert found == [3, 4]


@pytest.mark.parametrize("plus", ["", "+"])
def test_caps_by_channel_are_set_with_and_without_a_plus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plus: str
) -> None:
    found: list[RunConfig] = []
    given, more = f"{plus}guardrails.channel_max_per_week={{sms:1,push:3}}", "guardrails.channel_max_per_week.email=2"
    monkeypatch.setattr(sys, "argv", ["run.py", given, more, f"hydra.run.dir={tmp_path}"])
    GlobalHydra.instance().clear()
    launch(lambda config, _: found.append(config))
    assert found[0].guardrails.channel_max_per_week == {"sms": 1, "push": 3, "email": 2}


def test_every_known_key_is_one_that_the_configuration_has() -> None:
    keys = known_keys()
    assert {"seed", "data.customers", "agent.ppo.learning_rate", "data/log", "experiment/travel", "debug/fast"} <= set(
        keys
    )
    assert len(keys) == len(set(keys))


def test_continuing_a_folder_that_is_no_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def task(config: object, run_folder: Path) -> None:
        raise AssertionError("the folder was accepted")

    monkeypatch.setattr(sys, "argv", ["train.py", f"run={tmp_path}"])
    with pytest.raises(SystemExit) as left:
        launch(task, goes_on=True)
    assert left.value.code == 2
    assert "no .hydra/overrides.yaml there; give the folder of an earlier run" in capsys.readouterr().err


@pytest.mark.parametrize("entry", ["run.py", "evaluate.py"])
def test_refused_settings_are_not_stored_with_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, entry: str
) -> None:
    where = f"run={tmp_path}" if entry == "evaluate.py" else f"hydra.run.dir={tmp_path}"
    stored = tmp_path / ".hydra" / "overrides.yaml"
    stored.parent.mkdir()
    stored.write_text("- seed=3\n", encoding="utf-8")
    reached: list[int] = []

    def task(config: RunConfig, run_folder: Path) -> None:
        if config.seed == 5:
            raise CampaignError("seed=5: is refused later on.")
        reached.append(config.seed)

    for override, message in (("seed=-1", "at least 0"), ("seed=5", "refused later on"), ("evaluation.level=2", "0.5")):
        monkeypatch.setattr(sys, "argv", [entry, where, override])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as left:
            launch(task, goes_on=entry == "evaluate.py")
        assert left.value.code == 2
        assert message in capsys.readouterr().err
        assert stored.read_text(encoding="utf-8") == "- seed=3\n"
    monkeypatch.setattr(sys, "argv", [entry, where, "seed=4"])
    GlobalHydra.instance().clear()
    launch(task, goes_on=entry == "evaluate.py")
    assert reached == [4]
    assert "seed=4" in stored.read_text(encoding="utf-8")  # what was accepted is
