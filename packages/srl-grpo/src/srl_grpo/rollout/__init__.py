"""Where samples come from: completions in fixed chunks, scored and grouped."""
