"""The log on one machine: one SQLite file, one process that writes it."""
