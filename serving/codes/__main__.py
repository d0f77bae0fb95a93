"""Prints docs/codes.md: `python -m serving.codes`."""

import sys

from serving.codes import codes_page

sys.stdout.write(codes_page())
