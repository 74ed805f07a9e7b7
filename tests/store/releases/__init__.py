"""Dumps of the store as releases wrote it, one file each: new code finishes their requests.

`python -m tests.store.releases.dump tests/store/releases/VERSION.json` makes one from the present
code. A dump of a release is never made again.
"""
