"""One file a command: `add` describes it to argparse, `run` carries it out.

Everything heavy is imported inside `run`, so that `galerne --help` is quick.
"""
