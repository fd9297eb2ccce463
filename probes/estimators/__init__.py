"""What is fitted from activations to graded outcomes: the probe bank and its pieces."""
