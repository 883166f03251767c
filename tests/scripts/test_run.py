"""The command line as a user meets it: exit codes, messages, caching, resuming after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ["debug=fast", "data.customers=150", "market.judge_customers=60", "agent.ppo.steps=16384"]


def command(*overrides: str, script: str = "run") -> list[str]:
    """The command of an entry point."""
    return [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *overrides]


def environment(cache: Path) -> dict[str, str]:
    """The environment of a run with its own cache."""
    return {**os.environ, "CAMPAIGN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def run(cache: Path, *overrides: str, script: str = "run") -> subprocess.CompletedProcess[str]:
    """Runs an entry point to its end."""
    return subprocess.run(
        command(*overrides, script=script),
        capture_output=True,
        text=True,
        cwd=cache,
        env=environment(cache),
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one finished run in `first`."""
    cache = tmp_path_factory.mktemp("cache")
    done = run(cache, *TINY, f"hydra.run.dir={cache}/first")
    assert done.returncode == 0, done.stderr
    return cache


def test_a_run_leaves_everything_that_others_script_against(finished: Path) -> None:
    folder = finished / "first"
    for name in (
        ".hydra/config.yaml",
        "data/report.json",
        "data/decisions.parquet",
        "propensity/metrics.json",
        "propensity/families.json",
        "propensity/coefficients.csv",
        "market/gate.json",
        "agents/ppo/policy/policy.json",
        "policy/policy.json",
        "evaluation/behaviour.json",
        "report.html",
        "manifest.json",
        "summary.json",
    ):
        assert (folder / name).is_file(), name
    summary = json.loads((folder / "summary.json").read_text())
    assert {p["name"] for p in summary["policies"]} >= {"incumbent", "never", "ppo", "linucb", "best_rule"}
    assert summary["horizon_days"] == 7
    assert isinstance(summary["recommended"], bool)
    text = (folder / "summary.json").read_text()
    assert "NaN" not in text
    assert str(finished) not in text


