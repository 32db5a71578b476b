"""Everything on schedule without an operator: what a file says is to be run, the running of it, and how it went.

Steps are verbs of the command line, run one at a time, each as a process of its own: what a load takes of memory goes
with it, a step that hangs is ended, and how one ends is told by exit codes that are documented. What was run stands
beside the warehouse in a folder of its owner's: `runs.json`, the output of each step, and a page, `status.html`.
"""
