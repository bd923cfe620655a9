"""Pages for people: tables and interactive figures, each one HTML file that needs nothing else."""
