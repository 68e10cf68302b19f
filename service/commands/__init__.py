"""One module a family of commands; `service.cli` imports each only when its command is asked for."""
