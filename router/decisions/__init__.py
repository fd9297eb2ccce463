"""From scores to one explained choice: who can answer, at what cost, under which wishes."""
