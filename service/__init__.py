"""The top floor: wiring, HTTP, command line, time and processes."""
