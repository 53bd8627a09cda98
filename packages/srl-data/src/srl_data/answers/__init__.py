"""`srl-data build gsm8k|math|numinamath|answers`: data sets as splits of problems with answers."""
