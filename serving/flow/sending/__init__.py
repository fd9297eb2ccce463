"""From a decision to the client's bytes: whom to ask next, what is sent, the answer as it comes."""
