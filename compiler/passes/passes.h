// The graph passes. Each is a free function that returns whether it changed the graph; their order
// and its reasons are the table in pipeline.cpp.
#pragma once
#include "compiler/ir/graph.h"

namespace kroton {

// Removes identities and normal-forms local algebra: x*1, x+0, x-0, x/1, --x, pow with small
// constant exponents, transpose of transpose, reshape of reshape, cast to the same dtype, select
// with equal branches, reductions over no axes or axes of size 1, nested scalar factors, slices of
// elementwise operations (taken before the operation).
bool canonicalize(Graph& graph);
// Rewrites expressions that lose accuracy into stable ones: log(softmax(x)), 1/(1+exp(-x)),
// log(sigmoid(x)), log(1-sigmoid(x)), log(1+exp(x)), log(1+x), exp(x)-1, log_softmax picked at
// integer labels ...
bool stabilize(Graph& graph);
// Merges vertices with equal op, attributes and operands.
bool eliminate_common_subexpressions(Graph& graph);
// An update that adds multiples of scatter_adds to the old value of its variable becomes an add_at,
// which touches only the elements that change.
bool scatter_into_states(Graph& graph);
// Evaluates vertices whose operands are constants (by the reference interpreter, results of at
// most 1024 elements).
bool fold_constants(Graph& graph);
// What may fail and is needed in several branches of ifelse, but not always, gets a condition of
// its own: v becomes ifelse(one of these branches is taken, v, 0). Nothing may merge them again.
bool confine_failures(Graph& graph);
// Drops what no output or update needs.
bool eliminate_dead_code(Graph& graph);
// What is computed of f16 and bf16 becomes the same of their conversions to f32, its result
// rounded: no other pass, and no code, does arithmetic on a dtype that is only stored. Views and
// ops that only move or compare elements stay (OpRecord::keeps_stored).
bool compute_in_wider_dtypes(Graph& graph);
// Replaces composite ops (softmax, mean, ...) by their compositions.
bool expand_composites(Graph& graph);
// Rewrites products that are better as a fused reduction than as a tiled matrix product (a vector
// operand, one row or one column) into sum(a * b).
bool reduce_small_dots(Graph& graph);

// Runs the passes on the bodies of loops; states, rows and operands that no result needs leave.
// Matrices that products in a body read transposed in each step are transposed before the loop.
bool optimize_scans(Graph& graph);

// Whether the verifier runs after each pass; in debug builds it does anyway. Tests set it.
extern bool verify_passes;

struct Pass {
  const char* name;
  bool (*run)(Graph& graph);
  const char* reason;            // of its place in the list
  bool before_gradient = false;  // whether it is worth running on a cost that is differentiated
};
// The passes on graphs, in the order they run: the table of pipeline.cpp.
std::span<const Pass> all_passes();

// Runs the table of pipeline.cpp. To stderr, as the environment asks: KROTON_DUMP ("all", or pass
// names separated by commas; "input" is the graph before the first pass) prints the graph after
// each pass, KROTON_TIME the time of each.
void run_passes(Graph& graph);
// The same on the body of a loop, with its dumps titled so.
void run_passes_in_loop(Graph& body);
// The part of the table that is worth running on a cost before it is differentiated:
// canonicalize, stabilize, cse. Keeps composites.
void run_passes_before_gradient(Graph& graph);

}  // namespace kroton
