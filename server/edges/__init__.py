"""The ways in: a worker, its edge, and what is spoken there."""
