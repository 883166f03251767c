"""Stage `data`: simulate or read a log, check it, and write it as Parquet with its report."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from campaigns.alternatives import alternatives_check
from campaigns.audit import audit_log, hardly_by_chance
from campaigns.column_quality import column_quality
from campaigns.datasets import PUBLIC_SETS
from campaigns.datasets.public import find_public_set, read_public_set
from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.joined import JoinedLog, join_logs
from campaigns.leaks import leak_checks
from campaigns.log_reader import find_table
from campaigns.logs import CampaignLog, make_log, read_log, write_log
from campaigns.stability import stability_check
from conf.schema import RunConfig
from scripts.pipeline.context import log_settings
from scripts.pipeline.previous_run import KEPT, keep_previous, previous_digests
from scripts.pipeline.progress import StageProgress
from scripts.pipeline.stage import Stage, StageRunner, file_digest, write_json

LITTLE_CHANCE = (
    "decisions: by their action_prob chance decided only {:.1%} of the sends, so what others would have brought "
    "can hardly be learned, and at most a small blend can be recommended"
)


def data_stage(config: RunConfig, runner: StageRunner) -> Stage:
    """Runs the stage; its key holds the digests of the files that it reads."""
    settings = asdict(config.data) | {"margin_rate": config.objective.margin_rate}
    if config.data.source == "reference":
        settings["seed"] = config.seed
    # Where a file lies does not matter, only what it holds.
    settings["path"] = ""
    if config.previous:
        settings["previous_days"] = config.previous_days

    def work(folder: Path, progress: StageProgress) -> None:
        joined = _joined(config) if config.previous else None
        log = _make(config, progress) if joined is None else joined.log
        write_log(log, folder)
        grid = make_grid(log)
        alternatives, leaks, audit = alternatives_check(log, grid), leak_checks(log, grid), audit_log(log, grid)
        by_chance = hardly_by_chance(audit)
        chance = [] if by_chance is None else [LITTLE_CHANCE.format(by_chance)]
        columns = column_quality(log.users, "users") + column_quality(log.contents, "contents")
        report = log.report | {
            "warnings": [*log.report["warnings"], *alternatives["warnings"], *leaks["warnings"], *chance],
            "columns": columns,
            "audit": audit,
            "alternatives": alternatives,
            "leaks": leaks,
            "stability": stability_check(log, grid),
        }
        if joined is not None:
            report["joined"] = {"first_slot": joined.first_slot, **joined.parts}
            keep_previous(config, folder / KEPT)
        write_json(folder / "report.json", report)

    return runner.run("data", settings, (), work, show_as="data", inputs=_inputs(config))


def _make(config: RunConfig, progress: StageProgress) -> CampaignLog:
    if config.data.source in PUBLIC_SETS:
        return read_public_set(
            config.data.source, config.data.path, config.data.max_rejected, config.objective.margin_rate
        )
    if config.data.source == "log":
        return read_log(config.data.path, log_settings(config), config.objective.margin_rate)
    from envs.reference.channels import with_channels
    from envs.reference.simulate import simulate
    from envs.reference.variants import find_variant

    tables = simulate(
        with_channels(find_variant(config.data.variant, config.data.exploration), config.data.channels),
        config.data.customers,
        config.data.days,
        config.seed,
        config.data.slot_hours,
        timezone=config.data.timezone,
        progress=progress.update,
    )
    return make_log(tables, replace(log_settings(config), holds="logged"), config.objective.margin_rate)


def _joined(config: RunConfig) -> JoinedLog:
    """The previous run's log, with the new one behind it."""
    settings, margin_rate = log_settings(config), config.objective.margin_rate
    new = read_log(config.data.path, settings, margin_rate)
    earlier = read_log(Path(str(config.previous)) / "data", replace(settings, max_rejected=1.0), margin_rate)
    return join_logs(earlier, new, margin_rate, config.previous_days)


def _inputs(config: RunConfig) -> dict[str, str]:
    return _files(config) | (previous_digests(config) if config.previous else {})


def _files(config: RunConfig) -> dict[str, str]:
    if config.data.source == "reference":
        return {}
    if config.data.source in PUBLIC_SETS:
        file = find_public_set(config.data.source, config.data.path)
        return {file.name: file_digest(file)} if file is not None and file.is_file() else {}
    folder = Path(config.data.path)
    if not folder.is_dir():
        raise CampaignError(f"data.path={config.data.path!r} is no folder; give the folder that holds your log.")
    files = [find_table(folder, table) for table in ("users", "contents", "decisions", "events")]
    return {file.name: file_digest(file) for file in files if file is not None}
