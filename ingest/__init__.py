"""Ingest: bytes from files, folders and devices become batches of observations.

`formats` parse bytes and know nothing else, `mapping` ties what they say to the registers, `quality` flags, `pipeline` commits through
the ports of `domain`, and `transports` bring the bytes. This file holds no names.
"""
