"""Linear bandits: ridge regressions of rewards, and what to try given how little is known."""
