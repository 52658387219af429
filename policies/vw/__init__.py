"""Vowpal Wabbit behind guards: which options run, how examples are written, how models are saved."""
