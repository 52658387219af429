"""A peer as a service: what somebody builds in an afternoon from FastAPI and a bandit library. Runs in the peer's environment.

    python -m benchmarks.serve_peer_app LIBRARY PORT

One process of uvicorn (with uvloop and httptools), JSON in and out, one model in memory, trained before; no log, no probability
kept, nothing that survives a restart. Predictions run in the event loop, under a lock: a thread pool would cost more.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACTIONS = [f"action-{k}" for k in range(10)]
WIDTH = 32
TRAINED = 1_280
ALPHA = 0.3

Answer = dict[str, Any]


def history() -> tuple[list[list[float]], list[str], list[float]]:
    """Contexts, actions, rewards that a model has learned."""
    rng = random.Random(1)
    contexts = [[rng.gauss(0, 1) for _ in range(WIDTH)] for _ in range(TRAINED)]
    return contexts, rng.choices(ACTIONS, k=TRAINED), [rng.random() for _ in range(TRAINED)]


def mabwiser() -> Callable[[Sequence[float]], Answer]:
    """LinUCB, by the library's own quick start."""
    from mabwiser.mab import MAB, LearningPolicy

    contexts, actions, rewards = history()
    mab = MAB(ACTIONS, LearningPolicy.LinUCB(alpha=ALPHA))
    mab.fit(actions, rewards, contexts)
    return lambda context: {"action": mab.predict([context])}


def vowpalwabbit() -> Callable[[Sequence[float]], Answer]:
    """SquareCB on action-dependent features, text examples, the draw made here: as in VW's tutorial on contextual bandits."""
    from vowpalwabbit import Workspace

    vw = Workspace("--cb_explore_adf --squarecb -q ca --quiet")
    rng = random.Random(2)

    def example(context: Sequence[float], label: tuple[str, float] | None = None) -> str:
        shared = " ".join(f"{i}:{value:.6f}" for i, value in enumerate(context))
        lines = [f"shared |c {shared}"]
        for action in ACTIONS:
            cost = f"0:{-label[1]}:{1 / len(ACTIONS)} " if label and label[0] == action else ""
            lines.append(f"{cost}|a {action}")
        return "\n".join(lines)

    for context, action, reward in zip(*history(), strict=True):
        vw.learn(example(context, (action, reward)))

    def predict(context: Sequence[float]) -> Answer:
        pmf = vw.predict(example(context))
        (chosen,) = rng.choices(range(len(ACTIONS)), pmf)
        return {"action": ACTIONS[chosen], "probability": pmf[chosen]}

    return predict


def serve(library: str, port: int) -> None:
    """Serves until killed; says so on standard output."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    predict = {"mabwiser": mabwiser, "vowpalwabbit": vowpalwabbit}[library]()
    lock = asyncio.Lock()

    class Question(BaseModel):
        context: list[float]

    async def rank(question: Question) -> Answer:
        async with lock:
            return predict(question.context)

    # Annotations are text here, and the class is not global.
    rank.__annotations__ = {"question": Question, "return": Answer}
    app = FastAPI()
    app.post("/rank")(rank)
    app.router.on_startup.append(lambda: print("serving", flush=True))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
