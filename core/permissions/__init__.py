"""May this call run: modes, rules, guards, and what a shell line does.

Runs nothing; of the file system it asks only where links lead. Imports `base`.
"""
