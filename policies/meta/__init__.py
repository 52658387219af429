"""Policies that mix other policies."""
