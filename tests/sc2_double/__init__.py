"""A StarCraft II to anything that speaks its API: the game's folders and protocol, the embedded engine's battles."""
