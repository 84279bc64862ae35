"""Guards of a training: updates that move nothing, batches that teach nothing, an endless warm-up.

`callbacks` puts them into a trainer; `variance` and `level_off` are what they know, as functions.
"""
