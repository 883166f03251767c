"""Evaluates a run's policies, or a new campaign: `evaluate.py run=FOLDER [campaign=FILE]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.cli import launch


def evaluate(config: Any, run_folder: Path) -> None:
    """Runs the stages up to the evaluation, writes `summary.json`, and prints what every policy earns.

    With `campaign=FILE` it judges that new campaign instead: on the log and with the models of `run=FOLDER`, or on the
    configured log (`data=log data.path=FOLDER`); `policy=FOLDER` is a saved policy that decides in it. It writes
    `campaign.json` and `campaign.html` to `out`, by default `campaigns/NAME` in the run folder.

    Raises:
        CampaignError: where the campaign, its policy or the log cannot be used.
    """
    from campaigns.errors import CampaignError

    if config.campaign is not None:
        judge_campaign(config, run_folder)
        return
    if config.policy_folder is not None:
        raise CampaignError(
            f"policy={config.policy_folder}: is for a new campaign, evaluate.py campaign=FILE policy=FOLDER; a run's "
            "own policies are evaluated by evaluate.py run=FOLDER."
        )
    from scripts.pipeline.pipeline import (
        evaluate_panel,
        fit_responses,
        open_study,
        play_panel,
        refuse,
        sum_up,
        train_agents,
    )
    from scripts.pipeline.table import print_values

    study = open_study(config, run_folder)
    fitted = fit_responses(study)
    agents = train_agents(study, fitted)
    summary = sum_up(study, fitted, evaluate_panel(study, fitted, agents, play_panel(study, fitted, agents)))
    print_values(summary)
    refuse(fitted, run_folder)


def judge_campaign(config: Any, run_folder: Path) -> None:
    """Judges the new campaign that `campaign` names; see `evaluate`."""
    from campaigns.campaign_spec import read_spec
    from review.campaign_page import write_campaign_page
    from scripts.pipeline.campaign_stage import answer_campaign
    from scripts.pipeline.campaign_table import print_campaign
    from scripts.pipeline.earlier_run import fit_to_log, open_run

    spec = read_spec(config.campaign)
    target = Path(config.out) if config.out else run_folder / "campaigns" / spec.name.replace(" ", "_")
    study, models = open_run(config, Path(config.run), target) if config.run else fit_to_log(config, run_folder)
    answer = answer_campaign(study, models, spec, target)
    page = write_campaign_page(target)
    print_campaign(answer)
    print(f"Answer: {target / 'campaign.json'}")
    print(f"Page: {page}")


if __name__ == "__main__":
    launch(evaluate, goes_on=True)
