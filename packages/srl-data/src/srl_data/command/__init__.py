"""What the commands of all packages share: config, flags, errors, exit codes, progress."""
