"""The demonstration network: simulated, labelled so everywhere, loaded through the same import path as real files.

`load` registers the network and imports its files, `gateway.run` pushes live observations over MQTT. docs/demo.md has the equations.
"""

from service.demo.loading import load, network_of
from service.demo.network import Demonstration, build

__all__ = ["Demonstration", "build", "load", "network_of"]
