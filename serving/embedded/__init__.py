"""The embedded default: a real model, a real engine and a real gateway on one machine."""
