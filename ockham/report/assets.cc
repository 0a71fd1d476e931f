// One style sheet for light, dark, phone and paper; a script for tooltips and selections only: without it every number
// is still on the page. Colours: blue and orange (told apart with any common colour blindness), never colour alone.
#include "ockham/report/assets.h"

namespace ockham {

std::string_view page_style() {
  return R"css(
:root{color-scheme:light dark;
 --bg:#f7f7f5;--surface:#fff;--raised:#fff;--ink:#191d22;--soft:#49525c;--muted:#626c77;--line:#e1e3e6;--strong:#c5c9ce;
 --accent:#1d5fae;--loss:#c4500c;--gain:#1668b5;--keep:#2b7a63;--lossink:#9c3d05;--gainink:#12549a;
 --s0:#191d22;--s1:#1f6fb8;--s2:#c8570f;--s3:#2b8a6b;--s4:#a23f8e;--s5:#8a6d00;--s6:#5b4fc0;--s7:#7a5236;
 --mix:1%;--shadow:0 1px 2px rgb(20 25 30/.05),0 4px 14px rgb(20 25 30/.04)}
@media (prefers-color-scheme:dark){:root{
 --bg:#111417;--surface:#191d21;--raised:#23282e;--ink:#e9ebed;--soft:#bcc3ca;--muted:#949da6;--line:#2b3137;--strong:#454d55;
 --accent:#7db4f0;--loss:#e8742c;--gain:#4a9be8;--keep:#5cbf9f;--lossink:#f5a06a;--gainink:#8dc2f7;
 --s0:#e9ebed;--s1:#62aef2;--s2:#f08b45;--s3:#55c29d;--s4:#d987c8;--s5:#d8b634;--s6:#a198f5;--s7:#c79a78;
 --mix:.72%;--shadow:none}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth;scroll-padding-top:1rem}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
 font-variant-numeric:tabular-nums}
.page{max-width:1180px;margin:0 auto;padding:0 28px 72px}
h1,h2,h3{line-height:1.2;letter-spacing:-.012em;text-wrap:balance;margin:0}
h1{font-size:clamp(1.7rem,1.2rem + 2vw,2.5rem);font-weight:680}
h2{font-size:1.4rem;font-weight:650}
h3{font-size:1rem;font-weight:640}
p{margin:.5rem 0 0;max-width:74ch}
a{color:var(--accent)}
code{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.head{padding:34px 0 22px}
.brand{display:flex;align-items:center;gap:.55rem;font-size:.9rem;font-weight:640;letter-spacing:.01em;color:var(--soft);margin-bottom:1.5rem}
.brand svg{width:20px;height:20px}
.facts{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;margin:.8rem 0 0;padding:0;list-style:none;color:var(--muted);font-size:.92rem}
.facts b{color:var(--soft);font-weight:600}
.notice{border-left:3px solid var(--strong);padding:.1rem 0 .1rem .9rem;margin-top:1.1rem;color:var(--soft);font-size:.94rem;max-width:82ch}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;border-top:1px solid var(--line);border-bottom:1px solid var(--line);padding:.6rem 0;font-size:.9rem}
nav a{color:var(--soft);text-decoration:none}nav a:hover{color:var(--accent);text-decoration:underline}
section{margin-top:52px}
.lede{color:var(--soft);margin-top:.35rem}
.card{background:var(--surface);border:1px solid var(--line);border-radius:12px;box-shadow:var(--shadow);padding:20px 22px}
.hero{margin-top:20px;padding:26px 28px;border-left:5px solid var(--muted)}
.hero.good{border-left-color:var(--keep)}.hero.bad{border-left-color:var(--loss)}
.hero .q{font-size:1rem}.hero .a{font-size:clamp(1.3rem,1.05rem + 1.1vw,1.75rem);font-weight:670;letter-spacing:-.014em;line-height:1.25;margin-top:.3rem}
.q{color:var(--muted);font-size:.9rem;font-weight:500;line-height:1.35}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:14px;margin-top:14px}
.answers .a{font-size:1.06rem;font-weight:640;line-height:1.32;margin-top:.3rem}
.answers>:last-child:nth-child(odd){grid-column:1/-1}
.d{color:var(--soft);font-size:.92rem;margin-top:.45rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin-top:16px;border:1px solid var(--line);border-radius:12px;background:var(--surface);box-shadow:var(--shadow);
 -webkit-overflow-scrolling:touch}
