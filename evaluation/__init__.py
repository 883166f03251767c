"""What a policy is worth: rollouts in worlds, estimates from logs, intervals, diagnostics, verdicts."""
