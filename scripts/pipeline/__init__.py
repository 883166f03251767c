"""From a log to a served policy, in stages that are cached by content."""
