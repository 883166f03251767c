"""The command that judges a new campaign: a YAML file and a run or a log in, an answer and a page out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from campaigns.encoding import fit_encoder
from campaigns.guardrails import Guardrails
from campaigns.logs import write_log
from policies.greedy import PropensityGreedy
from policies.rules import CapDaypartContent
from scripts.cli import launch
from scripts.evaluate import evaluate
from scripts.pipeline.context import load_model
from scripts.pipeline.earlier_run import fit_to_log
from scripts.pipeline.stage import folder_digest
from tests.campaigns.logs_on_disk import clean_tables
from tests.review.pages import Page
from tests.scripts.settings import composed

ROOT = Path(__file__).resolve().parents[2]
QUICK = [
    "propensity.members=2", "propensity.width=8", "propensity.epochs=1", "evaluation.draws=100",
    "objective.horizon_days=3", "market.judge_customers=40",
]  # fmt: skip
NEW = {"id": "new", "category": "y", "discount": 0.15, "text": "<b>New</b> & shiny"}
LEAST: dict[str, Any] = {
    "name": "spring",
    "contents": {"logged": "all", "list": [NEW]},
    "policy": {"rule": {"cap": 2, "daypart": "any", "content": "rotate"}, "exploration": 0.5},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with models and one agent, fitted to a log of three contents; one customer gave no consent."""
    folder = tmp_path_factory.mktemp("campaign")
    tables = clean_tables(customers=120, days=5)
    tables["users"].loc[7, "consent_push"] = False
    lost = tables["decisions"]["user_id"] == "u007"
    tables["decisions"].loc[lost, ["content_id", "opened"]] = [None, 0]
    tables["decisions"].loc[lost, "action_prob"] = 1.0
    log = write_log(tables, folder / "log")
    overrides = ["data=log", f"data.path={log}", f"cache_dir={folder / 'cache'}", *QUICK]
    study, _ = fit_to_log(composed(*overrides), folder / "run")
    agent = study.make_policy("best_rule", CapDaypartContent(1, "evening", "a"), None, Guardrails(), plain=True)
    agent.save(folder / "run" / "agents" / "best_rule" / "policy")
    (folder / "run" / ".hydra").mkdir()
    (folder / "run" / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")
    return folder / "run"


def written(folder: Path, **changes: Any) -> Path:
    """A campaign's file with some keys exchanged."""
    file = folder / "spring.yaml"
    file.write_text(yaml.safe_dump({**LEAST, **changes}), encoding="utf-8")
    return file


def leave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `evaluate.py`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *overrides])
    GlobalHydra.instance().clear()
    capsys.readouterr()
    code = 0
    try:
        launch(evaluate, goes_on=True)
    except SystemExit as left:
        code = int(left.code or 0)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_campaign_on_a_run_gives_an_answer_and_a_page_and_leaves_the_run_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: folder_digest(p) for p in (run / "propensity", run / "data", run / ".hydra", run / "agents")}
    manifest = (run / "manifest.json").read_bytes()
    code, out, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={written(tmp_path)}")
    assert code == 0, err
    assert "What it would earn" in out
    assert {p.name: folder_digest(p) for p in (run / n for n in before)} == before
    assert (run / "manifest.json").read_bytes() == manifest
    answer = json.loads((run / "campaigns" / "spring" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["verdict"] in ("better", "worse", "cannot tell", "not identifiable")
    assert [c["content_id"] for c in answer["contents"]] == ["a", "b", "c", "new"]
    assert [c["new"] for c in answer["contents"]] == [False, False, False, True]
    assert sum(c["share_of_sends"] for c in answer["contents"]) == pytest.approx(1.0)
    assert answer["audience"]["judged"] == 60
    assert answer["offline"]["horizon_slots"] == 6
    assert answer["whole_horizon"]["offline"] is None
    assert "60 customers" in answer["whole_horizon"]["sentence"]
    assert "60 customers" in out
    assert set(answer["market"]["campaign"]["worlds"]) == {"train", "judge"}
    assert "no coverage is claimed" in answer["market"]["label"]
    assert answer["unlogged"]["new_contents"]["share_of_sends"] > 0
    assert answer["plan"]["holdout"] >= 0.05
    assert answer["plan"]["options"]
    assert all(row["customers"] >= 10 for row in answer["segments"]["rows"])
    source = (run / "campaigns" / "spring" / "campaign.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.unbalanced == []
    assert "<b>New</b> & shiny" in page.text  # shown as it is, tags and all
    assert not re.search(r"""(?:src|href)=["'](?!#)""", source)
    assert len(page.figures) >= 2


def test_the_same_question_gives_the_same_answer(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for name in ("one", "two"):
        done = leave(monkeypatch, capsys, f"run={run}", f"campaign={written(tmp_path)}", f"out={tmp_path / name}",
                     f"cache_dir={tmp_path / name}-cache")  # fmt: skip
        assert done[0] == 0, done[2]
        answers.append((tmp_path / name / "campaign.json").read_bytes())
    assert answers[0] == answers[1]


def test_a_category_never_sent_is_not_identifiable_and_days_after_the_log_are_judged_in_like_ones(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(
        tmp_path,
        contents=[{**NEW, "category": "garden"}],
        dates={"start": "2025-03-12", "end": "2025-03-13"},
        guardrails={"quiet_from": 0, "quiet_until": 0},
        segments="segment",
        policy={"rule": {"cap": 2, "content": "new"}},
    )
    code, out, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 0, err
    answer = json.loads((tmp_path / "out" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["verdict"] == "not identifiable"
    assert "category=garden" in answer["sentence"]
    assert answer["offline"]["value"] is None
    assert answer["blend"] == []
    assert answer["dates"]["days"] == 2
    assert answer["dates"]["in_log"] is False
    assert answer["dates"]["judged"][0].endswith("00:00")  # a short log: the same time of day
    assert [row["segment"] for row in answer["segments"]["rows"]] == ["segment = gold", "segment = silver"]
    assert any("lie after the log" in note for note in answer["notes"])
    assert any("garden never occurred in training" in note for note in answer["notes"])
    assert "not identifiable" in out


def test_all_days_of_a_campaign_of_logged_contents_are_judged_and_new_ones_are_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("evaluation.campaign_horizon", "scripts.pipeline.campaign_horizon"):
        monkeypatch.setattr(f"{module}.LEAST_CUSTOMERS", 50)
    answers = {}
    rule = {"rule": {"cap": 2, "daypart": "any", "content": "rotate"}, "exploration": 0.9}
    for name, contents in (("logged", {"logged": "all"}), ("new", {"logged": "all", "list": [NEW]})):
        file = written(tmp_path, contents=contents, policy=rule, segments="segment")
        code, out, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / name}")
        assert code == 0, err
        assert "From the log alone, over all 3 days" in out
        answers[name] = json.loads((tmp_path / name / "campaign.json").read_text(encoding="utf-8"))
    found = answers["logged"]["whole_horizon"]
    assert (found["slots"], found["days"], found["customers"]) == (18, 3.0, 60)
    assert found["judged"] == ["2025-03-03 00:00", "2025-03-06 00:00"]
    assert found["offline"]["estimator"] == "truncated DR"
    assert found["offline"]["diagnostics"]["slots_logged"] == 18
    assert answers["new"]["whole_horizon"]["verdict"] == "not identifiable"
    assert "contents that were never sent (new)" in answers["new"]["whole_horizon"]["sentence"]
    for answer in answers.values():  # one definition of the largest safe share
        assert answer["offline"]["blend"] == answer["safe_share"]


def test_days_in_the_log_are_judged_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, dates={"start": "2025-03-05T08:00", "end": "2025-03-05T20:00"}, audience="age >= 30")
    code, _, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 0, err
    answer = json.loads((tmp_path / "out" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["dates"]["judged"] == ["2025-03-05 08:00", "2025-03-05 20:00"]
    assert answer["dates"]["in_log"] is True
    assert answer["offline"]["horizon_slots"] == 3
    assert answer["audience"]["judged"] < 60


def test_a_saved_policy_decides_on_a_log_without_a_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, contents={"logged": "all"}, policy=None)
    log, cache, saved = run.parent / "log", run.parent / "cache", run / "agents" / "best_rule" / "policy"
    code, _, err = leave(
        monkeypatch, capsys, "data=log", f"data.path={log}", f"campaign={file}", f"policy={saved}",
        f"cache_dir={cache}", f"hydra.run.dir={tmp_path / 'job'}", *QUICK,
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads((tmp_path / "job" / "campaigns" / "spring" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["decided_by"] == "saved policy"
    assert any("if customers of this log taught it" in note for note in answer["notes"])
    sent = {c["content_id"]: c["share_of_sends"] for c in answer["contents"]}
    assert sent["b"] in (None, 0)


def test_a_policy_of_another_run_sees_customers_by_its_own_encoder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, cache = run.parent / "log", run.parent / "cache"
    study, models = fit_to_log(composed("data=log", f"data.path={log}", f"cache_dir={cache}", *QUICK), tmp_path / "run")
    greedy = PropensityGreedy(load_model(models.train.folder), study.objective)
    policy = study.make_policy("greedy", greedy, None, Guardrails(quiet_from=0, quiet_until=0), plain=True)
    other = fit_encoder(study.log.users.head(40), "users")
    assert other.digest() != study.user_encoder.digest()
    replace(policy, user_encoder=other).save(tmp_path / "policy")
    file = written(tmp_path, contents={"logged": "all"}, policy={"folder": str(tmp_path / "policy")})
    code, _, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 0, err


def test_an_agent_of_the_run_decides(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, contents={"logged": "all"}, policy={"agent": "best_rule"})
    code, _, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 0, err
    answer = json.loads((tmp_path / "out" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["decided_by"] == "agent best_rule of the run"
    assert answer["guardrails"]["quiet_from"] == 21


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "empty audience": ({"audience": "age > 200"}, "audience: 'age > 200' is true of none of the 120 customers"),
    "unknown column": ({"audience": "aeg > 20"}, "column 'aeg', which users does not have; did you mean 'age'"),
    "code": ({"audience": "__import__('os').system('true')"}, "is not allowed"),
    "past dates": ({"dates": {"start": "2025-03-01", "end": "2025-03-04"}}, "before the log's first day, 2025-03-03"),
    "end before start": ({"dates": {"start": "2025-03-09", "end": "2025-03-04"}}, "before it starts"),
    "overlapping dates": (
        {"dates": [{"start": "2025-03-04", "end": "2025-03-06"}, {"start": "2025-03-05", "end": "2025-03-07"}]},
        "overlaps the one from",
    ),
    "too many days": ({"dates": {"start": "2025-03-09", "end": "2027-03-09"}}, "span more than 366 days"),
    "template": (
        {"contents": {"templates": [{"id": "{{ offr }}", "values": {"offer": ["a"]}}]}},
        "contents.templates[0].id: '{{ offr }}' does not render: 'offr' is undefined; did you mean 'offer'?",
    ),
    "duplicate ids": ({"contents": [NEW, NEW]}, "id 'new' occurs more than once"),
    "missing attributes": ({"contents": [{"id": "new"}]}, "new lacks the attribute(s) category, discount"),
    "unknown guardrail": ({"guardrails": {"max_per_wek": 1}}, "did you mean 'max_per_week'"),
    "cap of an unknown channel": (
        {"guardrails": {"channel_max_per_week": {"fax": 1}}},
        "spring.yaml: guardrails.channel_max_per_week.fax: no content comes in this channel",
    ),
    "unknown content of a rule": (
        {"policy": {"rule": {"content": "neww"}}},
        "content='neww' is none of the campaign's contents; did you mean 'new'",
    ),
    "no agent": ({"policy": {"agent": "ppo"}}, "the run has no such agent. It has best_rule"),
    "policy folder": ({"policy": {"folder": "docs"}}, "docs: no policy.json there"),
    "policy missing": ({"policy": None}, "policy is missing; give a rule"),
    "unknown customer": ({"audience": {"customers": ["u001", "u999"]}}, "u999: no such customer in users (1 of 2)"),
    "ineligible customer": ({"audience": {"customers": ["u001", "u007"]}}, "u007: not eligible"),
    "unknown segment column": ({"segments": "segmnt"}, "users has no such column; did you mean 'segment'"),
    "segments of a column of ids": ({"segments": "user_id"}, "does not split customers into 2 to 8 groups"),
    "few customers": ({"audience": {"customers": ["u001"]}}, "at least 2 are needed"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_said_in_one_line_with_exit_code_2(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    changes, message = WRONG[name]
    file = written(tmp_path, **changes)
    code, _, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err
    assert len([line for line in err.strip().splitlines() if not line.startswith("[")]) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["campaign=nowhere.yaml"], "campaign=nowhere.yaml: there is no such file"),
        (["policy=outputs/nowhere"], "is for a new campaign, evaluate.py campaign=FILE policy=FOLDER"),
        (["policy=outputs/nowhere", "campaign=FILE"], "outputs/nowhere: no policy.json there"),
    ],
)
def test_wrong_command_lines_are_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    overrides: list[str], message: str,
) -> None:  # fmt: skip
    file = written(tmp_path)
    asked = [f"campaign={file}" if entry == "campaign=FILE" else entry for entry in overrides]
    code, _, err = leave(monkeypatch, capsys, f"run={run}", *asked)
    assert code == 2, err
    assert message in err


def test_a_run_folder_that_lacks_its_models_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "propensity" / "judge")
    code, _, err = leave(monkeypatch, capsys, f"run={copy}", f"campaign={written(tmp_path)}")
    assert code == 2
    assert "propensity/judge/model.json is missing" in err


@pytest.mark.slow
def test_a_one_shot_campaign_is_judged_without_a_market(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    tables = clean_tables(customers=4000, days=1)
    first = tables["decisions"]["time"].min()
    decisions = tables["decisions"][tables["decisions"]["time"] == first].reset_index(drop=True)
    sent = decisions["content_id"].notna()
    decisions["purchased"] = (generator.random(len(decisions)) < np.where(sent, 0.5, 0.1)).astype(int)
    decisions["value"] = 10.0 * decisions["purchased"]
    log = write_log(tables | {"decisions": decisions}, tmp_path / "log")
    file = written(
        tmp_path, contents={"logged": "all"}, policy={"rule": {"cap": 1, "content": "rotate"}, "exploration": 0.3},
        guardrails={"quiet_from": 0, "quiet_until": 0},
    )  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "scripts/evaluate.py", f"campaign={file}", "data=log", f"data.path={log}",
            f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'job'}", *QUICK,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "job" / "campaigns" / "spring" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["market"] is None
    assert answer["by_attributes"] is None
    assert answer["offline"]["estimator"] == "DR"
    assert answer["verdict"] == "better"
    assert answer["plan"]["chosen"]["customers"] > 1
    assert any(note.startswith("Without the one customer who moves it most, the gain") for note in answer["notes"])
    assert answer["offline"]["blend"] == answer["safe_share"] == 1.0
    page = (tmp_path / "job" / "campaigns" / "spring" / "campaign.html").read_text(encoding="utf-8")
    assert "market of the" not in page
    written(
        tmp_path, contents={"list": [{**NEW, "category": "x"}]}, policy={"rule": {"cap": 1, "content": "new"}},
        guardrails={"quiet_from": 0, "quiet_until": 0},
    )  # fmt: skip
    done = subprocess.run(done.args, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "job" / "campaigns" / "spring" / "campaign.json").read_text(encoding="utf-8"))
    assert answer["verdict"] == "cannot tell"  # never sent, of a known category
    assert answer["offline"]["value"] is None
    weighed = answer["by_attributes"]
    assert weighed["attributes"] == ["category"]
    assert abs(weighed["value"] - 5.0) < 1.0  # a send makes half of them buy for 10; holding, a tenth
    assert weighed["verdict"] == "better"


def test_the_example_of_the_guide_runs_on_the_reference_log(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "scripts/evaluate.py", "campaign=docs/examples/spring.yaml", "data.customers=150",
            "data.days=4", f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'job'}", *QUICK,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "job" / "campaigns" / "spring" / "campaign.html").stat().st_size > 10_000


def test_a_template_that_does_not_render_names_the_campaigns_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template = {"id": "x_{{ tone }}", "text": "{{ colour }}", "values": {"tone": ["a"]}}
    file = written(tmp_path, contents={"templates": [template]})
    code, _, err = leave(monkeypatch, capsys, f"run={run}", f"campaign={file}", f"out={tmp_path / 'out'}")
    assert code == 2
    assert "spring.yaml: contents.templates[0].text: '{{ colour }}' does not render" in err
