"""OpenAI's Files and Batches endpoints: uploads on disk, and jobs whose lines are routed."""
