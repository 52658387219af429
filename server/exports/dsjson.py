"""What was learned as dsjson, the log format of Vowpal Wabbit's decision service.

https://github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON says what it is, VW's own parser what it takes. One line for
each slot; `a` and `p` speak of the actions that the slot had to choose from, and VW reads it with
`--dsjson --cb_explore_adf`. Its average loss then is the progressive IPS estimate of minus the reward.

VW skips or interprets keys that begin with "_", so such names get a backslash in front (and those that begin with a
backslash another one). The namespace without a name is VW's own default, " ". Every action has its id as a feature
"id" in namespace "i".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from server.exports.features import action_features, as_objects, context_features
from server.exports.rows import rows
from server.fold.records import LogError

if TYPE_CHECKING:
    from typing import BinaryIO

    from server.exports.features import Named
    from server.exports.rows import SlotRow
    from server.fold.verify import LogSource

_ID_NAMESPACE, _ID = "i", "id"
_DEFAULT_NAMESPACE = " "
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def write_dsjson(source: LogSource, out: BinaryIO, app: str | None = None) -> int:
    """Writes one app's interactions in learning order; returns the number of lines.

    Args:
        app: may be left out where the log has only one; a line does not say whose it is.

    Raises:
        LogError: the log cannot be read, or has several apps and none was named.
    """
    apps = source.apps()
    if app is None and len(apps) > 1:
        raise LogError(
            f"dsjson holds one app, the log has {', '.join(apps)}: choose one with --app"
        )
    count = 0
    for name in apps if app is None else [app]:
        for row in rows(source, name):
            out.write(_encode(line_of(row)).encode("ascii") + b"\n")
            count += 1
    return count


def line_of(row: SlotRow) -> dict[str, Any]:
    """One interaction. The keys' order is the one in which VW's own tools write them."""
    record, decision = row.record, row.decision
    number = {k: n + 1 for n, k in enumerate(row.actions)}
    chosen = row.actions[row.chosen]
    others = [k for k in decision.ranking if k in number and k != chosen]
    order = [row.chosen, *(number[k] - 1 for k in others)]
    features = action_features(decision)
    line: dict[str, Any] = {
        "_label_cost": 0.0 - row.reward,
        "_label_probability": row.pmf[row.chosen],
        "_label_Action": row.chosen + 1,
        "_labelIndex": row.chosen,
        "Timestamp": (_EPOCH + timedelta(microseconds=record.origin_us)).strftime(
            "%Y-%m-%dT%H:%M:%S.%fZ"
        ),
        "Version": "1",
        "EventId": record.event_id,
        "a": [n + 1 for n in order],
        "c": {
            **as_objects(context_features(decision), _key),
            "_multi": [
                as_objects(_with_id(decision.action_ids[k], features[k]), _key) for k in row.actions
            ],
        },
        "p": [row.pmf[n] for n in order],
        "VWState": {"m": f"{decision.epoch}.{decision.model_version}"},
        "pdrop": 0.0,
    }
    if row.slot:
        line["Slot"] = row.slot
    return line


def _with_id(action_id: str, spaces: list[tuple[str, Named]]) -> list[tuple[str, Named]]:
    """The action's features, its id first; a namespace that is called as the id's keeps its own features too."""
    own = next((named for space, named in spaces if space == _ID_NAMESPACE), [])
    rest = [(space, named) for space, named in spaces if space != _ID_NAMESPACE]
    return [(_ID_NAMESPACE, [(_ID, action_id), *own]), *rest]


def _key(name: str) -> str:
    """The name as VW will take it: see the module's text.

    >>> _key(""), _key("age"), _key("_age"), _key(" ")
    (' ', 'age', '\\\\_age', '\\\\ ')
    """
    if not name:
        return _DEFAULT_NAMESPACE
    return f"\\{name}" if name.startswith(("_", "\\")) or name == _DEFAULT_NAMESPACE else name
