"""What a campaign log says: tables, history, features, guardrails, objective. Imports nothing above it."""
