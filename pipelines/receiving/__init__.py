"""Web hooks: which are believed, how what they tell is put on disk before they are answered, and how a load takes it.

What a hook tells lies in the spool as it was sent, its owner's alone, until a load has made a raw file of it: nothing
of it is read, shown or logged here. The server is in `receiver`, what the spool holds in `spool`, what a load takes out
of it in `taking`; which systems there are and how each signs in `systems`, what an operator says of them in `hooks`.
"""
