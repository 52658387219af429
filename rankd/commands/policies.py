"""`rankd policies`: what an app's policy can be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from policies import PolicyError
from policies.registry import find, names, summary
from rankd.commands import fail

if TYPE_CHECKING:
    from policies import Policy


def policies(name: str | None, as_json: bool) -> int:
    try:
        found = [find(each) for each in ([name] if name else names())]
    except PolicyError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps({policy.name: description(policy) for policy in found}))
        return 0
    console = Console(highlight=False, soft_wrap=False)
    for policy in found:
        _show(console, policy, settings=name is not None)
    if name is None:
        console.print(
            "`rankd policies NAME` shows a policy's settings. docs/policies.md helps to choose."
        )
    return 0


def description(policy: type[Policy]) -> dict[str, Any]:
    """All that is said of a policy."""
    about = policy.about._asdict() if policy.about else {}
    return {"summary": summary(policy), **about, "settings": _settings(policy)}


def _settings(policy: type[Policy]) -> dict[str, dict[str, Any]]:
    """Default and meaning of each setting."""
    return {
        name: {
            "default": json.loads(json.dumps(field.get_default(call_default_factory=True))),
            "meaning": field.description or "",
            "structural": name in policy.structural,
        }
        for name, field in policy.Settings.model_fields.items()
    }


def _show(console: Console, policy: type[Policy], settings: bool) -> None:
    def line(text: str, indent: int = 4) -> None:
        console.print(Padding(text, (0, 0, 0, indent)))

    console.print(f"[bold]{policy.name}[/bold]")
    said = description(policy)
    line(escape(said["summary"]))
    for word, part in (("use it", "when"), ("explores", "exploration"), ("paper", "paper")):
        if part in said:
            line(f"[dim]{word}:[/dim] {escape(said[part])}")
    if settings:
        for name, setting in said["settings"].items():
            console.print()
            fresh = "; a change starts learning afresh" if setting["structural"] else ""
            line(f"[bold]{name}[/bold] = {escape(json.dumps(setting['default']))}{fresh}")
            line(escape(setting["meaning"]), indent=8)
    console.print()
