// The list of all ops. Each record is defined, with all that is known about its op, in the file
// that is named here.
#pragma once
#include "compiler/ir/op.h"

// In the order of all_ops(): op(exp) stands for exp_op.
// clang-format off
#define KROTON_EACH_OP(op)                                                                       \
  /* compiler/ir/leaf.cpp */                                                                     \
  op(input) op(shared) op(literal) op(constant)                                                  \
  /* unary.cpp */                                                                                \
  op(neg) op(abs) op(sign) op(relu) op(floor) op(ceil) op(sqrt) op(cast) op(stop_gradient)       \
  /* elementary.cpp */                                                                           \
  op(exp) op(expm1) op(log) op(log1p) op(tanh) op(sigmoid) op(softplus) op(erf) op(sin) op(cos)  \
  op(atan) op(asin) op(acos) op(pow) op(atan2)                                                   \
  /* functions.cpp, log_sums.cpp, float_parts.cpp, integers.cpp */                               \
  op(tan) op(sinh) op(cosh) op(asinh) op(acosh) op(atanh) op(hypot) op(exp2) op(log2) op(log10)  \
  op(cbrt) op(rsqrt) op(logaddexp) op(logaddexp2) op(log1mexp) op(xlogy) op(xlog1py) op(sinc)    \
  op(round) op(fmod) op(copysign) op(nextafter) op(signbit) op(gcd) op(bitwise_and)              \
  op(bitwise_or) op(bitwise_xor) op(bitwise_not) op(left_shift) op(right_shift)                  \
  op(bitwise_count) op(integer_power)                                                             \
  /* special_*.cpp */                                                                            \
  op(erfc) op(erfcx) op(erfinv) op(erfcinv) op(ndtr) op(log_ndtr) op(ndtri) op(gammaln)          \
  op(gamma) op(digamma) op(polygamma) op(zeta) op(betaln) op(j0) op(j1) op(y0) op(y1) op(i0)     \
  op(i1) op(i0e) op(i1e) op(exp1) op(expi) op(k0) op(k1) op(k0e)  \
  op(k1e) op(gammainc) op(gammaincc) op(betainc) op(no_gradient)                                 \
  op(gammainc_by_a) op(betainc_by_a) op(betainc_by_b) op(zeta_by_s) op(gammaincinv)              \
  op(gammainccinv) op(betaincinv) op(gamma_deviate)                                              \
  /* binary.cpp */                                                                               \
  op(add) op(sub) op(mul) op(div) op(floor_div) op(mod) op(maximum) op(minimum)                  \
  /* compare.cpp: comparison, logic, selection */                                                \
  op(eq) op(ne) op(lt) op(le) op(logical_and) op(logical_or) op(logical_xor) op(logical_not)     \
  op(where)                                                                                      \
  /* shape.cpp: the elements of one operand at other indices */                                  \
  op(broadcast) op(reshape) op(transpose) op(slice)                                              \
  /* size_check.cpp, with_update.cpp: what something more is asked of */                         \
  op(size_check) op(with_update)                                                                 \
  /* join.cpp: several operands, or one inside zeros, written into one result */                 \
  op(concatenate) op(unslice)                                                                    \
  /* cumulative.cpp, linear_recurrence.cpp */                                                    \
  op(cumsum) op(cumprod) op(cummax) op(cummin) op(linear_recurrence)                             \
  /* sort.cpp, argtopk.cpp, searchsorted.cpp */                                                   \
  op(sort) op(argsort) op(argtopk) op(searchsorted)                                              \
  /* fourier.cpp */                                                                              \
  op(fourier)                                                                                    \
  /* reduce.cpp, prod_others.cpp, dot.cpp */                                                     \
  op(sum) op(prod) op(max) op(min) op(argmax) op(argmin) op(all) op(any) op(prod_others) op(dot) \
  /* convolution.cpp */                                                                          \
  op(convolution)                                                                                \
  /* gather.cpp: gathers, scatters, and tensors made of indices */                                \
  op(take) op(scatter_add) op(checked_index) op(pick) op(one_hot) op(iota) op(size)              \
  /* update_at.cpp, take_along_axis.cpp */                                                       \
  op(add_at) op(set_at) op(mul_at) op(max_at) op(min_at) op(take_along_axis)                     \
  /* random.cpp, fisher_yates.cpp */                                                             \
  op(random_uniform) op(random_normal) op(fisher_yates)                                          \
  /* branch.cpp: one of two values, the other not evaluated */                                   \
  op(ifelse)                                                                                     \
  /* softmax.cpp, scan_op.cpp, call.cpp, linear_algebra.cpp, print.cpp */                        \
  op(softmax) op(log_softmax) op(softmax_cross_entropy)                                          \
  op(scan) op(scan_last) op(scan_stack)                                                          \
  op(call) op(call_result) op(cholesky) op(solve_triangular) op(print)                           \
  /* custom.cpp: derivatives of the user's own */                                                \
  op(custom)                                                                                     \
  /* check.cpp, small_matrices.cpp, solve.cpp, lapack_call.cpp */                                \
  op(check) op(small_cholesky) op(small_triangular) op(small_solve) op(small_pivots)             \
  /* small_eigh.cpp, small_svd.cpp, small_qr.cpp */                                                           \
  op(small_eigh) op(small_svd) op(small_qr)                                                      \
  op(solve) op(determinant) op(pinv) op(lapack)                                                  \
  /* sparse_dot.cpp */                                                                           \
  op(sparse_dot) op(sampled_dot)                                                                 \
  /* collectives.cpp: between devices that run one program */                                    \
  op(collective) op(replicate)
// clang-format on

namespace kroton {

// The vjp of prod_others, defined in compiler/scan: a scan.
std::vector<Tensor> differentiate_prod_others(const Tensor& y, const Tensor& g);

#define KROTON_DECLARE(name) extern const OpRecord name##_op;
KROTON_EACH_OP(KROTON_DECLARE)
#undef KROTON_DECLARE

}  // namespace kroton
