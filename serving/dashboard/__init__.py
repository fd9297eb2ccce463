"""The page for people: what the gateway saves, how it is, why it chose, and a playground."""
