"""`velocity` and `detect` on bare files: reading, computing and drawing with no database."""
