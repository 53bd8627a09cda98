"""Teacher traces: questions to a model behind an OpenAI-compatible API, its answers to a file.

`command.traces` is `srl-data traces`; `record.Trace` is what the file holds.
"""
