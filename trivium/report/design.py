"""How the page looks: one style sheet for light, dark, phone and paper.

Colours follow Okabe and Ito 2008 ("Color Universal Design"), which people with any common colour vision tell apart: darker than
theirs on white, so that thin lines are seen, and theirs or lighter on dark ground.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1d1f; --soft: #5c6066; --rule: #d9dbde; --ground: #ffffff; --panel: #f5f6f7;
  --c0: #0072b2; --c1: #d55e00; --c2: #007f5c; --c3: #a84a7f; --c4: #9a6a00; --c5: #3c6fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7e9; --soft: #a0a5ac; --rule: #3a3d42; --ground: #16181b; --panel: #1f2226;
  --c0: #56b4e9; --c1: #f0843c; --c2: #2fc79a; --c3: #e79cc6; --c4: #e6b43c; --c5: #9db8e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { max-width: 44rem; margin: .6rem 0; }
nav { margin: 1rem 0; line-height: 1.9; font-size: .95rem; }
nav a { margin-right: .7rem; white-space: nowrap; }
a { color: var(--c0); }
.muted, .small, figcaption span, dt { color: var(--soft); }
figure .muted { font-size: .85rem; margin: .2rem 0; }
.small { font-size: .85em; white-space: nowrap; }
.wide { overflow-x: auto; margin: .5rem 0 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .4rem .9rem .4rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
td.prose { white-space: normal; text-align: left; min-width: 11rem; }
th:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 500; } tbody th { font-weight: 500; }
td .small, th .small { display: block; font-weight: 400; } tbody th { position: sticky; left: 0; background: var(--ground); }
.texts td { text-align: left; white-space: pre-wrap; min-width: 14rem; max-width: 30rem; overflow-wrap: anywhere; font-size: .85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15.5rem, 100%), 1fr)); gap: 1.5rem 1.75rem; margin: 1rem 0; }
.charts.large { grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 27rem)); }
figure { margin: 0; min-width: 0; } figcaption { display: flex; justify-content: space-between; gap: 1rem; font-size: .9rem;
  margin-bottom: .3rem; }
figcaption b { font-weight: 600; } figcaption span { font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars { max-width: 44rem; }
svg { display: block; max-width: 100%; height: auto; font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
svg[viewBox] { width: 100%; font-size: 11px; } svg[height] { height: attr(height px); overflow: visible; }
text { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; fill: var(--ink); font-variant-numeric: tabular-nums; }
text.tick { fill: var(--soft); font-size: 11px; } text.value { fill: var(--soft); }
.grid { stroke: var(--rule); stroke-width: .7; } .axis { stroke: var(--soft); } .track { fill: var(--panel); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; } .line.faint { stroke-width: 1; opacity: .35; }
.dot.faint { opacity: .3; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); }
.c5 { stroke: var(--c5); }
.fill, .dot { stroke: none; } .fill.c0, .dot.c0 { fill: var(--c0); } .fill.c1, .dot.c1 { fill: var(--c1); }
.fill.c2, .dot.c2 { fill: var(--c2); }
.fill.c3, .dot.c3 { fill: var(--c3); } .fill.c4, .dot.c4 { fill: var(--c4); } .fill.c5, .dot.c5 { fill: var(--c5); }
path.line.c1:not(.faint) { stroke-dasharray: 6 3; }
details { margin: .5rem 0; } summary { cursor: pointer;
  } summary:focus-visible, a:focus-visible, .wide:focus-visible { outline: 2px solid var(--c0); }
pre, blockquote, .answer p { white-space: pre-wrap; unicode-bidi: plaintext; }
pre { background: var(--panel); padding: .7rem .9rem; margin: .6rem 0;
  font: .85rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
blockquote { margin: .5rem 0; padding: .2rem 0 .2rem .9rem; border-left: 3px solid var(--rule); font-size: .9rem; }
.asked { margin: 1.5rem 0; } .asked > p { font-weight: 600; white-space: pre-wrap; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(14rem, 100%), 1fr)); gap: .75rem; }
.answer { background: var(--panel); padding: .6rem .8rem; font-size: .9rem; min-width: 0; } .answer p { margin: .3rem 0 0; }
.answer header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .8rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: .6rem 0; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
@media print { .charts { grid-template-columns: repeat(3, 1fr); } .charts.large { grid-template-columns: 1fr 1fr; }
  .answers { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
  body { padding: 0; max-width: none; font-size: 10pt; } nav { display: none; } .wide { overflow: visible; }
  figure, .asked, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
details::details-content { content-visibility: visible; height: auto; } }
"""
