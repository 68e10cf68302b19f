"""Rules, the life of alerts, and how people and partners hear of them."""
