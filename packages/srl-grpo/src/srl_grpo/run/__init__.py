"""What any run has: its folder, checkpoints, trackers, display and clock."""
