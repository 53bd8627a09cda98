"""Final answers read and compared exactly.

`reader.read` makes a tree of an answer in plain notation, `compare.same` compares two; the second
needs mpmath (extra `[math]`) and runs in the killable process. Left out: sums, integrals, limits
and whatever else is not read; math-verify is asked about those.
"""
