"""What the subcommands of `cppo-trl` do, a module each; `options` has their command lines."""
