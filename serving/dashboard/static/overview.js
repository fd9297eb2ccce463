// Everything above and below the playground that one answer of the gateway fills.

import * as charts from "/dashboard/charts.js";
import { colour, setCandidates } from "/dashboard/colours.js";
import { body, byId, el, empty } from "/dashboard/dom.js";
import { DASH, clock, count, lengthName, perThousand, percent, seconds, usd } from "/dashboard/format.js";

const big = (words, more = "") => el("p", { class: `big ${more}` }, words);
const sub = (...words) => el("p", { class: "sub" }, ...words);
const put = (id, ...content) => body(id).replaceChildren(...content);

export function render(told) {
  setCandidates(told.candidates);
  status(told);
  backends(told);
  byId("prompts-note").textContent = told.ledger.prompts
    ? "This gateway keeps prompts in its ledger: the operator asked for it."
    : "Prompts are not logged: nothing that you type here is kept. An operator can change that in the pool file.";
  byId("updated").textContent = `As of ${clock(told.now_s, true)}`;
  if (told.history === null) return withoutHistory(told);
  saving(told);
  requests(told);
  success(told);
  speed(told);
  novelty(told);
  traffic(told);
}

function withoutHistory(told) {
  const why = told.ledger.kept ? told.ledger.problem : "This gateway keeps no ledger.";
  const how = told.ledger.kept ? "" : " Take `ledger: null` out of the pool file, or start with --ledger FILE, to see history here.";
  for (const id of ["requests", "success", "speed", "novelty"]) put(id, big(DASH), sub("Needs the ledger"));
  put("saving", big(DASH), sub(why + how));
  for (const id of ["timeline", "traffic", "reliability", "latency"]) put(id, empty(why + how));
}

function status(told) {
  const all = Object.values(told.status.backends), up = all.filter((one) => one.state === "up").length;
  const kind = up === all.length ? "good" : up ? "warn" : "bad";
  const scout = told.status.router.scout === "none" ? ", scout off" : "";
  byId("status").className = `chip ${kind}`;
  byId("status-text").textContent = `${up} of ${all.length} backends up${scout}`;
}

function saving({ history, length_s }) {
  const found = history.saving;
  if (found.share === null) {
    const why = found.requests ? "Too few answers to compare yet." : `No routed answers in the last ${lengthName(length_s)}.`;
    return put("saving", big(DASH), sub(why, " Send a request with model `auto`, or use the playground."));
  }
  const against = `against always asking ${found.reference}`;
  const worth = `${usd(found.saved_usd)} of ${usd(found.reference_usd)}, the scout's cost included; ${count(found.requests)} answers`;
  put("saving",
    big(percent(found.share), found.share < 0 ? "loss" : "gain"),
    sub(el("strong", {}, `${percent(found.low)} to ${percent(found.high)}`), ` at 95% confidence, ${against}`),
    charts.interval(found.share, found.low, found.high),
    sub(worth));
}

function requests({ history, in_flight }) {
  const all = history.totals, wrong = all.errors + all.aborted;
  const ends = wrong ? `${count(all.errors)} errors, ${count(all.aborted)} left early` : "all complete";
  put("requests", big(count(all.requests)), sub(all.requests ? ends : "none yet", `; ${count(in_flight)} in flight`),
    sub(`${usd(all.spend_usd)} spent, ${count(all.output_tokens)} tokens written`));
}

function success({ history }) {
  const rows = history.traffic.filter((row) => row.predicted !== null);
  const n = rows.reduce((sum, row) => sum + row.requests, 0);
  const mean = n ? rows.reduce((sum, row) => sum + row.predicted * row.requests, 0) / n : null;
  const { rated, mean_rating } = history.totals;
  put("success", big(percent(mean)), sub("predicted before answering"),
    sub(rated ? `${percent(mean_rating)} observed in ${count(rated)} rated answers` : "no answer was rated yet"));
}

function speed({ history }) {
  const [all] = history.latency;
  put("speed", big(seconds(all.total_s.p50)), sub("half of the answers within this"),
    sub(all.n ? `95% within ${seconds(all.total_s.p95)}; first byte ${seconds(all.first_byte_s.p50)}` : "no complete answer yet"));
}

