"""Reward models: what doubly robust estimators take q from, one way of keeping it from the rows it is asked about a file."""

from __future__ import annotations

from simulator.reward_models.cross_fitted import CrossFitted
from simulator.reward_models.progressive import Progressive
from simulator.reward_models.reward_model import RewardModel
from simulator.reward_models.weighted_ridge import MRDRWeight, WeightedRidge

__all__ = ["CrossFitted", "MRDRWeight", "Progressive", "RewardModel", "WeightedRidge"]