.scroll:focus-visible,[tabindex]:focus-visible,a:focus-visible,summary:focus-visible,input:focus-visible+span{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.88rem}
th,td{text-align:left;padding:.48rem .7rem;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child>*{border-bottom:0}
th{font-weight:600}thead th{color:var(--muted);font-size:.8rem;font-weight:600;vertical-align:bottom;line-height:1.25}
.num{text-align:right;white-space:nowrap}
tbody th{white-space:nowrap}
.sub{display:block;color:var(--muted);font-weight:400;font-size:.79rem}
.heat th:first-child,.wide th:first-child{position:sticky;left:0;background:var(--surface);z-index:1}
.heat td,.heat thead th{text-align:center;padding:.36rem .15rem;border-left:1px solid var(--surface);border-bottom:1px solid var(--surface)}
.heat thead th{border-left-color:transparent;padding:.7rem .25rem .5rem;hyphens:manual}
.heat thead th:first-child{text-align:left;padding-left:.9rem}
.heat tbody th{white-space:normal;overflow-wrap:anywhere;padding:.36rem .5rem .36rem .9rem;border-bottom-color:var(--surface)}.heat thead th:first-child{width:158px}
.heat td{line-height:1.2;font-size:.86rem;cursor:default;background:color-mix(in oklab,var(--tone,var(--surface)) calc(var(--t,0)*var(--mix)),var(--surface))}
.heat{table-layout:fixed}.heat td.lose{--tone:var(--loss)}.heat td.gain{--tone:var(--gain)}
.heat td.shown b{font-weight:720}.heat td b{font-weight:400}
.heat td .mark{display:block;font-size:.7rem;line-height:1.1;color:var(--soft);min-height:.8rem}.heat td.deep .mark{color:var(--ink)}
.heat td.blind{background:repeating-linear-gradient(135deg,var(--line) 0 1px,transparent 1px 7px);color:var(--muted)}
.heat td.gap{border-left:10px solid var(--surface)}.heat th.gap{border-left:10px solid var(--surface)}
.heat .dense td,.heat .dense th{border-bottom:2px solid var(--strong);font-weight:600}
.heat .first>*{border-top:9px solid var(--surface)}
.legend{display:flex;flex-wrap:wrap;gap:.35rem 1.3rem;align-items:center;margin-top:.8rem;color:var(--soft);font-size:.84rem}
.ramp{display:inline-block;width:150px;height:11px;border-radius:3px;vertical-align:-1px;margin:0 .4rem;
 background:linear-gradient(90deg,var(--loss),var(--surface) 50%,var(--gain));border:1px solid var(--line)}
.charts{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:16px;margin-top:16px;align-items:start}
.charts.single{grid-template-columns:minmax(0,1fr)}
@media (max-width:900px){.charts{grid-template-columns:minmax(0,1fr)}}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft)}
svg .lab{paint-order:stroke;stroke:var(--surface);stroke-width:3px;stroke-linejoin:round}svg .tick{fill:var(--muted);font-size:11.5px}svg .lab{fill:var(--ink);font-size:12px}
svg .grid{stroke:var(--line);stroke-width:1;fill:none}svg .axis{stroke:var(--strong);stroke-width:1;fill:none}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin-top:14px;border:0;padding:0;min-width:0}
.chips legend{font-size:.84rem;color:var(--muted);padding:0;margin-bottom:7px}
.chips label{position:relative;cursor:pointer}
.chips input{position:absolute;opacity:0;width:100%;height:100%;margin:0;cursor:pointer}
.chips span{display:inline-flex;align-items:center;gap:.4rem;border:1px solid var(--line);border-radius:99px;padding:.2rem .7rem;font-size:.82rem;color:var(--soft);background:var(--surface)}
.chips input:checked+span{border-color:var(--strong);background:color-mix(in oklab,var(--chip,var(--accent)) 12%,var(--surface));color:var(--ink)}
.chips i{width:10px;height:10px;border-radius:50%;border:1.5px solid var(--strong);background:transparent}
.chips input:checked+span i{background:var(--chip,var(--accent));border-color:var(--chip,var(--accent))}
.spoke{fill-opacity:.07;stroke-width:2;stroke-linejoin:round;fill:var(--chip);stroke:var(--chip)}
.off{display:none}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:14px;margin-top:16px}
.panels .card{padding:14px 16px 10px}.panels h3{display:flex;justify-content:space-between;gap:.6rem;align-items:baseline}
.panels h3 small{white-space:nowrap;font-weight:400;color:var(--muted);font-size:.8rem;text-align:right}
.lo{--c:var(--lossink)}.ga{--c:var(--gainink)}.ke{--c:var(--keep)}.un{--c:var(--muted)}
.mk{fill:var(--c);stroke:none}.ln{stroke:var(--c);stroke-width:2;stroke-linecap:round}.dr{fill:var(--surface);stroke:var(--c);stroke-width:1.2}
.band{fill:var(--keep);fill-opacity:.1}.zero{stroke:var(--strong)}
.badge{display:inline-block;border-radius:99px;padding:.1rem .6rem;font-size:.79rem;font-weight:600;white-space:nowrap;border:1px solid currentColor}
.badge.shows{color:var(--lossink)}.badge.not{color:var(--gainink)}.badge.part{color:var(--s5)}.badge.open{color:var(--muted)}
.stack{display:flex;height:14px;border-radius:4px;overflow:hidden;min-width:160px}.stack i{display:block}
.rf{background:var(--keep)}.wr{background:var(--s5)}.lk{background:var(--loss)}.ot{background:var(--strong)}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 .3rem 0 .7rem}
.wide td{white-space:nowrap}thead .num{white-space:normal}
details{border:1px solid var(--line);border-radius:10px;background:var(--surface);margin-top:10px;padding:0 16px}
summary{cursor:pointer;padding:.65rem 0;font-weight:600;font-size:.94rem}
details[open]{padding-bottom:14px}
pre{margin:.4rem 0 0;padding:.7rem .9rem;background:var(--bg);border:1px solid var(--line);border-radius:8px;overflow-x:auto;font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.kv{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem 1.1rem;font-size:.88rem;margin:.4rem 0 0}
.kv dt{color:var(--muted)}.kv dd{margin:0;overflow-wrap:anywhere}
ul.plain{margin:.6rem 0 0;padding-left:1.1rem;max-width:82ch}ul.plain li{margin:.3rem 0}
#tip{position:fixed;z-index:9;max-width:min(330px,calc(100vw - 24px));background:var(--ink);color:var(--bg);padding:.6rem .8rem;border-radius:8px;font-size:.83rem;line-height:1.45;white-space:pre-line;pointer-events:none;box-shadow:0 6px 24px rgb(0 0 0/.25)}
#tip[hidden]{display:none}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
footer{margin-top:60px;padding-top:18px;border-top:1px solid var(--line);color:var(--muted);font-size:.86rem}
@media (max-width:640px){.heat tbody th{font-size:.8rem}.plot{overflow-x:auto}.plot svg{min-width:500px}.page{padding:0 15px 48px}.card{padding:16px}.hero{padding:18px}.head{padding-top:20px}section{margin-top:40px}
 .heat tbody th,.heat thead th:first-child{padding-left:.7rem;padding-right:.3rem}.heat thead th:first-child{width:128px}.kv{grid-template-columns:minmax(0,1fr)}.kv dd{margin-bottom:.4rem}}
@media print{:root{color-scheme:light;--bg:#fff;--surface:#fff;--raised:#fff;--ink:#000;--soft:#333;--muted:#555;--line:#ddd;--strong:#aaa;--accent:#000;
 --loss:#c4500c;--gain:#1668b5;--keep:#2b7a63;--lossink:#9c3d05;--gainink:#12549a;
 --s0:#191d22;--s1:#1f6fb8;--s2:#c8570f;--s3:#2b8a6b;--s4:#a23f8e;--s5:#8a6d00;--s6:#5b4fc0;--s7:#7a5236;--mix:1%;--shadow:none}
 *{-webkit-print-color-adjust:exact;print-color-adjust:exact}
 body{font-size:9.5pt}.page{max-width:none;padding:0}nav,.noprint,#tip{display:none}section{margin-top:22pt}
 .card,figure,tr,.hero,.panels .card{break-inside:avoid}.stack i,.key{print-color-adjust:exact;-webkit-print-color-adjust:exact}h2,h3{break-after:avoid}.scroll{overflow:visible;border:0}
 table{font-size:7.6pt}.heat td,.heat thead th{min-width:0;padding:.2rem .1rem;font-size:7.4pt}.heat tbody th{min-width:0;padding:.2rem .4rem}
 th,td{padding:.25rem .35rem}.panels{grid-template-columns:repeat(3,1fr);gap:8px}.answers{grid-template-columns:1fr 1fr}.wide td{white-space:normal}
 .heat th:first-child,.wide th:first-child{position:static}}
@page{size:A4;margin:13mm}
)css";
}

