"""Configuration: one structured schema a Hydra group, and its YAML files."""
