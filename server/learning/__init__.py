"""The learner: follows the log, folds it, keeps checkpoints, publishes snapshots."""
