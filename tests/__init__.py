"""The suite mirrors the packages; `tests.waiting` waits for conditions."""
