"""How Paddle's programs run in a process: place, kernels, reading and saving."""
