"""Sixteen rows at a time: the two inner loops of forward and backward in explicit vector instructions.

Values are laid out node by node, `stride` rows (lanes) each, so that one connection touches 16 neighbouring
numbers. LLVM's loop vectoriser does not keep the accumulators of these loops in registers (measured: 3 GF/s
against 28 GF/s), so the loops are spelled as LLVM vectors. Each has its plain twin, which is what it means;
multiplication and addition stay separate and sums run in one fixed order, so both give the same bits.
"""

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16
WIDE = 64  # lanes of gather_wide: four vectors at a time hide the latency of the addition


def plain_gather(first, last, read, weight, values, origin, stride, bias, sums, at, lanes=LANES):
    """sums[at + lane] = bias + sum over connections of weight * values[origin + read * stride + lane]."""
    for lane in range(lanes):
        total = bias
        for edge in range(first, last):
            total += weight[edge] * values[origin + read[edge] * stride + lane]
        sums[at + lane] = total


def plain_gather_wide(first, last, read, weight, values, origin, stride, bias, sums, at):
    """`plain_gather` for 64 lanes."""
    plain_gather(first, last, read, weight, values, origin, stride, bias, sums, at, WIDE)


def plain_total(values):
    """Sum sixteen numbers in a fixed tree: halves are added to halves until one is left."""
    values = list(values)
    while len(values) > 1:
        half = len(values) // 2
        values = [values[i] + values[i + half] for i in range(half)]
    return values[0]


def plain_correlate(first, last, read, values, origin, stride, delta, at, gradient):
    """gradient[edge] += sum over lanes of values[source] * delta[target], added as a fixed tree."""
    for edge in range(first, last):
        start = origin + read[edge] * stride
        gradient[edge] += plain_total([values[start + i] * delta[at + i] for i in range(LANES)])


def plain_scatter(first, last, read, weight, values, origin, stride, delta, at, gradient):
    """As correlate, and hands the delta on: delta[source] += weight * delta[target], lane by lane."""
    plain_correlate(first, last, read, values, origin, stride, delta, at, gradient)
    for edge in range(first, last):
        start = origin + read[edge] * stride
        for lane in range(LANES):
            delta[start + lane] += weight[edge] * delta[at + lane]


def _data(context, builder, kind, array):
    return make_array(kind)(context, builder, array).data


def _splat(builder, value, vector):
    lane = ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, lane)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)


def _load(builder, data, index, vector, scalar_bytes):
    pointer = builder.bitcast(builder.gep(data, [index]), vector.as_pointer())
    return builder.load(pointer, align=scalar_bytes)


def _store(builder, value, data, index, scalar_bytes):
    pointer = builder.bitcast(builder.gep(data, [index]), value.type.as_pointer())
    builder.store(value, pointer, align=scalar_bytes)


