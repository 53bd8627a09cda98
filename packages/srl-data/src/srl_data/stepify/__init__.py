"""Steps out of free-running solutions: cut by rule, or rewritten by a teacher.

`cut.cut_solution` is the way in for one text; `command` is `srl-data stepify`.
"""
