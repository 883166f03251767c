"""What a person reads: the report of a run."""
