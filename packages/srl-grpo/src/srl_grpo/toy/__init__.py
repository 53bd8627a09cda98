"""The quickstart's data, model and format, made on the spot. The rest of the trainer knows none."""
