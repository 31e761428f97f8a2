"""Many folders, every night: one file says what a night is, and the system starts it."""
