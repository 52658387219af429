"""The service: journal, learner and serving processes, and what supervises them."""
