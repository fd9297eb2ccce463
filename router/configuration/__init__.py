"""What a pool file says, checked."""
