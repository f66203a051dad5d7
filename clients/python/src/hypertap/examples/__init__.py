"""Programs to read and to run: ``python -m hypertap.examples.ping --help``."""
