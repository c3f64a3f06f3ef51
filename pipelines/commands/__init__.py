"""The sub-commands of ``detpress``: a module each, found through the table in `pipelines.cli`.

A command module has ``main(arguments, debug) -> exit code``: the words after the command's name (without ``--debug``),
and whether tracebacks are wanted. Output for scripts goes to standard output, everything else to standard error; wrong
input raises InputError, which `pipelines.cli` prints.
"""
