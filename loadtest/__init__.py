"""The load harness: a measurement core without Locust, and Locust as its shell."""
