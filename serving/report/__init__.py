"""Rendering only: a Report in, text or JSON out."""
