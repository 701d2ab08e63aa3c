"""Slow, obvious twins of the sparse formats: one element at a time, lists and dictionaries, no scipy."""

from math import prod


def matrix(array):
    """The first axis by all others, as a list of lists."""
    return array.reshape(array.shape[0], -1).tolist()


def entries(weight, mask):
    """(row, column, value) of what is kept, row by row."""
    values, flags = matrix(weight), matrix(mask)
    return [(i, j, values[i][j]) for i in range(len(values)) for j in range(len(values[0])) if flags[i][j]]


def csr(weight, mask):
    """data, indices, indptr."""
    kept = entries(weight, mask)
    starts = [sum(row < i for row, _, _ in kept) for i in range(weight.shape[0] + 1)]
    return [value for _, _, value in kept], [column for _, column, _ in kept], starts


def csc(weight, mask):
    """data, indices, indptr of the columns."""
    kept = sorted(entries(weight, mask), key=lambda entry: (entry[1], entry[0]))
    width = prod(weight.shape[1:])
    starts = [sum(column < j for _, column, _ in kept) for j in range(width + 1)]
    return [value for _, _, value in kept], [row for row, _, _ in kept], starts


def coo(weight, mask):
    """data, rows, columns."""
    kept = entries(weight, mask)
    return [value for _, _, value in kept], [row for row, _, _ in kept], [column for _, column, _ in kept]


def bsr(weight, mask, block):
    """Blocks, their column, and where each row of blocks starts."""
    height, width = block
    found = {}
    for row, column, value in entries(weight, mask):
        content = found.setdefault((row // height, column // width), [[0.0] * width for _ in range(height)])
        content[row % height][column % width] = value
    order = sorted(found)
    rows = -(-weight.shape[0] // height)
    starts = [sum(row < i for row, _ in order) for i in range(rows + 1)]
    return [found[place] for place in order], [column for _, column in order], starts


def packed(weight, mask, keep, group):
    """Values of packed N:M along the last axis, and their positions as one string of bits, the lowest first."""
    values, bits = [], ""
    numbers, flags = weight.ravel().tolist(), mask.ravel().tolist()
    width = len(bin(group - 1)) - 2 if group > 1 else 0
    for first in range(0, len(numbers), group):
        on = [i for i in range(group) if flags[first + i]]
        off = [i for i in range(group) if not flags[first + i]]
        for i in sorted(on + off[: keep - len(on)]):
            values.append(numbers[first + i] if i in on else 0.0)
            bits += "".join(str(i >> bit & 1) for bit in range(width))
    return values, bits


def n_bytes(weight, mask, format, itemsize, block=None):
    """Bytes with indices of four bytes, by counting what the twins list."""
    if format == "dense":
        return weight.size * itemsize
    if ":" in format:
        values, bits = packed(weight, mask, *map(int, format.split(":")))
        return len(values) * itemsize + -(-len(bits) // 8)
    if format == "bsr":
        blocks, indices, starts = bsr(weight, mask, block)
        return len(blocks) * prod(block) * itemsize + 4 * (len(indices) + len(starts))
    data, first, second = {"csr": csr, "csc": csc, "coo": coo}[format](weight, mask)
    return len(data) * itemsize + 4 * (len(first) + len(second))


def product(weight, mask, x, sums=1):
    """y = W x row by row; entry e of a row goes to sum e % sums, what is left of whole rounds to sum 0."""
    out = []
    for sample in x:
        results = []
        for i in range(weight.shape[0]):
            row = [(j, value) for k, j, value in kept_of(weight, mask) if k == i]
            whole = len(row) // sums * sums
            totals = [x.dtype.type(0)] * sums
            for e, (j, value) in enumerate(row):
                place = e % sums if e < whole else 0
                totals[place] = totals[place] + value * sample[j]
            while len(totals) > 1:
                totals = [totals[k] + totals[k + 1] for k in range(0, len(totals), 2)]
            results.append(totals[0])
        out.append(results)
    return out


def kept_of(weight, mask):
    """As `entries`, with values that keep their type."""
    flat, flags = weight.reshape(weight.shape[0], -1), mask.reshape(weight.shape[0], -1)
    return [(i, j, flat[i, j]) for i in range(flat.shape[0]) for j in range(flat.shape[1]) if flags[i, j]]
