"""Success over training, size and prompt length (papers C and D)."""
