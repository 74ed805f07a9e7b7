"""The composition root: turns settings into objects, and is the only place that does.

It imports nothing by itself: a command that uses one part of it does not load the whole service.
"""
