"""The composition root: settings become objects here, and only here.

It imports nothing by itself: a command that uses one part of it does not load the whole service.
"""