def _total(builder, vector):
    """The tree of plain_total: fold the upper half of the vector onto the lower one."""
    count = vector.type.count
    while count > 1:
        count //= 2
        index = ir.VectorType(ir.IntType(32), count)
        nothing = ir.Constant(vector.type, ir.Undefined)
        low = builder.shuffle_vector(vector, nothing, ir.Constant(index, list(range(count))))
        high = builder.shuffle_vector(vector, nothing, ir.Constant(index, list(range(count, 2 * count))))
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _loop(builder, first, last, carried=()):
    """Open `for edge in range(first, last)`; returns (edge, carried phi nodes, close)."""
    before = builder.block
    head = builder.function.append_basic_block("edges")
    body = builder.function.append_basic_block("edge")
    after = builder.function.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    edge = builder.phi(first.type)
    edge.add_incoming(first, before)
    phis = []
    for start in carried:
        phi = builder.phi(start.type)
        phi.add_incoming(start, before)
        phis.append(phi)
    builder.cbranch(builder.icmp_signed("<", edge, last), body, after)
    builder.position_at_end(body)

    def close(results=()):
        for phi, result in zip(phis, results, strict=True):
            phi.add_incoming(result, builder.block)
        edge.add_incoming(builder.add(edge, ir.Constant(first.type, 1)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)

    return edge, phis, close


def _start(builder, read, edge, origin, stride):
    source = builder.sext(builder.load(builder.gep(read, [edge])), origin.type)
    return builder.add(origin, builder.mul(source, stride))


def _shape(context, dtype):
    scalar = context.get_value_type(dtype)
    return ir.VectorType(scalar, LANES), dtype.bitwidth // 8


def _gather_code(context, builder, signature, arguments, lanes):
    first, last, read, weight, values, origin, stride, bias, sums, at = arguments
    vector, width = _shape(context, signature.args[4].dtype)
    read, weight, values, sums = (_data(context, builder, signature.args[i], arguments[i]) for i in (2, 3, 4, 8))
    offsets = [ir.Constant(at.type, lane) for lane in range(0, lanes, LANES)]
    edge, totals, close = _loop(builder, first, last, [_splat(builder, bias, vector)] * len(offsets))
    start = _start(builder, read, edge, origin, stride)
    factor = _splat(builder, builder.load(builder.gep(weight, [edge])), vector)
    added = []
    for total, offset in zip(totals, offsets, strict=True):
        several = _load(builder, values, builder.add(start, offset), vector, width)
        added.append(builder.fadd(total, builder.fmul(factor, several)))
    close(added)
    for total, offset in zip(totals, offsets, strict=True):
        _store(builder, total, sums, builder.add(at, offset), width)
    return context.get_dummy_value()


def _gather_signature(read, weight, values, sums):
    return types.void(types.int64, types.int64, read, weight, values, types.int64, types.int64, values.dtype, sums,
                      types.int64)


@intrinsic
def _vector_gather(typingctx, first, last, read, weight, values, origin, stride, bias, sums, at):
    def codegen(context, builder, signature, arguments):
        return _gather_code(context, builder, signature, arguments, LANES)

    return _gather_signature(read, weight, values, sums), codegen


@intrinsic
def _vector_gather_wide(typingctx, first, last, read, weight, values, origin, stride, bias, sums, at):
    def codegen(context, builder, signature, arguments):
        return _gather_code(context, builder, signature, arguments, WIDE)

    return _gather_signature(read, weight, values, sums), codegen


@intrinsic
def _vector_correlate(typingctx, first, last, read, values, origin, stride, delta, at, gradient):
    signature = types.void(types.int64, types.int64, read, values, types.int64, types.int64, delta,
                           types.int64, gradient)

    def codegen(context, builder, signature, arguments):
        first, last, read, values, origin, stride, delta, at, gradient = arguments
        vector, width = _shape(context, signature.args[3].dtype)
        read, values, delta, gradient = (
            _data(context, builder, signature.args[i], arguments[i]) for i in (2, 3, 6, 8))
        error = _load(builder, delta, at, vector, width)
        edge, _, close = _loop(builder, first, last)
        lanes = _load(builder, values, _start(builder, read, edge, origin, stride), vector, width)
        place = builder.gep(gradient, [edge])
        builder.store(builder.fadd(builder.load(place), _total(builder, builder.fmul(lanes, error))), place)
        close()
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _vector_scatter(typingctx, first, last, read, weight, values, origin, stride, delta, at, gradient):
    signature = types.void(types.int64, types.int64, read, weight, values, types.int64, types.int64, delta,
                           types.int64, gradient)

    def codegen(context, builder, signature, arguments):
        first, last, read, weight, values, origin, stride, delta, at, gradient = arguments
        vector, width = _shape(context, signature.args[4].dtype)
        read, weight, values, delta, gradient = (
            _data(context, builder, signature.args[i], arguments[i]) for i in (2, 3, 4, 7, 9))
        error = _load(builder, delta, at, vector, width)
        edge, _, close = _loop(builder, first, last)
        start = _start(builder, read, edge, origin, stride)
        lanes = _load(builder, values, start, vector, width)
        place = builder.gep(gradient, [edge])
        builder.store(builder.fadd(builder.load(place), _total(builder, builder.fmul(lanes, error))), place)
        factor = _splat(builder, builder.load(builder.gep(weight, [edge])), vector)
        handed = builder.fadd(_load(builder, delta, start, vector, width), builder.fmul(factor, error))
        _store(builder, handed, delta, start, width)
        close()
        return context.get_dummy_value()

    return signature, codegen


if numba.config.DISABLE_JIT:
    gather, gather_wide, correlate, scatter = plain_gather, plain_gather_wide, plain_correlate, plain_scatter
else:
    gather, gather_wide, correlate, scatter = (_vector_gather, _vector_gather_wide, _vector_correlate,
                                               _vector_scatter)
