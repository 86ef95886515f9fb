"""The command line: parses arguments and builds the program from its parts (`composition.py`)."""
