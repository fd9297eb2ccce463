// OpenAI's official Node client against a gateway; prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "what is two plus two" }];
const seen = {};

const models = await client.models.list();
seen.models = models.data.map((model) => model.id);

const { data, response } = await client.chat.completions.create({ model: "auto", messages }).withResponse();
seen.text = data.choices[0].message.content;
seen.usage = data.usage;
seen.candidate = response.headers.get("x-foresight-candidate");
seen.requestId = data._request_id === response.headers.get("x-request-id");

seen.streamed = "";
const stream = await client.chat.completions.create({
  model: "auto",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  seen.streamed += chunk.choices[0]?.delta?.content ?? "";
  seen.streamedUsage = chunk.usage ?? seen.streamedUsage;
}

const told = await client.responses.create({ model: "auto", input: "what is two plus two" });
seen.response = told.output_text;

seen.completion = (await client.completions.create({ model: "small", prompt: "two plus two is" })).choices[0].text;

try {
  await client.chat.completions.create({ model: "nobody", messages });
} catch (error) {
  seen.error = { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
}

try {
  await client.chat.completions.create({ model: "auto", messages: [] });
} catch (error) {
  seen.refused = { kind: error.constructor.name, param: error.param };
}

console.log(JSON.stringify(seen));
