// Type a prompt, see every candidate's chance, move the knob, see the choice move; then send it, if you like.

import { ask, events, onKey } from "/dashboard/ask.js";
import { colour } from "/dashboard/colours.js";
import { byId, el, show } from "/dashboard/dom.js";
import { count, perThousand, percent, seconds, usd } from "/dashboard/format.js";

const WAIT_MS = 120;
const EXAMPLES = [
  "What is 17 + 25?", "Today is January 7. What is the date 25 days from now?",
  "Name three cities on the Rhine.", "Prove that the square root of 2 is irrational.",
];

let timer = 0;
let asking = null;
let answering = null;
let decision = null;
let pool = [];
let kept = false;

const prompt = byId("prompt"), knob = byId("knob"), rule = byId("rule");

export function start() {
  byId("examples").append(...EXAMPLES.map((text) => el("button", { type: "button", onclick: () => { prompt.value = text; soon(0); } }, text)));
  prompt.addEventListener("input", () => soon());
  knob.addEventListener("input", () => soon());
  rule.addEventListener("change", () => soon(0));
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !byId("send").disabled) send();
  });
  byId("send").addEventListener("click", () => (answering ? answering.abort() : send()));
  onKey(() => soon(0));
  knobValue();
}

export function setPool(told) {
  pool = told.candidates;
  kept = told.ledger.kept;
  const wanted = ["", ...told.models];
  if (wanted.join("\n") === [...rule.options].map((option) => option.value).join("\n")) return;
  const chosen = rule.value;
  rule.replaceChildren(...wanted.map((name) => el("option", { value: name }, label(name))));
  rule.value = wanted.includes(chosen) ? chosen : "";
}

function label(name) {
  if (!name) return "Price knob";
  return name === "auto" ? "auto: the pool's own policy" : name;
}

const wishes = () => (rule.value ? { model: rule.value } : { model: "auto", foresight: { quality: knob.value / 100 } });

function knobValue() {
  show(byId("knob-part"), !rule.value);
  byId("knob-value").value = `quality ${(knob.value / 100).toFixed(2)}`;
  knob.setAttribute("aria-valuetext", byId("knob-value").value);
}

function soon(wait = WAIT_MS) {
  knobValue();
  clearTimeout(timer);
  timer = setTimeout(route, wait);
}

async function route() {
  asking?.abort();
  asking = new AbortController();
  const text = prompt.value.trim();
  byId("send").disabled = !text && !answering;
  if (!text) return nothing("Type a prompt, or take an example.");
  const { signal } = asking, began = performance.now();
  try {
    const response = await ask("/v1/route", { body: { ...wishes(), prompt: text }, signal });
    decision = await response.json();
    if (!signal.aborted) verdict((performance.now() - began) / 1000);
  } catch (error) {
    if (error.name !== "AbortError") nothing(error.message);
  }
}

function nothing(words) {
  decision = null;
  byId("reason").replaceChildren(words);
  byId("ranking").replaceChildren();
  byId("strip").replaceChildren();
}

function verdict(took) {
  const { candidate, reason, success } = decision;
  const chance = success[candidate];
  const told = chance === undefined ? `${candidate} answers` : `${candidate} answers, right with ${percent(chance)}`;
  byId("reason").replaceChildren(el("strong", {}, told), `${reason}; read and decided in ${seconds(took)}`);
  ranking();
  strip();
}

function ranking() {
  const list = byId("ranking"), kept = new Map([...list.children].map((row) => [row.dataset.candidate, row]));
  const names = [...new Set([...pool.map((one) => one.name), ...decision.ranking])];
  list.replaceChildren(...names.map((name) => line(kept.get(name), name)));
}

// One candidate's row; an old one is changed, so that its bar moves instead of jumping.
function line(row, name) {
  const out = decision.ineligible[name], chance = decision.success[name], cost = decision.expected_cost_usd[name];
  const kind = `${colour(name)}${name === decision.candidate ? " chosen" : ""}${out ? " out" : ""}`;
  if (!row || Boolean(out) !== row.classList.contains("out")) {
    row = el("li", {}, el("span", { class: "name" }, name), ...(out
      ? [el("span", { class: "note why" })]
      : [el("div", { class: "bar" }, el("i")), el("span", { class: "num chance" }), el("span", { class: "num money" })]));
    row.dataset.candidate = name;
  }
  row.className = kind;
  if (name === decision.candidate) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  if (out) row.querySelector(".why").textContent = out;
  else {
    row.querySelector("i").style.width = `${100 * (chance ?? 0)}%`;
    row.querySelector(".chance").textContent = percent(chance);
    row.querySelector(".money").textContent = `${perThousand(cost)} / 1,000`;
  }
  return row;
}

