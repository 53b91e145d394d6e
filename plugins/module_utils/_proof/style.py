"""The look of proof.html: light and dark, from a phone to a wide screen, on paper too."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#171b22;--soft:#5b6472;--line:#dde1e7;--faint:#eef1f4;

--ok:#15744a;--ok-bg:#e6f4ec;--failed:#b3261e;--failed-bg:#fdeceb;--not_tested:#6a7280;--not_tested-bg:#eef0f3;--warn:#8a5a00;--warn-bg:#fff3dc;--link:#1d5fbf}
@media (prefers-color-scheme:dark){:root{--page:#0f1216;--card:#171b21;--ink:#e8ebf0;--soft:#9ba5b4;--line:#2b323c;--faint:#1e242c;

--ok:#5ccb95;--ok-bg:#12301f;--failed:#ff8a80;--failed-bg:#3a1614;--not_tested:#9ba5b4;--not_tested-bg:#232a33;--warn:#f0bd5b;--warn-bg:#33270d;--link:#8ab4f8}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main,header>div,footer{max-width:1180px;margin:0 auto;padding:0 24px}
a{color:var(--link)}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.88em}
h1{font-size:1.65rem;line-height:1.2;margin:0}
h2{font-size:1.25rem;margin:0}
h3{font-size:.95rem;margin:22px 0 8px;color:var(--soft);font-weight:600}
header{background:var(--card);border-bottom:1px solid var(--line);padding:26px 0 22px}
header p{margin:6px 0 0;color:var(--soft)}
.verdict{display:flex;gap:16px;align-items:center}
.seal{flex:none;width:52px;height:52px;border-radius:50%;display:grid;place-items:center;font-size:1.6rem;font-weight:700}
.counts{display:flex;flex-wrap:wrap;gap:8px;margin-top:16px}
.chip{display:inline-block;border-radius:999px;padding:2px 11px;font-size:.85rem;font-weight:600;white-space:nowrap;
background:var(--faint);color:var(--soft);text-decoration:none}
.ok{color:var(--ok)}.failed{color:var(--failed)}.not_tested{color:var(--not_tested)}.warn{color:var(--warn)}
.chip.ok,.seal.ok{background:var(--ok-bg)}.chip.failed,.seal.failed{background:var(--failed-bg)}
.chip.not_tested,.seal.not_tested{background:var(--not_tested-bg)}.chip.warn{background:var(--warn-bg)}
section{margin:30px 0}
.head{display:flex;flex-wrap:wrap;gap:6px 12px;align-items:baseline;margin-bottom:12px}
.head .host{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.failure{border-left:5px solid var(--failed);padding:16px 20px;margin:12px 0}
.failure h3{margin:0 0 4px;font-size:1.02rem;color:var(--ink)}.failure p{margin:0 0 8px}
.failure table{margin-top:14px}.failure th.what{width:24%}
.failure .fix::before{content:"Fix  ";color:var(--soft);font-family:system-ui,sans-serif}
.failure ul{margin:6px 0 0;padding-left:20px}
.failure.not_tested{border-left-color:var(--not_tested)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:10px 0 0}
dt{color:var(--soft)}dd{margin:0;min-width:0;overflow-wrap:anywhere}
.fix{display:block;background:var(--faint);border-radius:7px;padding:8px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
.picture{padding:20px 16px 14px}
.picture svg{display:block;width:100%;height:auto}
.picture .tall{display:none;max-width:460px;margin:0 auto}
svg text{fill:var(--ink);font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
svg .kind{font-size:11px;fill:var(--soft);letter-spacing:.06em}
svg .name{font-size:14px;font-weight:650}
svg .small{font-size:11.5px;fill:var(--soft)}
svg .value{font-size:12.5px}
svg .pill{font-size:12px;font-weight:650}
svg .node{fill:var(--faint);stroke:var(--line)}
svg .s-ok{stroke:var(--ok);fill:none}svg .s-failed{stroke:var(--failed);fill:none}
svg .s-not_tested{stroke:var(--not_tested);fill:none;stroke-dasharray:5 4}
svg .f-ok{fill:var(--ok)}svg .f-failed{fill:var(--failed)}svg .f-not_tested{fill:var(--not_tested)}
svg .b-ok{fill:var(--ok-bg)}svg .b-failed{fill:var(--failed-bg)}svg .b-not_tested{fill:var(--not_tested-bg)}
.list{overflow:hidden}
details{border-top:1px solid var(--line)}details:first-child{border-top:0}
summary{display:grid;grid-template-columns:22px minmax(0,5fr) minmax(0,6fr) 92px;gap:4px 14px;padding:9px 16px;cursor:pointer;
list-style:none;align-items:baseline}
summary::-webkit-details-marker{display:none}
summary:hover{background:var(--faint)}
summary:focus-visible{outline:2px solid var(--link);outline-offset:-2px}
summary .glyph{font-weight:700}
summary .title{font-weight:550}
summary .seen{color:var(--soft);overflow-wrap:anywhere;font-size:.9rem}
summary .places{text-align:right;color:var(--soft);font-size:.85rem;white-space:nowrap}
.neg{font-size:.72rem;font-weight:600;color:var(--soft);border:1px solid var(--line);border-radius:5px;padding:0 5px;margin-left:6px;
white-space:nowrap}
.inside{padding:2px 16px 14px 52px}
.inside p{margin:2px 0 10px;color:var(--soft)}
table{border-collapse:collapse;table-layout:fixed;width:100%;font-size:.88rem}
th.state{width:96px}th.place{width:19%}th.expected{width:20%}th.time{width:172px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--line);padding:4px 12px 4px 0}
td{padding:5px 12px 5px 0;border-bottom:1px solid var(--faint);vertical-align:top;overflow-wrap:anywhere}
td.time{white-space:nowrap;color:var(--soft)}
.why{display:block;color:var(--soft)}
.certs{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px}
.cert{padding:14px 18px}
.cert b{display:block;overflow-wrap:anywhere}
.cert .uses{color:var(--soft);font-size:.88rem}
.cert dl{font-size:.88rem;grid-template-columns:76px 1fr}
.life{height:6px;border-radius:3px;background:var(--faint);margin-top:12px;overflow:hidden}
.life i{display:block;height:100%;background:currentColor}
footer{color:var(--soft);font-size:.88rem;padding-bottom:48px}
@media (max-width:860px){
.picture .wide{display:none}.picture .tall{display:block}
}
@media (max-width:640px){
main,header>div,footer{padding:0 14px}h1{font-size:1.35rem}.seal{width:44px;height:44px}
summary{grid-template-columns:18px minmax(0,1fr) auto;padding:10px 12px}
summary .seen{grid-column:2/4;grid-row:2}
.inside{padding:2px 12px 12px}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:6px}
.failure{padding:14px}.certs{grid-template-columns:minmax(0,1fr)}.cert dl{grid-template-columns:76px 1fr}
table,tbody,tr,td{display:block;width:auto}thead{display:none}tr{border-bottom:1px solid var(--line);padding:7px 0}
td{border:0;padding:1px 0}td[data-of]::before{content:attr(data-of) " ";color:var(--soft)}td.time{white-space:normal}
}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""
