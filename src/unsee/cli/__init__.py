"""The command line: thin, one module per command, imported when its command is called."""
