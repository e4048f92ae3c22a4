"""Boards behind TVM's RPC tracker: an agent for each, a rack of them, and how to measure on one.

``client`` measures on a board that a tracker hands out, ``station`` serves one, ``fleet`` many.
Nothing is imported here: packing a firmware needs no RPC. ``docs/rack.md`` has it from a user's
side.
"""
