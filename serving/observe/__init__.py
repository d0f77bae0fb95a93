"""The only readers of the world. Each function returns facts: Seen or Unseen, never an opinion."""
