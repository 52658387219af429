"""What the demo's service runs with: one app, a policy by name, and a reward that always comes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import yaml

APP = "image-segments"
ROWS = 2_310  # of the data set; known here so that nothing has to start before `rounds` is checked

# Share of decisions spread over all actions. A log needs some for off-policy evaluation, and each share costs as much
# of the reward: with 7 actions .02 costs .017.
MIN_EXPLORATION = 0.02

PRESETS: dict[str, dict[str, Any]] = {
    "linucb": {"type": "linucb", "alpha": 0.5},
    # -q ci crosses the context with the action's id. VW's own steps (-l 0.5) and all crossings (-q ::) learn more slowly:
    # the last 500 rounds of seeds 1 to 20 earn .861 on average and .80 at least with these, from .66 with -q ::.
    "vw": {"type": "vw", "args": "--cb_explore_adf --squarecb -q ci -l 2"},
    "river": {"type": "river"},
}

# Records between two checkpoints. The demo's log has about 4,660, so that three are there to look at and to roll back to.
_CHECKPOINT_EVERY = 1_000


def configuration(policy: str, seed: int) -> str:
    """The demo's rankd.yaml. The port is left out: the demo takes a free one.

    Draws depend on the salt and on event ids; both come from the seed, so that runs with one seed differ
    only by what timing does to them.
    """
    salt = blake2b(f"rankd demo {seed}".encode(), digest_size=16).hexdigest()
    settings = {
        "apps": {
            APP: {
                "policy": PRESETS[policy],
                "min_exploration": MIN_EXPLORATION,
                "reward": {"min": 0.0, "max": 1.0, "always_sent": True},
                "salt": salt,
            }
        },
        "learner": {"checkpoint_every": _CHECKPOINT_EVERY},
    }
    return f"# Written by `rankd demo --policy {policy} --seed {seed}`.\n" + yaml.safe_dump(
        settings, sort_keys=False
    )
