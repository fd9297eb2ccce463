"""Answers that are begun before it is decided who answers: whether to, and what becomes of them."""
