"""Any River estimator as a model of rewards, saved without pickles."""
