"""The rank-free pruning core: score, mask, and when to do it. It knows arrays, never a network.

`saliency` rates elements, `masks` turns scores into a verdict (True keeps), `schedules` say how far to go at
which step. The same functions take the weight column of a graph, a numpy matrix, a torch tensor, or any array
of the array API standard, of any rank, and give the same masks.
"""
