"""Worlds that answer decisions: the learned market, the reference truth, and their Gymnasium face."""
