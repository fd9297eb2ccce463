"""From logits to what a decision needs: calibrated success, answer length, novelty, and newcomers."""