// Along the knob: the cheapest candidate within 1 − quality of the most likely one (the gateway's own rule).
function along(quality) {
  const able = decision.ranking.filter((name) => name in decision.success);
  const highest = Math.max(...able.map((name) => decision.success[name]));
  const near = able.filter((name) => decision.success[name] >= highest - (1 - quality));
  const cost = (name) => decision.expected_cost_usd[name];
  return near.sort((a, b) => cost(a) - cost(b) || (a < b ? -1 : 1))[0];
}

function strip() {
  const known = Object.keys(decision.success).length > 0 && !decision.novel && decision.policy !== "safe";
  const parts = [];
  for (let value = 0; known && value <= 100; value += 1) {
    const name = along(value / 100), last = parts.at(-1);
    if (last?.name === name) last.length += 1;
    else parts.push({ name, length: 1 });
  }
  const bar = byId("strip");
  bar.replaceChildren(...parts.map((part) => {
    const piece = el("i", { class: colour(part.name), title: part.name });
    piece.dataset.candidate = part.name;
    piece.dataset.length = String(part.length);
    piece.style.flexGrow = String(part.length);
    return piece;
  }));
  bar.setAttribute("aria-label", parts.length ? `From cheapest to best: ${parts.map((part) => part.name).join(", ")}` : "Not known for this prompt");
}

async function send() {
  const text = prompt.value.trim(), box = byId("answer"), said = el("pre"), foot = el("p", { class: "note" });
  answering = new AbortController();
  byId("send").textContent = "Stop";
  box.className = "answer";
  box.replaceChildren(said, foot);
  show(box);
  const began = performance.now();
  const told = { first: null, explanation: null, usage: null };
  try {
    const asked = wishes();
    const body = {
      model: asked.model, stream: true, stream_options: { include_usage: true },
      messages: [{ role: "user", content: text }], foresight: { ...asked.foresight, explain: true },
    };
    const response = await ask("/v1/chat/completions", { body, signal: answering.signal });
    const served = response.headers.get("x-foresight-candidate") ?? "";
    box.classList.add(colour(served));
    foot.textContent = `${served} answers`;
    for await (const part of events(response)) read(part, said, told, began);
    foot.textContent = summary(served, told, began);
    if (kept) box.append(rating(response.headers.get("x-foresight-decision-id")));
  } catch (error) {
    if (error.name === "AbortError") foot.textContent = "Stopped.";
    else failed(box, foot, error.message);
  } finally {
    answering = null;
    byId("send").textContent = "Send it";
    byId("send").disabled = !prompt.value.trim();
    document.dispatchEvent(new Event("answered"));
  }
}

function read(part, said, told, began) {
  if (part.error) throw new Error(part.error.message ?? "The answer broke off.");
  const delta = part.choices?.[0]?.delta ?? {};
  const words = `${delta.reasoning_content ?? ""}${delta.content ?? ""}`;
  if (words) told.first ??= performance.now() - began;
  said.append(words);
  told.usage = part.usage ?? told.usage;
  told.explanation = part.foresight ?? told.explanation;
}

function summary(served, told, began) {
  const words = [served, `${seconds((performance.now() - began) / 1000)} in all`];
  if (told.first !== null) words.push(`first words after ${seconds(told.first / 1000)}`);
  if (told.usage) {
    words.push(`${count(told.usage.completion_tokens)} tokens`);
    const price = pool.find((one) => one.name === served);
    if (price) words.push(usd((told.usage.prompt_tokens * price.usd_per_mtok_in + told.usage.completion_tokens * price.usd_per_mtok_out) / 1e6));
  }
  const failures = told.explanation?.failed ?? [];
  if (failures.length) words.push(`after ${failures.map((one) => one.candidate).join(", ")} failed`);
  return words.join(" · ");
}

// Feedback shows whether the predictions are honest, and is what `foresight recalibrate` learns from.
function rating(id) {
  const line = el("div", { class: "rate" }, el("span", { class: "note" }, "Was it right?"));
  const give = async (correct) => {
    try {
      await ask("/v1/feedback", { body: { decision_id: id, correct } });
      line.replaceChildren(el("span", { class: "note" }, "Thank you: it is in the ledger."));
      document.dispatchEvent(new Event("answered"));
    } catch (error) {
      line.append(el("span", { class: "note" }, error.message));
    }
  };
  const button = (words, correct) => el("button", { type: "button", onclick: () => give(correct) }, words);
  line.append(button("Right", 1), button("Wrong", 0));
  return line;
}

function failed(box, foot, words) {
  box.classList.add("failed");
  foot.textContent = words;
}
