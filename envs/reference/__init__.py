"""A written-down truth: customers whose laws are known, for tests and demos. Shares no code with any network."""
