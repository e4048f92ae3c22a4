"""Which bytes are needed when: time in ticks, the buffers inside a group, and storages.

:mod:`timeline` counts the ticks, :mod:`inside` has what lives within a group, :mod:`storage` makes
one problem of packing out of all of it, :mod:`moment` finds what sets the size of an arena.
"""
