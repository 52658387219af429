"""Bandits that look at no context: the mean reward of each action, and a rule for what to try."""
