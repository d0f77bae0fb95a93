"""One file per command: parse, observe, judge, render, exit."""
