"""The foundation: errors, threads, files, folders, locks, logs, printable text, secrets, marks of settings.

Imports nothing of ours.
"""
