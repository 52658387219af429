"""Policies that learn a vector for each user and each item."""