def test_the_same_seed_gives_the_same_summary_from_an_empty_cache(finished: Path, tmp_path: Path) -> None:
    again = run(tmp_path, *TINY, f"hydra.run.dir={tmp_path}/again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "summary.json").read_bytes() == (finished / "first" / "summary.json").read_bytes()


def test_a_second_run_takes_its_stages_from_the_cache(finished: Path) -> None:
    again = run(finished, *TINY, f"hydra.run.dir={finished}/second")
    assert again.returncode == 0, again.stderr
    assert "begins" not in again.stdout + again.stderr
    assert (finished / "second" / "summary.json").read_bytes() == (finished / "first" / "summary.json").read_bytes()


def test_a_saved_policy_decides_for_other_customers_from_the_command_line(finished: Path, tmp_path: Path) -> None:
    import pandas as pd

    data = finished / "first" / "data"
    users = pd.read_parquet(data / "users.parquet").head(12).assign(user_id=lambda t: "new" + t["user_id"])
    users.to_csv(tmp_path / "users.csv", index=False)
    done = run(
        finished, f"run={finished}/first", f"users={tmp_path}/users.csv", f"contents={data}/contents.parquet",
        "time=2025-04-10T16:00", f"out={tmp_path}/decisions.csv", f"hydra.run.dir={tmp_path}/decide", script="decide",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(tmp_path / "decisions.csv")
    assert list(frame.columns) == ["user_id", "content_id", "action_prob", "reason"]
    assert len(frame) == 12


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.custmers=5"], "data.customers"),
        (["data.customers=many"], "many"),
        (["data=referense"], "data/reference"),
        (["seeed=1"], "seed"),
        (["propensity=gdbt"], "propensity/gbdt"),
        (["propensity.kind=logistik"], "Did you mean 'logistic'"),
        (["propensity=gbdt", "propensity.gbdt.leafs=4"], "propensity.gbdt.leaves"),
        (["agent.ppo.lerning_rate=1"], "learning_rate"),
        (["panel=[pppo]"], "must be one of ppo, linucb"),
        (["objective.outcome=happiness"], "value, revenue"),
        (["guardrails.quiet_from=31"], "guardrails.quiet_from=31"),
        (["guardrails.max_per_week=99"], "guardrails.max_per_week=99"),
        (["data.variant=wonderland"], "ecommerce, banking"),
        (["data=log"], "data.path"),
        (["data=log", "data.path=nowhere"], "nowhere"),
        (["data.customers=3"], "at least 50 customers"),
        (["policy.mode=wild"], "sampled, greedy"),
        (["policy.exploration=2"], "policy.exploration"),
        (["device=abacus"], "auto, cpu, cuda"),
        (["data.slot_hours=5"], "data.slot_hours=5"),
        (["data.timezone=Mars"], "data.timezone"),
    ],
)
def test_bad_settings_end_in_one_clear_message_and_exit_code_2(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    done = run(tmp_path, *overrides, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3


def test_stage_scripts_go_on_with_a_run_to_the_same_summary(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fitted = run(finished, *TINY, f"hydra.run.dir={folder}", script="fit")
    assert fitted.returncode == 0, fitted.stderr
    assert "Market gate" in fitted.stdout
    assert not (folder / "agents").exists()
    trained = run(finished, f"run={folder}", script="train")
    assert trained.returncode == 0, trained.stderr
    assert (folder / "agents" / "ppo" / "policy" / "policy.json").is_file()
    evaluated = run(finished, f"run={folder}", script="evaluate")
    assert evaluated.returncode == 0, evaluated.stderr
    assert (folder / "summary.json").read_bytes() == (finished / "first" / "summary.json").read_bytes()


@pytest.mark.parametrize("family", [pytest.param("logistic", marks=pytest.mark.slow), "gbdt"])
def test_other_families_run_the_whole_pipeline_to_a_served_policy(finished: Path, tmp_path: Path, family: str) -> None:
    import pandas as pd

    from policies import load_policy

    done = run(finished, *TINY, f"propensity={family}", "panel=[propensity_greedy]", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    assert json.loads((folder / "propensity" / "train" / "model.json").read_text())["kind"] == family
    families = json.loads((folder / "propensity" / "families.json").read_text())
    assert families["market"] == family
    assert (folder / "propensity" / "train" / "coefficients.csv").is_file() == (family == "logistic")
    policy = load_policy(folder / "agents" / "propensity_greedy" / "policy")
    users, contents = (pd.read_parquet(folder / "data" / f"{name}.parquet") for name in ("users", "contents"))
    frame = policy.start(users, contents).decide("2025-04-10T16:00")
    assert len(frame) == 150


def test_going_on_with_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, f"run={tmp_path}/nothing", script="train")
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_manifest_names_what_every_stage_was_made_from(finished: Path) -> None:
    manifest = json.loads((finished / "first" / "manifest.json").read_text())
    assert {"config", "code", "versions", "stages"} <= set(manifest)
    stages = {stage["name"]: stage for stage in manifest["stages"]}
    assert stages["propensity/train"]["after"] == {"data": stages["data"]["key"]}
    assert all(len(stage["results"]) == 20 and len(stage["settings"]) == 20 for stage in stages.values())


def test_what_a_person_changes_in_a_run_folder_does_not_reach_the_cache(finished: Path) -> None:
    file = finished / "first" / "propensity" / "metrics.json"
    stages = json.loads((finished / "first" / "manifest.json").read_text(encoding="utf-8"))["stages"]
    key = next(stage["key"] for stage in stages if stage["name"] == "propensity/metrics")
    kept = finished / "propensity-metrics" / key / "metrics.json"  # other runs of this module share the cache
    before = kept.read_bytes()
    assert file.read_bytes() == before
    shown = file.read_bytes()
    try:
        with file.open("a") as stream:
            stream.write("edited")
        assert kept.read_bytes() == before
    finally:
        file.write_bytes(shown)


def test_help_answers(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "guardrails" in done.stdout


def test_a_market_that_fails_the_gate_ends_with_code_3_and_saves_everything(tmp_path: Path) -> None:
    done = run(tmp_path, *TINY, "market.gate=strict", "propensity.epochs=1", "propensity.learning_rate=0.5",
               "market.margin=0.0001", f"hydra.run.dir={tmp_path}/run")  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["market"]["gate"] == "fail"
    assert not summary["recommended"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "policy" / "policy.json").is_file()


def kill_when(cache: Path, pattern: str, *overrides: str) -> str:
    """Starts a run and kills it (SIGKILL) once its output matches. Returns the output until then."""
    process = subprocess.Popen(
        command(*overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cache,
        env=environment(cache),
    )
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(pattern, line):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    return seen


STAGES = (
    "data", "propensity/train", "propensity/judge", "propensity/incumbent", "propensity/metrics", "market",
    "agents/ppo-train", "agents/linucb-train", "agents/best_rule-train", "evaluation/incumbent", "evaluation/ppo",
    "evaluation/offline", "propensity/all",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_killed_in_any_stage_resumes_to_the_same_summary(
    finished: Path, tmp_path: Path, stage: str
) -> None:
    folder = tmp_path / "run"
    seen = kill_when(tmp_path, rf"stage {stage}: begins", *TINY, f"hydra.run.dir={folder}")
    assert f"stage {stage}: begins" in seen or stage == "propensity/all"
    done = run(tmp_path, *TINY, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert (folder / "summary.json").read_bytes() == (finished / "first" / "summary.json").read_bytes()
    if stage != "data":
        assert "stage data: from the cache" in done.stdout + done.stderr


def test_training_that_is_killed_goes_on_from_its_checkpoint(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(*TINY, f"hydra.run.dir={folder}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
        env=environment(tmp_path),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("agents-ppo-train/*.partial/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run(tmp_path, *TINY, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"agents/ppo-train: resumed from step [\d,]+ of 16,384", done.stdout + done.stderr)
    assert (folder / "summary.json").read_bytes() == (finished / "first" / "summary.json").read_bytes()


def test_an_interrupt_leaves_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(*TINY, f"hydra.run.dir={tmp_path}/run"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "propensity-train").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "hydra.run.dir" in errors
    assert "Traceback" not in errors
