"""Model files: the card, the seal, the self-test, and the session that runs them."""
