"""What is measured and what it is measured against: servers of every kind, each started by the bench."""
