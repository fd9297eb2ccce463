"""From graded outcomes to a router: training, knobs, the rule, guarantees and the report."""
