"""The two ways in which a run ends early on purpose; `scripts/` turns them into exit codes."""


class CampaignError(Exception):
    """Bad input or a bad setting (exit code 2).

    The message names the file, column, row or setting, says what was got and expected, and names a remedy.
    It is shown to the user as it is, without a traceback.
    """


class MarketRefused(Exception):
    """The market gate refused: everything was saved, but no agent is recommended (exit code 3)."""
