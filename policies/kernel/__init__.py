"""Kernel methods: what an action earned in contexts that were alike."""
