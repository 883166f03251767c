"""Learners: PPO on the device, contextual bandits, and the search for the best rule."""
