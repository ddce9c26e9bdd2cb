"""What `wms ...` does: each module is one group of subcommands."""
