"""Which model for which prompt: predictions of who wins on it, routers made of them, and what a router is worth."""
