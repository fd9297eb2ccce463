"""What the probes cost: fitting, its growth, and scoring."""
