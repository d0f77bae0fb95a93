"""Warmgate: serve a model behind an honest readiness endpoint, and prove that it is warm.

One flow for every command: observe -> facts -> judge -> report. docs/architecture.md draws the house.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
