// Questions to the gateway. A failure is an Error with words for people.

import { byId, show } from "/dashboard/dom.js";

let key = "";
const waiting = [];

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  byId("key").value = "";
  show(byId("key-form"), false);
  for (const again of waiting) again();
});

// What is to be done once a key was given.
export const onKey = (again) => waiting.push(again);

export async function ask(path, { body, signal } = {}) {
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The gateway cannot be reached.");
  }
  if (response.ok) return response;
  if (response.status === 401) show(byId("key-form"));
  let told = `The gateway answered with status ${response.status}.`;
  try {
    told = (await response.json()).error.message || told;
  } catch { /* not ours: the status says enough */ }
  throw new Error(told);
}

// The JSON objects of a stream of events.
export async function* events(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value ?? new Uint8Array(), { stream: !done });
    const lines = rest.split(/\r?\n/);
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const text = line.slice(5).trim();
      if (text && text !== "[DONE]") yield JSON.parse(text);
    }
    if (done) return;
  }
}
