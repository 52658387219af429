"""Redis: models and decisions, passed between servers. Nothing is in it that is not elsewhere. Only this package imports redis."""
