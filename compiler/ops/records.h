// The op records, by family. Each is defined with all that is known about its op in the family's
// file; registry.cpp lists the families.
#pragma once
#include "compiler/ir/op.h"

namespace kroton {

// unary.cpp: one operand, elementwise.
extern const OpRecord neg_op, abs_op, sign_op, relu_op, floor_op, ceil_op, sqrt_op;
extern const OpRecord cast_op, stop_gradient_op;
// elementary.cpp: polynomials of compiler/loop/math.h.
extern const OpRecord exp_op, expm1_op, log_op, log1p_op, tanh_op, sigmoid_op, softplus_op, erf_op,
    sin_op, cos_op, pow_op;
// binary.cpp
extern const OpRecord add_op, sub_op, mul_op, div_op, floor_div_op, mod_op, maximum_op, minimum_op;
// compare.cpp: comparison, logic, selection.
extern const OpRecord eq_op, ne_op, lt_op, le_op;
extern const OpRecord logical_and_op, logical_or_op, logical_xor_op, logical_not_op, where_op;
// shape.cpp: the elements of one operand at other indices.
extern const OpRecord broadcast_op, reshape_op, transpose_op, slice_op;
// join.cpp: several operands, or one inside zeros, written into one result.
extern const OpRecord concatenate_op, unslice_op;
// reduce.cpp
extern const OpRecord sum_op, prod_op, max_op, min_op, argmax_op, argmin_op, all_op, any_op;
// prod_others.cpp
extern const OpRecord prod_others_op;
// Its vjp, defined in compiler/scan: a loop.
std::vector<Tensor> differentiate_prod_others(const Tensor& y, const Tensor& g);
// dot.cpp
extern const OpRecord dot_op;
// index.cpp: gathers, scatters, and tensors made of indices.
extern const OpRecord take_op, scatter_add_op, pick_op, one_hot_op, iota_op, size_op;
// loop.cpp
extern const OpRecord loop_op, loop_last_op, loop_stack_op;
// branch.cpp: one of two values, the other not evaluated.
extern const OpRecord ifelse_op;
// call.cpp: functions of the user's own.
extern const OpRecord call_op, call_result_op;
// print.cpp
extern const OpRecord print_op;
// softmax.cpp
extern const OpRecord softmax_op, log_softmax_op, softmax_cross_entropy_op;

// The records of each family, in the order above.
using Family = std::span<const OpRecord* const>;
Family unary_family();
Family elementary_family();
Family binary_family();
Family compare_family();
Family shape_family();
Family join_family();
Family reduce_family();
Family prod_others_family();
Family dot_family();
Family index_family();
Family branch_family();
Family softmax_family();
Family loop_family();
Family call_family();
Family print_family();

}  // namespace kroton