std::string_view page_script() {
  return R"js(
(function(){
 var tip=document.getElementById('tip');
 function place(x,y){var w=tip.offsetWidth,h=tip.offsetHeight;
  tip.style.left=Math.max(12,Math.min(x+14,innerWidth-w-12))+'px';
  tip.style.top=(y+18+h>innerHeight?Math.max(8,y-h-14):y+18)+'px';}
 function show(el,x,y){tip.textContent=el.getAttribute('data-tip');tip.hidden=false;place(x,y);}
 function target(e){return e.target.closest?e.target.closest('[data-tip]'):null;}
 document.addEventListener('pointermove',function(e){var el=target(e);if(el)show(el,e.clientX,e.clientY);else tip.hidden=true;});
 document.addEventListener('pointerdown',function(e){var el=target(e);if(el)show(el,e.clientX,e.clientY);});
 document.addEventListener('focusin',function(e){var el=target(e);if(!el){tip.hidden=true;return;}
  var r=el.getBoundingClientRect();show(el,r.left,r.bottom-12);});
 document.addEventListener('focusout',function(){tip.hidden=true;});
 document.addEventListener('keydown',function(e){if(e.key==='Escape')tip.hidden=true;
  var td=e.target.closest&&e.target.closest('.heat td');if(!td)return;
  var d={ArrowLeft:[0,-1],ArrowRight:[0,1],ArrowUp:[-1,0],ArrowDown:[1,0]}[e.key];if(!d)return;
  var row=td.parentNode,cells=[].slice.call(row.querySelectorAll('td')),i=cells.indexOf(td)+d[1];
  var rows=[].slice.call(row.parentNode.rows),next=rows[rows.indexOf(row)+d[0]];
  var to=next&&next.querySelectorAll('td')[i];
  if(to&&to.hasAttribute('tabindex')){e.preventDefault();td.tabIndex=-1;to.tabIndex=0;to.focus();}});
 var boxes=[].slice.call(document.querySelectorAll('input[data-radar]'));
 function radar(){var k=0;boxes.forEach(function(b){var p=document.getElementById(b.getAttribute('data-radar'));
  p.classList.toggle('off',!b.checked);
  if(b.checked){var c='var(--s'+(k++%8)+')';p.style.setProperty('--chip',c);b.parentNode.style.setProperty('--chip',c);}});}
 boxes.forEach(function(b){b.addEventListener('change',radar);});
 if(boxes.length)radar();
 var picks=[].slice.call(document.querySelectorAll('input[name=quality]'));
 function quality(){picks.forEach(function(p){document.getElementById(p.value).classList.toggle('off',!p.checked);});}
 picks.forEach(function(p){p.addEventListener('change',quality);});
 if(picks.length)quality();
})();
)js";
}

}  // namespace ockham
