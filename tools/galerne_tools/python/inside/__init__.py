"""What runs inside the sandbox, before, beside and after the code of the model.

Nothing here imports more than the standard library, or needs a Python newer than 3.9: it is run by
the interpreter that runs the code, from a folder that the sandbox shows at `/sandbox`. It is
process 1 of its process namespace, so that the code cannot kill or stop it, and everything ends
with it. What it sends is judged outside as if the code had written it: it may have.
"""
