"""One fine-tuning run: configuration, data, loop, evaluation, checkpoints, result.

May import everything in dps but the commands dps.predict and dps.probing. Imported by these two and by tune.
"""
