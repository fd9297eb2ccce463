"""What is known of a job before it runs: its lines, and a few numbers of each."""
