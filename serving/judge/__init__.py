"""The only deciders: pure functions from facts and expectations to a Report. No clock, no environment, no I/O."""
