"""The style sheet of the page: light and dark, one colour a kind of layer."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark; --ink: #1d2530; --soft: #5f6b7a; --line: #d9dee5; --paper: #fff;
  --panel: #f5f7f9; --conv: #2f6db5; --attention: #8b4fb3; --linear: #c9622a; --pool: #2a9d6f;
  --norm: #8a97a6; --join: #b58d1f; --other: #98a2ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6eaef; --soft: #9aa6b4; --line: #38414c; --paper: #14181d; --panel: #1c2229; --conv: #6aa5e8;
    --attention: #c08ae4; --linear: #ee9460; --pool: #58c99a; --join: #dcb64e;
  }
}
* { box-sizing: border-box }
body {
  margin: 0 auto; max-width: 1120px; padding: 28px 28px 60px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui,sans-serif;
}
h1 { font-size: 26px; margin: 0 }
h2 { font-size: 18px; margin: 36px 0 10px }
p.sub { color: var(--soft); margin: 2px 0 20px }
.cards { display: flex; flex-wrap: wrap; gap: 12px }
.card { background: var(--panel); border-radius: 8px; padding: 10px 16px; min-width: 150px }
.card b { display: block; font-size: 21px }
.card span { color: var(--soft); font-size: 13px }
ul.notes { padding-left: 20px; margin: 18px 0 }
svg { max-width: 100%; height: auto; display: block }
svg.diagram { width: 100% }
svg text { fill: var(--ink); font: 12px system-ui,sans-serif }
svg text.small { fill: var(--soft); font-size: 11px }
svg .title { font-weight: 600 }
.axis { stroke: var(--line) }
.image { stroke: var(--linear); stroke-dasharray: 4 3 }
.conv { fill: var(--conv) }
.attention { fill: var(--attention) }
.linear { fill: var(--linear) }
.pool { fill: var(--pool) }
.norm { fill: var(--norm) }
.join { fill: var(--join) }
.other { fill: var(--other) }
.field { fill: var(--conv); opacity: .75 }
.field.global { fill: #cf4f6e }
.legend .dot { background: #cf4f6e }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px }
.legend i {
  display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px;
  background: currentColor;
}
.over { display: grid; grid-template-columns: minmax(260px,520px) 1fr; gap: 28px; align-items: start }
svg.fields { width: 100% }
.legend.lines { display: block }
.legend.lines span { display: block; margin: 3px 0 }
.blank { fill: var(--panel) }
.outline { fill: none }
.cell { fill-opacity: .4 }
.r0 { stroke: #e6194b; color: #e6194b }
.r1 { stroke: #f58231; color: #f58231 }
.r2 { stroke: #e8c500; color: #e8c500 }
.r3 { stroke: #3cb44b; color: #3cb44b }
.r4 { stroke: #2f9bf0; color: #2f9bf0 }
.r5 { stroke: #c34bd6; color: #c34bd6 }
.cell.r0 { fill: #e6194b }
.cell.r1 { fill: #f58231 }
.cell.r2 { fill: #e8c500 }
.cell.r3 { fill: #3cb44b }
.cell.r4 { fill: #2f9bf0 }
.cell.r5 { fill: #c34bd6 }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums }
th,td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { position: sticky; top: 0; background: var(--paper); color: var(--soft); font-weight: 600 }
td:nth-child(-n+4),th:nth-child(-n+4) { text-align: left }
.wide { overflow-x: auto }
td i { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 7px }
@media (max-width: 760px) {
  .over { grid-template-columns: 1fr }
}
"""
