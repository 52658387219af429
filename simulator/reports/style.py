"""How a page looks, light and dark. Colours are Okabe & Ito's (2008), lighter on dark ground."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1f2328; --muted: #59636e; --grid: #e4e8ec; --axis: #8c959f;
  --c0: #0072b2; --c1: #c04a00; --c2: #59636e; --c3: #007a5a; --c4: #a83f7f; --c5: #8a6d00; --warn: #fff4e5; --edge: #c04a00 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14181d; --ink: #e6eaee; --muted: #a3adb8; --grid: #2a313a; --axis: #6b7682;
    --c0: #56b4e9; --c1: #f0a04b; --c2: #a3adb8; --c3: #34c79a; --c4: #e08cc0; --c5: #e3c34a; --warn: #2b2117; --edge: #f0a04b } }
@media print { figure, tr { break-inside: avoid } }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 64px }
h1, h2, h3, li, td, th, figcaption, .note { overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.25 }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--grid); padding-bottom: .25rem }
h3 { font-size: 1rem; margin: 0 0 .25rem }
.headlines { list-style: none; padding: 0 }
.headlines li, .note { border-left: 4px solid var(--c0); padding: .4rem .8rem; margin: .6rem 0 }
.headlines .refused, .note.refused { border-color: var(--edge); background: var(--warn) }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 24px; align-items: start; margin-top: 1rem }
figure { margin: 0; overflow-x: auto }
figure.wide { margin: 1rem 0 }
figcaption { color: var(--muted); font-size: .875rem; max-width: 70ch }
svg { display: block; width: 100%; min-width: 430px; height: auto; font-size: 13px }
.wide svg { min-width: 700px }
svg text { fill: var(--ink) } svg .muted { fill: var(--muted) } svg .strong { font-weight: 600 }
svg .rule { stroke: var(--grid) } svg .axis { stroke: var(--axis) } svg .blank { fill: var(--ground) }
svg .mark { stroke: var(--muted); stroke-dasharray: 5 4 }
svg .whisker { stroke: var(--c0); stroke-width: 2 }
svg .point { fill: var(--c0); stroke: var(--c0) } svg .hollow { fill: var(--ground); stroke: var(--c0); stroke-width: 2 }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round } svg .band { opacity: .18 } svg .bar { fill: var(--c0) }
svg .c0 { stroke: var(--c0) } svg .c1 { stroke: var(--c1) } svg .c2 { stroke: var(--c2) }
svg .c3 { stroke: var(--c3) } svg .c4 { stroke: var(--c4) } svg .c5 { stroke: var(--c5) }
svg .b3 { fill: var(--c3) } svg .b4 { fill: var(--c4) } svg .b5 { fill: var(--c5) }
svg .b0 { fill: var(--c0) } svg .b1 { fill: var(--c1) } svg .b2 { fill: var(--c2) }
.scroll { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--muted); padding: .25rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--grid); min-width: 4.5rem; max-width: 26rem }
tbody th { font-weight: 600 }
"""
