"""The purchase-propensity network: what customers do when a content is, or is not, sent now."""
