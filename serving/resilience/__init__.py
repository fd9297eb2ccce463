"""What keeps answers coming: breakers, waiting times, admission, hedging, and how busy the backends are."""