function novelty({ history }) {
  const { novelty_rate, novel } = history.totals;
  const gone = history.drift.filter((row) => row.drifted).map((row) => row.candidate);
  put("novelty", big(percent(novelty_rate, novelty_rate > 0 && novelty_rate < 0.1 ? 1 : 0)),
    sub(`${count(novel)} unlike the fitted ones, sent to the safe candidate`),
    el("p", { class: "sub" }, gone.length
      ? el("span", { class: "tag bad" }, `drifted: ${gone.join(", ")}`)
      : el("span", { class: "tag" }, "no drift seen")));
}

function traffic(told) {
  const { history, now_s, length_s } = told;
  const none = () => empty(`Nothing was answered in the last ${lengthName(length_s)}.`);
  const names = history.traffic.map((row) => row.candidate);
  const legend = el("ul", { class: "legend" }, names.map((name) => el("li", { class: `name ${colour(name)}` }, name)));
  if (names.length) {
    put("timeline", charts.timeline(history.timeline, now_s - length_s, now_s, history.slice_s), legend);
    put("traffic", candidates(history.traffic));
  } else {
    put("timeline", none());
    put("traffic", none());
  }
  put("latency", history.latency[0].n ? charts.latencies(history.latency) : none());
  if (history.reliability.length) put("reliability", el("div", { class: "pair" }, charts.reliability(history.reliability), drift(history.drift)));
  else put("reliability", empty("Nobody has rated an answer yet. POST /v1/feedback with a decision id says how good one was."));
}

const head = (...columns) =>
  el("thead", {}, el("tr", {}, columns.map(([words, kind = ""]) => el("th", { class: kind, scope: "col" }, words))));

function candidates(rows) {
  const lines = rows.map((row) => el("tr", {},
    el("td", {}, el("span", { class: `name ${colour(row.candidate)}` }, row.candidate)),
    el("td", { class: "wide" }, el("div", { class: "bar" }, el("i", { class: colour(row.candidate), "width%": 100 * row.share }))),
    el("td", { class: "num" }, percent(row.share)),
    el("td", { class: "num" }, count(row.requests)),
    el("td", { class: "num wide" }, percent(row.predicted)),
    el("td", { class: "num" }, perThousand(row.spend_usd / row.requests))));
  return el("table", {},
    head(["Candidate"], ["Share", "wide"], ["", "num"], ["Answers", "num"], ["Predicted", "num wide"], ["$ per 1,000", "num"]),
    el("tbody", {}, lines));
}

function drift(rows) {
  const verdict = (row) => {
    if (row.n_labels < 30) return el("span", { class: "tag" }, "too few");
    return row.drifted ? el("span", { class: "tag bad" }, "drifted") : el("span", { class: "tag good" }, "honest");
  };
  const lines = rows.map((row) => el("tr", {},
    el("td", {}, el("span", { class: `name ${colour(row.candidate)}` }, row.candidate)),
    el("td", { class: "num" }, percent(row.predicted)),
    el("td", { class: "num" }, percent(row.observed)),
    el("td", { class: "num wide" }, count(row.n_labels)),
    el("td", { class: "num" }, verdict(row))));
  return el("table", {},
    head(["Candidate"], ["Predicted", "num"], ["Observed", "num"], ["Rated", "num wide"], ["", "num"]), el("tbody", {}, lines));
}

const STATES = { up: "good", starting: "warn", down: "bad" };
const BREAKERS = { closed: ["in use", "good"], "half-open": ["being probed", "warn"], open: ["left alone", "bad"] };

function backends(told) {
  const lines = Object.entries(told.status.backends).map(([name, one]) => {
    const mine = told.candidates.filter((candidate) => candidate.backend === name);
    const [words, kind] = BREAKERS[one.breaker] ?? [one.breaker, ""];
    const queue = Math.max(0, ...mine.map((candidate) => candidate.queue_s));
    return el("tr", {},
      el("td", {}, name, one.detail ? el("p", { class: "note" }, one.detail) : null),
      el("td", {}, el("span", { class: `tag ${STATES[one.state] ?? ""}` }, one.state)),
      el("td", {}, el("span", { class: `tag ${kind}` }, words)),
      el("td", { class: "num" }, queue ? seconds(queue) : "none"),
      el("td", { class: "wide" }, mine.map((candidate) => candidate.name).join(", ")));
  });
  put("backends", el("table", {},
    head(["Backend"], ["State"], ["Breaker"], ["Queue", "num"], ["Candidates", "wide"]), el("tbody", {}, lines)));
}
