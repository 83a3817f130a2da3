"""One program or more for each class: of access, reduction, shape, fusion, schedule. Each line has
its name, the sizes it is measured with, those for a first look, and its floor."""
import math

from case import Case


def streamed(tensors):
    """Bytes of f32: so many times the product of the sizes."""
    return lambda *n: ("triad", 4 * tensors * math.prod(n))


def of_bytes(count):
    return lambda *n: ("triad", count(*n))


def of_products(count):
    """Multiply-adds, by the sizes."""
    return lambda *n: ("f32", 2 * count(*n))


PROGRAMS = [
    ("positions/argmax_rows", "100000x10 1000000x3 1000x1000", "50000x10 1000x1000", streamed(1)),
    ("positions/argmax_rows_free", "100000x10", "50000x10", streamed(1)),
    ("positions/argmin_rows", "100000x10", "50000x10", streamed(1)),
    ("positions/argmax_columns", "1024x1024", "1024x1024", streamed(1)),
    ("positions/argmax_middle", "64x128x256", "32x128x64", streamed(1)),
    ("positions/argmax_all", "10000000", "1000000", streamed(1)),

    ("short/max_rows", "1000000x10 1000000x3", "100000x10", streamed(1)),
    ("short/max_rows_free", "1000000x10 1000000x3", "100000x10", streamed(1)),
    ("short/sum_rows", "1000000x10 1000000x3", "100000x10", streamed(1)),
    ("short/sum_rows_free", "1000000x10", "100000x10", streamed(1)),
    ("short/softmax_rows", "1000000x10 1000000x3", "100000x10", streamed(2)),
    ("short/softmax_rows_free", "1000000x10", "100000x10", streamed(2)),
    ("short/log_sum_exp_rows", "1000000x10", "100000x10", streamed(1)),
    ("short/unit_rows", "1000000x3", "100000x3", streamed(2)),
    ("short/sum_columns", "1000000x8 1000000x3", "100000x8", streamed(1)),
    ("short/sum_columns_free", "1000000x8", "100000x8", streamed(1)),
    ("short/max_columns", "1000000x8", "100000x8", streamed(1)),
    ("short/running_sum_rows", "1000x1000", "1000x1000", streamed(2)),
    ("short/running_sum_columns", "1000x1000", "1000x1000", streamed(2)),

    ("threads/logistic_gradient", "100000x50", "20000x50", streamed(1)),
    ("threads/logistic_hessian_product", "100000x50", "20000x50", streamed(1)),
    ("threads/nearest_centres", "100000x16x16", "20000x16x16", None),
    ("threads/batch_of_one", "512", "512", of_products(lambda n: n**3)),
    ("threads/sum_middle", "64x1000x64", "64x1000x64", streamed(1)),
    ("threads/sum_outer_and_inner", "64x256x256", "64x64x64", streamed(1)),
    ("threads/mean_and_variance_of_channels", "32x64x28x28", "32x16x28x28", streamed(1)),
    ("threads/softmax_columns", "1000x1000 100000x10", "1000x1000 20000x10", streamed(2)),
    ("threads/sum_all", "10000000", "1000000", streamed(1)),

    ("access/transpose", "4096x4096 1000000x8", "2048x2048", streamed(2)),
    ("access/add_transposed", "4096x4096", "2048x2048", streamed(3)),
    ("access/sum_columns_of_product", "4096x4096", "2048x2048", streamed(2)),
    ("access/sum_rows_of_product", "4096x4096", "2048x2048", streamed(2)),
    ("access/softmax_of_transposed", "2048x2048", "1024x1024", streamed(2)),
    ("access/permute_0213", "16x128x64x64", "8x64x32x64", streamed(2)),
    ("access/permute_0231", "16x128x64x64", "8x64x32x64", streamed(2)),
    ("access/permute_0312", "16x128x64x64", "8x64x32x64", streamed(2)),
    ("access/permute_1032", "16x128x64x64", "8x64x32x64", streamed(2)),
    ("access/permute_3210", "16x128x64x64", "8x64x32x64", streamed(2)),
    ("access/add_permuted", "16x64x64x64", "8x32x64x32", streamed(3)),
    ("access/transpose_small", "100000x4x4 100000x3x8", "20000x4x4", streamed(2)),
    ("access/reversed", "10000000", "1000000", streamed(2)),

    ("strides/bodies", "1000x3", "500x3", None),
    ("strides/pooling", "32x64x56x56", "8x64x56x56", streamed(1.25)),
    ("strides/pooling_gradient", "32x64x56x56", "8x64x56x56", streamed(2)),
    ("strides/every_second", "10000000", "1000000", streamed(1.5)),
    ("strides/every_second_column", "2000x2000", "1000x1000", streamed(1.5)),
    ("strides/small_products", "100000x3x3 100000x4x4", "20000x3x3", streamed(3)),
    ("strides/rotated_points", "1000000x3", "100000x3", streamed(2)),
    ("strides/complex_product", "1000000x2", "100000x2", streamed(3)),

    ("reshapes/dense", "64x128x256x256", "16x128x256x256",
     of_products(lambda b, t, d, e: b * t * d * e)),
    ("reshapes/attention", "8x128x256x8", "4x64x128x4",
     of_products(lambda b, t, d, h: b * t * d * (4 * d + 2 * t))),
    ("reshapes/attention_gradient", "8x128x256x8", "4x64x128x4",
     of_products(lambda b, t, d, h: b * t * d * (11 * d + 6 * t))),
    ("reshapes/split_heads", "32x256x512x8", "8x128x256x8",
     of_bytes(lambda b, t, d, h: 8 * b * t * d)),
    ("reshapes/merge_heads", "32x256x512x8", "8x128x256x8",
     of_bytes(lambda b, t, d, h: 8 * b * t * d)),
    ("reshapes/jacobian", "256x256x256", "128x128x128", None),
    ("reshapes/patches", "32x64x16x256", "8x64x16x256",
     of_products(lambda i, s, c, w: i * s * s * c * w)),

    ("joins/pad", "2000x2000", "1000x1000", streamed(2)),
    ("joins/pad_of_pad", "2000x2000", "1000x1000", streamed(2)),
    ("joins/pad_product", "2000x2000", "1000x1000", streamed(3)),
    ("joins/concatenate_rows", "2000x2000", "1000x1000", streamed(4)),
    ("joins/concatenate_columns", "2000x2000 100000x16", "1000x1000", streamed(4)),
    ("joins/interleave", "4000000", "1000000", streamed(4)),
    ("joins/concatenated_twice", "100000x16", "50000x16", streamed(6)),
    ("joins/rotated", "10000000", "1000000", streamed(2)),
    ("joins/slice_gradient", "2000x2000", "1000x1000", streamed(2)),
    ("joins/differences", "2000x2000", "1000x1000", streamed(3)),
    ("joins/total_variation_gradient", "1000x1000", "1000x1000", streamed(2)),
    ("joins/blur", "2000x2000", "1000x1000", streamed(2)),
    ("joins/blur_gradient", "2000x2000", "1000x1000", streamed(2)),
    ("joins/heat", "1000x1000", "500x500", streamed(2)),
    ("joins/heat_gradient", "1000x1000", "500x500", streamed(2)),
    ("joins/runge_kutta", "1000x2 100000x2", "1000x2", None),
    ("joins/runge_kutta_gradient", "1000x2 100000x2", "1000x2", None),

    ("stored/batch_norm", "20000x256", "5000x256", streamed(2)),
    ("stored/batch_norm_gradient", "20000x256", "5000x256", streamed(3)),
    ("stored/image_norm_gradient", "32x64x28x28", "8x64x28x28", streamed(3)),
    ("stored/layer_norm", "4096x512", "1024x512", streamed(2)),
    ("stored/layer_norm_gradient", "4096x512", "1024x512", streamed(3)),
    ("stored/pairwise_distances", "2000x2000x16", "500x500x16", None),
    ("stored/divided_by_columns", "4000x1000", "1000x1000", streamed(2)),
    ("stored/divided_by_rows", "4000x1000", "1000x1000", streamed(2)),
    ("stored/outer_sum", "4000x1000", "1000x1000", streamed(2)),

    ("pointwise/polynomial20", "1000000 1000", "100000", None),
    ("pointwise/polynomial20_contracted", "1000000 1000", "100000", None),
    ("pointwise/black_scholes", "1000000", "100000", None),
    ("pointwise/log_add", "1000000", "100000", streamed(3)),
    ("pointwise/gelu_gradient", "1000000", "100000", streamed(3)),
    ("pointwise/pieces", "10000000", "1000000", streamed(2)),
    ("pointwise/polar", "1000000", "100000", None),
    ("pointwise/continued_fraction", "1000000", "100000", None),

    ("gathers/take_rows", "50000x64x20000 1000000x1x1000000", "10000x64x5000",
     of_bytes(lambda rows, width, count: 8 * count * width)),
    ("gathers/take_rows_gradient", "50000x64x20000", "10000x64x5000", None),
    ("gathers/take_columns", "2000x2000x500", "1000x1000x200", None),
    ("gathers/scatter", "50000x64x20000", "10000x64x5000", None),
    ("gathers/histogram", "1000x1000000", "1000x100000", None),
    ("gathers/pick", "100000x100", "10000x100", streamed(1)),
    ("gathers/interpolation", "1000x1000000", "1000x100000", None),
    ("gathers/bundle", "100x10000x100000", "100x5000x20000", None),
    ("gathers/bundle_gradient", "100x10000x100000", "100x5000x20000", None),
    ("gathers/message_passing", "10000x64x50000", "5000x64x10000", None),

    ("sparse/embedding_sgd", "50000x64x1024", "10000x64x512", None),
    ("sparse/embedding_momentum", "50000x64x1024", "10000x64x512", None),
    ("sparse/embedding_adam", "50000x64x1024", "10000x64x512", None),

    ("optimisers/sgd", "4000000", "1000000", streamed(3)),
    ("optimisers/momentum", "4000000", "1000000", streamed(5)),
    ("optimisers/adam", "4000000", "1000000", streamed(7)),
    ("optimisers/sgd_classifier", "128x784x512x10", "32x784x512x10", None),
    ("optimisers/momentum_classifier", "128x784x512x10", "32x784x512x10", None),
    ("optimisers/adam_classifier", "128x784x512x10", "32x784x512x10", None),

    ("recurrent/gru", "50x32x128x128", "20x16x64x64",
     of_products(lambda t, b, i, h: 3 * t * b * 3 * h * (i + h))),
    ("recurrent/rnn", "100x1x32x32", "100x1x32x32", None),
    ("recurrent/kalman", "1000", "1000", None),
    ("recurrent/orbit", "1000", "1000", None),
    ("recurrent/rod", "1000x1000", "1000x200", None),

    ("graphs/hand", "28x20", "28x20", None),
    ("graphs/autoencoder", "128x784x400x20", "32x784x400x20", None),

    ("ops/sort", "1000x1000 1000000 100000x10 20000x50 500x2000", "1000x1000 2000x50", None),
    ("ops/argsort", "1000x1000 1000000 20000x50", "1000x1000", None),
    ("ops/topk", "1000x1000", "1000x1000", None),
    ("ops/median", "1000x1000", "1000x1000", None),
    ("ops/cumprod", "1000x1000", "1000x1000", streamed(2)),
    ("ops/cummax", "1000x1000", "1000x1000", streamed(2)),
    ("ops/erfc", "1000000", "100000", streamed(2)),
    ("ops/gammaln", "1000000", "100000", streamed(2)),
    ("ops/bessel_j0", "1000000", "100000", streamed(2)),
    ("ops/gammainc", "100000", "10000", None),
    ("ops/rfft_power", "1000x1024 1000x1000 100x4096", "100x1024", None),

    ("linalg/cholesky", "10000x6 100x64 4x500", "1000x6 10x64", None),
    ("linalg/solve", "10000x6 100x64 4x500", "1000x6 10x64", None),
    ("linalg/inv", "10000x4 100x64", "1000x4", None),
    ("linalg/logdet_gradient", "10000x6 4x200", "1000x6", None),
    ("linalg/eigvalsh", "100x20 2x200", "100x20", None),
    ("linalg/products", "10000x3 10000x8", "1000x8", None),

    ("jacobian/layers", "10x64x50 100x256x30", "10x64x50", None),
    ("jacobian/peaks", "1000x5", "200x5", None),
    ("jacobian/logistic_hessian", "1000x50", "200x20", None),
    ("jacobian/rosenbrock_hessian", "100", "50", None),

    ("compile/graphs/product", "512", "512", None),
    ("compile/reshapes/attention", "4x64x128x4", "4x64x128x4", None),
    ("compile/reshapes/attention_gradient", "4x64x128x4", "", None),
    ("compile/joins/blur_gradient", "100x100", "100x100", None),
    ("compile/joins/runge_kutta_gradient", "100x2", "", None),
    ("compile/graphs/hand", "28x20", "28x20", None),
    ("compile/graphs/autoencoder", "32x784x400x20", "32x784x400x20", None),
    ("compile/graphs/constant", "12500000", "12500000", None),
    ("compile/graphs/layers", "8 16 32 64", "8 16", None),
    ("compile/optimisers/adam_classifier", "32x784x512x10", "", None),
]


def cases(quick=False):
    """All, or those for a first look."""
    for name, sizes, quick_sizes, floor in PROGRAMS:
        shorter = None
        for size in (quick_sizes if quick else sizes).split():
            numbers = [int(number) for number in size.split("x")]
            full = f"classes/{name}/{size}"
            target = [("best", 0.95)]
            if floor is None:
                unit, scale = ("ms", 1e3) if name.startswith("compile/") else ("us", 1e6)
                yield Case(full, 1, unit, scale, higher=False, target=target, shorter=shorter)
                # Graphs are compiled in the order of their sizes.
                shorter = full if name.startswith("compile/") else None
                continue
            kind, work = floor(*numbers)
            if kind == "triad":
                target.append([("floor", 0.75), ("best", 1.5)])
            yield Case(full, work, "GB/s" if kind == "triad" else "GFLOP/s", 1e-9, (kind, work),
                       target=target)
