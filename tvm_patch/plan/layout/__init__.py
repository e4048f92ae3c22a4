"""How a plan is carried out: what each operator computes in each tile, and what is held of it.

:mod:`region` derives what a tile needs of each tensor, :mod:`columns` the steps of runs that go
through a row together, :mod:`checks` says what a stage has to be, :mod:`stage` makes
:mod:`groups <group>` of stages and of operators on their own.
"""
