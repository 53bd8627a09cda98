"""What can be configured: sections as data, one frozen class per command."""
