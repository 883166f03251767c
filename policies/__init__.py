"""What decides: the policy contract, rules, and trained choosers that serve without their learners."""

from policies.policy import Policy, load_policy

__all__ = ["Policy", "load_policy"]
