"""Policies that share one table of hashed weights among all actions."""
