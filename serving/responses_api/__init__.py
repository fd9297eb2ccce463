"""OpenAI's Responses API, answered by way of chat completions, which every backend knows."""
