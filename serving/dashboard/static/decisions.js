// The newest decisions; each opens to its whole ranking.

import { ask } from "/dashboard/ask.js";
import { colour } from "/dashboard/colours.js";
import { body, byId, el, empty, show } from "/dashboard/dom.js";
import { ago, clock, count, perThousand, percent, seconds, usd } from "/dashboard/format.js";

const PAGE = 15;
const opened = new Set();
let shown = "";
let limit = PAGE;
let kept = true;

export function start(reload) {
  byId("all").addEventListener("change", reload);
  byId("older").addEventListener("click", () => { limit = Math.min(200, limit + 3 * PAGE); reload(); });
}

export function setLedger(ledger) {
  kept = ledger.kept;
}

export async function load(nowSeconds) {
  const problem = byId("decisions-problem");
  try {
    const answered = byId("all").checked ? "" : "&answered=true";
    const response = await ask(`/dashboard/api/decisions?limit=${limit}${answered}`);
    const { decisions } = await response.json();
    show(problem, false);
    render(decisions, nowSeconds);
  } catch (error) {
    problem.textContent = error.message;
    show(problem);
  }
}

function render(rows, nowSeconds) {
  show(byId("older"), rows.length >= limit && limit < 200);
  const told = JSON.stringify(rows.map((row) => [row.id, row.finish, row.correct]));
  if (told === shown && rows.length) return times(nowSeconds);
  shown = told;
  const focus = document.activeElement?.dataset?.decision;
  body("decisions").replaceChildren(rows.length ? table(rows, nowSeconds) : none());
  if (focus) body("decisions").querySelector(`button[data-decision="${CSS.escape(focus)}"]`)?.focus();
}

const none = () => empty(kept
  ? "No decision yet. Point an OpenAI client at this gateway with model `auto`, or send something from the playground."
  : "This gateway keeps no ledger, so past decisions are not known. The playground works all the same.");

function times(nowSeconds) {
  for (const cell of body("decisions").querySelectorAll("[data-at]")) cell.textContent = ago(Number(cell.dataset.at), nowSeconds);
}

function table(rows, nowSeconds) {
  const columns = [["When"], ["Candidate"], ["Predicted", "num wide"], ["Why", "wide"], ["Cost / 1,000", "num wide"], ["Took", "num wide"], ["", "num"]];
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map(([words, kind = ""]) => el("th", { class: kind, scope: "col" }, words)))),
    el("tbody", {}, rows.flatMap((row) => pair(row, nowSeconds))));
}

function pair(row, nowSeconds) {
  const by = row.served_by ?? row.candidate, id = `d-${row.id}`;
  const detail = el("tr", { class: "detail", id }, el("td", { colspan: 7 }));
  const button = el("button", { type: "button", class: "open", "aria-controls": id });
  button.dataset.decision = row.id;
  button.append(el("span", {}, ago(row.decided_s, nowSeconds)));
  button.firstChild.dataset.at = String(row.decided_s);
  const flip = (open) => {
    if (open && !detail.firstChild.firstChild) detail.firstChild.append(inside(row));
    button.setAttribute("aria-expanded", String(open));
    show(detail, open);
    if (open) opened.add(row.id);
    else opened.delete(row.id);
  };
  flip(opened.has(row.id));
  const line = el("tr", { class: "row", onclick: () => flip(detail.hidden) },
    el("td", {}, button),
    el("td", {}, el("span", { class: `name ${colour(by)}` }, by)),
    el("td", { class: "num wide" }, percent(row.predicted.success?.[by])),
    el("td", { class: "wide note" }, row.reason),
    el("td", { class: "num wide" }, row.finish ? perThousand(row.cost_usd) : "–"),
    el("td", { class: "num wide" }, seconds(row.total_s)),
    el("td", { class: "num" }, end(row)));
  return [line, detail];
}

function end(row) {
  if (row.correct !== null) return el("span", { class: `tag ${row.correct >= 0.5 ? "good" : "bad"}` }, `rated ${percent(row.correct)}`);
  if (row.finish === null) return el("span", { class: "tag" }, "not sent");
  return el("span", { class: `tag ${row.finish === "ok" ? "good" : "bad"}` }, row.finish);
}

function inside(row) {
  const facts = [
    ["Decided", `${clock(row.decided_s, true)} by policy ${row.policy}`],
    ["Why", row.reason],
    ["Novelty", row.novelty === null ? "the prompt was not read" : `${row.novelty.toFixed(2)}${row.novel ? ", too far to trust the probabilities" : ""}`],
    ["Request", `${row.request_id}${row.key_id ? `, key ${row.key_id}` : ""}`],
    ["Decision", row.id],
  ];
  if (row.finish) facts.push(["Answer", `${count(row.input_tokens)} tokens in, ${count(row.output_tokens)} out, ${usd(row.cost_usd)}, status ${row.status}`]);
  if (row.comment) facts.push(["Feedback", row.comment]);
  const prompt = row.prompt === null ? el("span", { class: "note" }, "not kept") : el("pre", {}, words(row.prompt));
  return el("div", { class: "inside" },
    el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]), el("dt", {}, "Prompt"), el("dd", {}, prompt)),
    ranking(row));
}

function words(prompt) {
  if (typeof prompt === "string") return prompt;
  if (!Array.isArray(prompt)) return JSON.stringify(prompt);
  return prompt.map((message) => {
    const content = message?.content;
    return `${message?.role ?? ""}: ${typeof content === "string" ? content : JSON.stringify(content)}`;
  }).join("\n");
}

function ranking(row) {
  const { success = {}, expected_cost_usd = {}, expected_output_tokens = {}, ranking = [], ineligible = {} } = row.predicted;
  const failed = new Map(row.failures.map((one) => [one.candidate, one.kind]));
  const others = Object.keys(ineligible).filter((name) => !ranking.includes(name));
  const state = (name) => {
    if (failed.has(name)) return el("span", { class: "tag bad" }, `failed: ${failed.get(name)}`);
    if (name === (row.served_by ?? row.candidate)) return el("span", { class: "tag good" }, row.served_by ? "answered" : "chosen");
    return ineligible[name] ? el("span", { class: "note" }, ineligible[name]) : "";
  };
  const lines = [...ranking, ...others].map((name, k) => el("tr", {},
    el("td", { class: "num wide" }, k < ranking.length ? String(k + 1) : ""),
    el("td", {}, el("span", { class: `name ${colour(name)}` }, name)),
    el("td", { class: "num" }, percent(success[name], 1)),
    el("td", { class: "num wide" }, perThousand(expected_cost_usd[name])),
    el("td", { class: "num wide" }, count(expected_output_tokens[name])),
    el("td", {}, state(name))));
  const columns = [["", "wide"], ["Candidate"], ["Success", "num"], ["$ / 1,000", "num wide"], ["Tokens", "num wide"], [""]];
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map(([text, kind = ""]) => el("th", { class: kind, scope: "col" }, text)))), el("tbody", {}, lines));
}
