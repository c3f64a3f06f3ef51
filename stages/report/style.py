"""The HTML report's style sheet. Everything is in the page: it opens without a network, from a disk or in MLflow."""

CSS = """
:root { --ink:#111827; --soft:#6b7280; --line:#e5e7eb; --back:#f8fafc; --card:#fff; --accent:#2563eb;
  --good:#047857; --goodback:#d1fae5; --bad:#b91c1c; --badback:#fee2e2; --warn:#92400e; --warnback:#fef3c7; }
* { box-sizing:border-box }
body { margin:0; background:var(--back); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif }
main { max-width:1180px; margin:0 auto; padding:24px 20px 60px }
h1 { font-size:26px; line-height:1.2; margin:0 }
h2 { font-size:19px; margin:40px 0 4px }
h3 { font-size:15px; margin:22px 0 6px }
p.note { color:var(--soft); margin:0 0 10px; max-width:80ch }
.meta { color:var(--soft); margin:6px 0 0; overflow-wrap:anywhere }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr)); gap:14px; margin:22px 0 0 }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px 16px }
.card .name { color:var(--soft); font-size:13px }
.card .big { font-size:28px; font-weight:650; line-height:1.25 }
.card .sub { color:var(--soft); font-size:13px }
.badge { display:inline-block; border-radius:99px; padding:1px 10px; font-size:13px; font-weight:600;
  white-space:nowrap; background:var(--line) }
.badge.ok, .badge.pass { background:var(--goodback); color:var(--good) }
.badge.failed, .badge.fail { background:var(--badback); color:var(--bad) }
.badge.partial, .badge.invalid, .badge.unavailable { background:var(--warnback); color:var(--warn) }
.alert { background:var(--warnback); color:var(--warn); border-radius:10px; padding:10px 16px; margin:14px 0 }
.alert ul { margin:4px 0 0; padding-left:20px }
.scroll { overflow-x:auto; background:var(--card); border:1px solid var(--line); border-radius:10px }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums }
th, td { padding:7px 11px; text-align:left; border-bottom:1px solid var(--line); vertical-align:top }
th { font-weight:600; color:var(--soft); font-size:12.5px }
tr:last-child td { border-bottom:0 }
td.number, th.number { text-align:right }
td.number { white-space:nowrap }
th { min-width:56px }
td.none { color:#9ca3af }
td.key { white-space:nowrap }
td.long { min-width:220px }
.figures { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr)); gap:16px }
.figures.wide { grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr)) }
figure { margin:0; background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px }
figure svg, figure img { display:block; width:100%; height:auto }
figcaption { color:var(--soft); font-size:13px; margin-top:6px; overflow-wrap:anywhere }
.bar { display:flex; height:18px; border-radius:5px; overflow:hidden; background:var(--line); margin:3px 0 4px }
.bar span { display:block; min-width:1px }
.legend { color:var(--soft); font-size:13px }
.legend i { display:inline-block; width:10px; height:10px; border-radius:2px; margin:0 4px 0 10px }
.legend i:first-child { margin-left:0 }
details { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:10px 16px; margin:10px 0 }
summary { cursor:pointer; font-weight:600 }
pre { overflow-x:auto; font-size:12.5px; line-height:1.45; margin:10px 0 0 }
code { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace; font-size:.92em }
.command { background:#111827; color:#f9fafb; border-radius:10px; padding:12px 16px; overflow-x:auto; margin:8px 0 }
footer { color:var(--soft); font-size:13px; margin-top:44px }
@media (max-width:600px) { main { padding:16px 12px 40px } h1 { font-size:21px } .card .big { font-size:24px }
  th, td { padding:6px 8px } }
"""
