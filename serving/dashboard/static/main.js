// Ties the page together: what is shown, for which time, and when it is asked for again.

import { ask, onKey } from "/dashboard/ask.js";
import * as decisions from "/dashboard/decisions.js";
import { byId, el, show } from "/dashboard/dom.js";
import { WINDOWS } from "/dashboard/format.js";
import * as overview from "/dashboard/overview.js";
import * as playground from "/dashboard/playground.js";

const EVERY_MS = 5000;
const DAY = 86400;
let length = Number(location.hash.slice(1)) || DAY;
if (!WINDOWS.some(([, value]) => value === length)) length = DAY;
let turn = 0;
let timer = 0;

function windows() {
  byId("window").append(...WINDOWS.map(([words, value]) => {
    const input = el("input", { type: "radio", name: "window", value, onchange: () => choose(value) });
    input.checked = value === length;
    return el("label", {}, input, el("span", {}, words));
  }));
}

function choose(value) {
  length = value;
  history.replaceState(null, "", `#${value}`);
  load();
}

async function load() {
  clearTimeout(timer);
  const mine = ++turn, problem = byId("problem");
  try {
    const told = await (await ask(`/dashboard/api/overview?seconds=${length}`)).json();
    if (mine !== turn) return;
    overview.render(told);
    playground.setPool(told);
    decisions.setLedger(told.ledger);
    problem.textContent = told.ledger.problem ?? "";
    show(problem, Boolean(told.ledger.problem));
    await decisions.load(told.now_s);
  } catch (error) {
    if (mine !== turn) return;
    problem.textContent = `${error.message} What you see is the last that is known.`;
    show(problem);
    byId("status").className = "chip bad";
    byId("status-text").textContent = "No figures";
  }
  if (mine === turn) timer = setTimeout(() => (document.hidden ? null : load()), EVERY_MS);
}

windows();
playground.start();
decisions.start(load);
onKey(load);
document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
document.addEventListener("answered", () => setTimeout(load, 300));
load();
