"""What each tick was, and the log that it goes to."""
