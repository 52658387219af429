"""A replay as one HTML page that needs nothing else: no script, no font, no file."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from simulator.reports import figures, svg, words
from simulator.reports.style import CSS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from simulator.evaluation import Estimate
    from simulator.reports.figures import Figure
    from simulator.reports.given import PolicyInput, ReportInput

# The page may load nothing, whatever got into it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def html(report: ReportInput) -> str:
    """The page. Names and reasons are escaped."""
    headlines = [
        (policy.name, words.headline(policy, report), policy.headline.identifiable)
        for policy in report.policies
    ]
    sections = [
        ("estimates", "Estimates", [figure(figures.estimates(report)), _estimates(report)]),
        ("differences", "Differences", [figure(figures.differences(report)), _differences(report)]),
        ("learning", "Learning curves", _learning(report)),
        ("overlap", "Overlap", _overlap(report)),
        ("clipping", "Sensitivity to clipping", _clipping(report)),
    ]
    return document(f"Replay of {report.log}", words.summary(report), headlines, sections)


def document(
    title: str,
    summary: str,
    headlines: Iterable[tuple[str, str, bool]],
    sections: Iterable[tuple[str, str, Iterable[str]]],
) -> str:
    """A page from its parts.

    Args:
        title: as text, like what follows.
        summary: one paragraph.
        headlines: (policy, what is said of it, whether it may be believed).
        sections: (id, title, HTML); one whose id is a figure's has another id than its figure.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(summary)}</p>",
        _headlines(headlines),
        *(line for section in sections for line in _section(*section)),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)}</title>",
            f"<style>{CSS}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _section(key: str, title: str, body: Iterable[str]) -> list[str]:
    return [f'<section aria-labelledby="{key}">', f'<h2 id="{key}">{title}</h2>', *body, "</section>"]  # fmt: skip


def _headlines(said: Iterable[tuple[str, str, bool]]) -> str:
    items = []
    for name, text, believed in said:
        css = "" if believed else ' class="refused"'
        items.append(f"<li{css}><strong>{escape(name)}</strong>: {escape(text)}</li>")
    return "\n".join(['<ul class="headlines">', *items, "</ul>"])


def figure(drawn: Figure, heading: str = "") -> str:
    """A figure with its caption."""
    title = f"<h3>{escape(heading)}</h3>" if heading else ""
    wide = ' class="wide"' if isinstance(drawn, figures.Forest) else ""
    return f"<figure{wide}>{title}{svg.draw(drawn)}<figcaption>{escape(drawn.caption)}</figcaption></figure>"


def _learning(report: ReportInput) -> list[str]:
    found = [
        _not_drawn(policy) if curve is None else figure(curve, policy.name)
        for index, policy in enumerate(report.policies, 1)
        for curve in [figures.learning(report, policy, index)]
    ]
    return [
        "<p>The mean over the rows so far. The first rows are few, so their bands may leave the picture.</p>",
        *_grid(found),
    ]


def _overlap(report: ReportInput) -> list[str]:
    found = [
        figure(figures.weights(policy, index), policy.name)
        for index, policy in enumerate(report.policies, 1)
    ]
    rows = []
    for policy in report.policies:
        overlap = policy.evaluation.overlap
        rows.append(
            [
                policy.name,
                words.ess(overlap),
                words.unsupported(overlap),
                words.number(overlap.max_weight),
                f"{words.number(overlap.mean_weight)} (expected {words.number(words.expected_weight(overlap))})",
                words.UNKNOWN if overlap.z != overlap.z else f"{overlap.z:.2f}",
                words.UNKNOWN if overlap.p_value != overlap.p_value else f"{overlap.p_value:.2g}",
            ]
        )
    columns = ("policy", "effective sample size", "unsupported mass", "greatest weight", "mean weight", "z", "p")  # fmt: skip
    intro = (
        "<p>How often the log's policy does what the policy asked about would do. A weight is the ratio of their "
        "probabilities for the logged action; the dashed line is weight 1.</p>"
    )
    return [
        intro,
        table("Overlap of each policy with the log", columns, rows),
        *_grid(found),
    ]


def _clipping(report: ReportInput) -> list[str]:
    found = []
    for index, policy in enumerate(report.policies, 1):
        pair = figures.clipping(report, policy, index)
        if pair is not None:
            found += [figure(each, each.title) for each in pair]
        elif policy.shown:
            found.append(
                f'<p class="note"><strong>{escape(policy.name)}</strong>: no weight is above 1, there is nothing to clip.</p>'
            )
        else:
            found.append(_not_drawn(policy))
    return _grid(found)


def _not_drawn(policy: PolicyInput) -> str:
    why = escape(words.sentence(policy.evaluation.reason))
    return f'<p class="note refused"><strong>{escape(policy.name)}</strong>: refused, so not drawn. {why}</p>'


def _grid(found: Iterable[str]) -> list[str]:
    return ['<div class="grid">', *found, "</div>"]


def _estimates(report: ReportInput) -> str:
    rows = []
    for policy in report.policies:
        for name, each in policy.evaluation.estimators.items():
            rows.append([policy.name, words.mode(policy), words.setting(each, name), *_cells(each)])
    rows.append(["the log itself", "", "mean reward", *_cells(report.logged)])
    columns = ("policy", "replayed", "estimator", "value", f"{report.level} interval", "by, or why not")  # fmt: skip
    return table("All estimates", columns, rows)


def _cells(estimate: Estimate, spell: Callable[[float], str] = words.number) -> list[str]:
    if estimate.value is None:
        return ["refused", "", estimate.reason]
    doubt = "" if estimate.identifiable else " (not to be believed)"
    return [
        spell(estimate.value) + doubt,
        words.interval(estimate, spell),
        estimate.interval or estimate.reason,
    ]


def _differences(report: ReportInput) -> str:
    rows = []
    for policy in report.policies:
        rows.append([policy.name, "the log", *_cells(policy.evaluation.vs_logged, words.signed)])
        if policy.vs_first is not None:
            rows.append(
                [policy.name, report.policies[0].name, *_cells(policy.vs_first, words.signed)]
            )
    columns = ("policy", "minus", "difference", f"{report.level} interval", "by, or why not")
    return table("All differences", columns, rows)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls on its own; the first column names the row."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = [
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    # Focusable, so that a keyboard can scroll it.
    return "\n".join(
        [
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>',
            f"<caption>{escape(caption)}</caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *body,
            "</tbody></table></div>",
        ]
    )
