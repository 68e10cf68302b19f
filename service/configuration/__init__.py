"""A city by configuration: a folder of YAML, checked whole and applied to the registers. See docs/configuration.md."""

from service.configuration.applying import AppliedReport, apply_folder
from service.configuration.city import City
from service.configuration.folder import read_folder
from service.configuration.reading import FolderError, Problem
from service.configuration.vocabulary import apply_vocabulary

__all__ = ["AppliedReport", "City", "FolderError", "Problem", "apply_folder", "apply_vocabulary", "read_folder"]
