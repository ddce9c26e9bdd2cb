"""The commands of `wms`: each module is a group of subcommands."""
