"""The choices there are, and the search through them.

:mod:`patches` has first stages in tiles, :mod:`variants` the ways to stream a run of operators,
:mod:`hop` one such run, :mod:`streams` the best sequences of them, :mod:`candidates` all together.
"""
