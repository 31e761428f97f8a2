"""What is recorded: parts, their rows, and indexes over them."""
