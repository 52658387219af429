"""`rankd status`: where a running service stands, and what its decisions earn."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from rankd.commands.connect import TIMEOUT, admin
from rankd.commands.estimates import Estimate, estimates
from rankd.v1 import admin_pb2 as api

if TYPE_CHECKING:
    from rankd.commands.connect import Service

_NAMES = {
    "reward": "reward",
    "baseline": "baseline",
    "exploration_cost": "exploration costs",
}


def status(service: Service, as_json: bool) -> int:
    with admin(service) as stub:
        reply = stub.Status(api.StatusRequest(app=service.app), timeout=TIMEOUT)
    sums = dict(zip(reply.sum_names, reply.sum_values, strict=True))
    found = estimates(sums, (reply.reward_min, reply.reward_max))
    if as_json:
        typer.echo(json.dumps(_as_json(reply, sums, found)))
    else:
        typer.echo("\n".join(lines(reply, sums, found)))
    return 0


def lines(reply: api.StatusReply, sums: dict[str, float], found: dict[str, Estimate]) -> list[str]:
    """The page."""
    counters = dict(zip(reply.counter_names, reply.counter_values, strict=True))
    page = [
        f"app {reply.app}: {reply.policy}, {reply.mode}, epoch {reply.epoch}",
        f"log      {reply.log_records:,} records, {reply.folded_records:,} folded",
        f"behind   the learner is {reply.lag_records:,} records ({reply.lag_seconds:.2f} s) behind the log",
        f"serving  model {reply.epoch}.{reply.served_version}",
        f"waiting  {reply.pending:,} decisions whose window is open",
    ]
    page += _policy(reply)
    page += _drift(reply)
    page += _nodes(reply)
    page += [f"ALARM    {alarm.id}: {alarm.text}" for alarm in reply.alarms]
    page.append("")
    width = max((len(name) for name in counters), default=0)
    page += [f"{name.replace('_', ' '):<{width}}  {value:>12,}" for name, value in counters.items()]
    n = int(sums.get("n", 0))
    page += ["", f"of {n:,} learned decisions, with 95% intervals (empirical likelihood):"]
    page += [_line(_NAMES[name], estimate) for name, estimate in found.items()]
    if n and reply.mode == "apprentice":
        page.append(f"the policy would have agreed with the baseline in {sums['agreed'] / n:.1%}")
    return page


def _policy(reply: api.StatusReply) -> list[str]:
    """What the policy tells of itself."""
    told = [
        f"{name} {value:.3g}"
        for name, value in zip(reply.policy_names, reply.policy_values, strict=True)
    ]
    return [f"policy   {', '.join(told)}"] if told else []


def _drift(reply: api.StatusReply) -> list[str]:
    """Where drift is watched for: how, and what was found."""
    if not reply.HasField("drift"):
        return []
    drift = reply.drift
    line = f"drift    {drift.detector} on {drift.on}, {drift.action}; {drift.detections:,} in {drift.learned:,} interactions"
    if drift.last:
        line += f", the last at {drift.last:,}"
    if drift.exploring_until:
        line += f"; exploring more until {drift.exploring_until:,}"
    return [line]


def _nodes(reply: api.StatusReply) -> list[str]:
    """Where several nodes share the log: who they are, what they have not sent on yet, which model they serve."""
    return [
        f"node     {node.host} ({node.role}{', publishes' if node.folder == reply.owner else ''}), "
        f"{node.journal_records:,} records, {node.unshipped_records:,} not in Kafka yet, "
        f"model {node.model_epoch}.{node.model_version}"
        for node in reply.nodes
    ]


def _line(name: str, estimate: Estimate) -> str:
    if estimate.value is None:
        return f"{name:<17}  unknown: {estimate.note}"
    figures = f"{estimate.value:>9.4f}  [{estimate.low:.4f}, {estimate.high:.4f}]"
    note = f"; {estimate.note}" if estimate.note else ""
    return f"{name:<17}  {figures}  {estimate.meaning}{note}"


def _as_json(
    reply: api.StatusReply, sums: dict[str, float], found: dict[str, Estimate]
) -> dict[str, Any]:
    plain = ("app", "policy", "mode", "epoch", "log_records", "folded_records", "served_version")
    more = ("lag_records", "lag_seconds", "pending", "reward_min", "reward_max")
    drift = {field.name: getattr(reply.drift, field.name) for field in api.Drift.DESCRIPTOR.fields}
    return {
        **{name: getattr(reply, name) for name in (*plain, *more)},
        "policy_report": dict(zip(reply.policy_names, reply.policy_values, strict=True)),
        "drift": drift if reply.HasField("drift") else None,
        "counters": dict(zip(reply.counter_names, reply.counter_values, strict=True)),
        "sums": sums,
        "alarms": {alarm.id: alarm.text for alarm in reply.alarms},
        "estimates": {name: asdict(estimate) for name, estimate in found.items()},
    }
