"""The ground floor: the words and promises of GroundWatch.

Only the standard library and numpy are imported here. Every other package imports this one and this one imports none
of them, so this file holds no re-exports: import from the module that names the idea.
"""
