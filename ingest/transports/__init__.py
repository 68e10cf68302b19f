"""How bytes arrive: MQTT subscriptions and watched folders; the only part of ingest that opens sockets and files."""
