"""Reads image references such as `registry:5000/team/name:tag@sha256:...`. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """`repository` with the registry in front; tag and digest are empty where they are not written."""

    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """The last part of the repository."""
        return self.repository.rpartition("/")[2]


def read_image(reference: str) -> Image:
    """The parts of a reference.

    >>> read_image("registry:5000/team/name:v1")
    Image(repository='registry:5000/team/name', tag='v1', digest='')
    """
    plain, _, digest = reference.partition("@")
    path, slash, last = plain.rpartition("/")
    name, _, tag = last.partition(":")
    return Image(f"{path}{slash}{name}", tag, digest)
