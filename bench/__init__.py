"""Measurements of pegbox beside the libraries people use now. Start with `python -m bench`; see README.md beside this file."""
