"""One pass over a source, record by record into files: chunks, processes, drafts that can go on.

`run.run_pass` is what commands call. What is done with a record is the command's.
"""
