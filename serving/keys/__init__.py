"""Who may ask, how often, for how much money, and whom: API keys and their limits."""
