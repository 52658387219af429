"""Makes a golden log from a real service: `python -m tests.golden.make POLICY FOLDER`.

The logs in this folder were written by the version that their names tell. They are never made anew: whatever comes
later has to fold them to the same state. Add new ones beside them.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rankd import Client
from server.exports.jsonl import write_jsonl
from server.learning.source import FolderSource
from tests.server.harness import Service

PRESETS = {
    "linucb": {"type": "linucb", "alpha": 0.5},
    "vw": {"type": "vw"},
    "river": {"type": "river"},
    "epsilon_greedy": {"type": "epsilon_greedy"},
}
EVENTS = 120


def scenario(client: Client, rng: random.Random) -> None:
    """What a log can hold: every kind of feature, exclusions, slots, retries, deferral, early and double rewards."""
    for i in range(EVENTS):
        event = f"event-{i}"
        context = {
            "number": rng.gauss(3, 2),
            "weird | name: \n\u2603": rng.random(),
            "colour": rng.choice(["red", "green"]),
            "taste": np.array([rng.random(), rng.random()], np.float32),
            "user": {"visits": rng.randrange(9), "tags": ["a", "b"][: rng.randrange(3)]},
        }
        ids = ["one", "two", "three", "four"][: rng.randrange(2, 5)]
        actions = {name: {"price": rng.random(), "kind": name[0]} for name in ids}
        if i % 17 == 3:
            client.reward(event, 0.25, reward_id="early")
        decision = client.rank(
            context,
            actions if i % 5 else ids,
            event_id=event,
            exclude=ids[:1] if i % 4 == 1 else (),
            slots=("top", "side") if i % 6 == 0 else (),
            k=2 if i % 6 == 3 and len(ids) > 2 else 0,
            defer_activation=i % 7 == 2,
        )
        if i % 14 == 2:
            client.activate(decision)
        reward = float(decision.action == ("one" if context["colour"] == "red" else "two"))
        if i % 3:
            client.reward(decision, reward, reward_id="first")
            client.reward(decision, reward, reward_id="first")  # a retry: counts once
        if i % 6 == 0:
            client.reward(decision, 0.5, slot="side", reward_id="side")
        if i % 10 == 9:
            client.reward(f"never-ranked-{i}", 1.0)
            time.sleep(0.2)


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    config = {
        "apps": {"default": {"policy": PRESETS[name], "reward": {"min": 0, "wait": "1s"}}},
        "learner": {"checkpoint_every": 50},
        "log": {"lateness": "200ms"},
    }
    with tempfile.TemporaryDirectory() as temporary:
        with Service(Path(temporary) / "data", config) as service:
            with Client(f"localhost:{service.port}", timeout=20) as client:
                scenario(client, random.Random(7))
            time.sleep(3)  # every window closes
        source = FolderSource(service.folder)
        with (folder / f"{name}.jsonl").open("wb") as file:
            write_jsonl(source, file)
        source.close()


if __name__ == "__main__":
    main()
