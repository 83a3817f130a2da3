#include "compiler/loop/schedule.h"

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "compiler/loop/dependence.h"
#include "compiler/loop/elementary.h"
#include "compiler/loop/interleaved.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr std::int64_t least_vector_extent = 4;
constexpr std::int64_t least_register = 16;  // bytes
constexpr std::int64_t least_element = 4;    // bytes, of what lanes hold
// Iterations of a parallel loop over a one-dimensional kernel: enough elements to outweigh handing
// them out, few enough to share evenly.
constexpr std::int64_t chunk_of_elements = 16384;
// Iterations that threads share evenly whatever their number.
constexpr std::int64_t shared_evenly = 64;
// The same where every element has a loop of its own; a multiple of all vector steps.
constexpr std::int64_t chunk_of_loops = 256;

bool is_one(const Expr& stride) {
  return stride != nullptr && stride->op == Op::integer && stride->integer == 1;
}

// Which of the loops of a nest is wanted for the lanes: one without gathers before any with some.
// Stores apart from each other, too, only where nothing else fills the lanes: rows that are too
// short for them, or much arithmetic that is written out for each iteration, as that on a small
// matrix.
enum class Gathers : std::uint8_t { none, some, also_stores, written_out };

// Operations per lane and step, index arithmetic and leaves left out.
int operation_count(const LoopFacts& facts) {
  int count = 0;
  for (const Expr& e : facts.nodes()) count += facts.varies(e) ? operations_of(*e) : 0;
  return count;
}

// Arithmetic that makes up for a gather, whose elements are loaded one by one as in scalar code,
// and then put together.
constexpr int operations_of_gather = 4;

// What part of a vector's lanes rows must fill, or they lie in the lanes themselves.
constexpr std::int64_t least_filled = 4;  // one in so many

// Whether loads and stores suit vectors: contiguous stores, and for each gather a contiguous load
// or some arithmetic. Loads that all lanes share cost nothing either way.
bool has_vector_accesses(const For& loop, const LoopFacts& facts, Gathers allowed) {
  std::unordered_set<const ExprNode*> together;  // indices of stores that leave no gaps
  const auto note = [&](const Block& block) {
    const auto stride = [&](const Expr& index) { return facts.stride(index); };
    for (const Interleaved& group : interleaved_stores(block, stride)) {
      for (const std::size_t k : group.stores)
        together.insert(std::get<Store>(block[k]).index.get());
    }
  };
  note(loop.body);
  visit_statements(loop.body, [&](const Stmt& s) { for_each_inner(s, note); });
  int contiguous = 0;
  int apart = 0;  // accesses of single elements
  int loads = 0;
  bool is_strided = false;
  for (const Access& access : facts.accesses()) {
    const Expr stride = facts.stride(access.index);
    if (access.is_store) {
      if (is_one(stride) || together.contains(access.index.get())) continue;
      if (allowed < Gathers::also_stores) return false;
      apart += 2;
      continue;
    }
    if (!facts.varies(access.index)) continue;
    ++loads;
    std::int64_t step = 0;
    if (is_one(stride)) {
      ++contiguous;
    } else if (stride && is_integer_constant(stride, step) &&
               (is_short_stride(step) || step == -1)) {
      is_strided = true;
    } else {
      ++apart;
    }
  }
  if (apart == 0 && !is_strided) return true;
  if (allowed == Gathers::none) return false;
  const int arithmetic = operation_count(facts) - loads;
  if (allowed == Gathers::written_out) return !facts.has_inner_loop() && apart <= arithmetic;
  return apart <= contiguous + arithmetic / operations_of_gather;
}

// The widest element that lanes hold. Index arithmetic does not count: it is affine, or feeds
// gathers.
std::int64_t widest_element(const LoopFacts& facts) {
  std::int64_t widest = least_element;
  const auto note = [&](DType dtype) { widest = std::max(widest, size_of(dtype)); };
  for (const Expr& e : facts.nodes()) {
    if (facts.varies(e) && (is_float(e->dtype) || e->op == Op::load)) note(e->dtype);
  }
  for (const Access& access : facts.accesses()) {
    if (access.is_store) note(access.buffer->dtype);
  }
  for (const DType dtype : facts.accumulated_dtypes()) note(dtype);
  return widest;
}

// The narrowest floating number that lanes compute with, 8 bytes if there is none.
std::int64_t narrowest_float(const LoopFacts& facts) {
  std::int64_t narrowest = 8;
  for (const Expr& e : facts.nodes()) {
    const bool is_computed = is_float(e->dtype) && !is_only_stored(e->dtype);
    if (facts.varies(e) && is_computed) narrowest = std::min(narrowest, size_of(e->dtype));
  }
  return narrowest;
}

// Whether a loop inside looks where what it has stored tells it to, as bisection does: each of its
// steps waits for the load of the one before.
bool searches(const LoopFacts& facts) {
  std::unordered_set<const Buffer*> stored;
  for (const Access& access : facts.accesses()) {
    if (access.is_store && !access.inner.empty()) stored.insert(access.buffer.get());
  }
  return std::any_of(facts.accesses().begin(), facts.accesses().end(), [&](const Access& access) {
    if (access.is_store || access.inner.empty() || facts.stride(access.index) != nullptr) {
      return false;
    }
    const std::vector<Expr> nodes = post_order(std::span(&access.index, 1));
    return std::any_of(nodes.begin(), nodes.end(), [&](const Expr& e) {
      return e->op == Op::load && stored.contains(e->buffer.get());
    });
  });
}

// How many vectors search at once.
constexpr int searching_vectors = 4;

// Several vectors per step hide the latency of accumulations; two let the processor overlap more of
// a long chain of operations than its window holds of one after the other. A body with loops of its
// own is large enough, and a very long one not worth the code.
int copies_for(const LoopFacts& facts) {
  if (facts.has_inner_loop()) return 1;
  const int operations = operation_count(facts);
  if (facts.has_accumulation() && operations <= 12) return 4;
  return operations <= 80 ? 2 : 1;
}

// Makes the loop a vector loop if it can be one.
bool try_vectorize(For& loop, int lanes_bytes, Gathers allowed) {
  const std::optional<std::int64_t> most_iterations = constant_bound(loop.extent);
  if (loop.kind != LoopKind::serial ||
      most_iterations.value_or(least_vector_extent) < least_vector_extent) {
    return false;
  }
  const LoopFacts facts(loop);
  if (facts.has_vector_loop() || facts.has_allocation() || facts.has_varying_control() ||
      facts.reads_reduced() || !has_vector_accesses(loop, facts, allowed) ||
      !facts.iterations_are_independent(false)) {
    return false;
  }
  loop.kind = LoopKind::vector;
  loop.width = static_cast<int>(lanes_bytes / widest_element(facts));
  // Narrower vectors are computed with in whole registers, whose other lanes may hold anything.
  loop.width = std::max(loop.width, static_cast<int>(least_register / narrowest_float(facts)));
  loop.interleave = copies_for(facts);
  if (searches(facts)) loop.width *= searching_vectors;
  if (most_iterations) {
    // No more lanes than the loop can fill.
    const auto most =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(*most_iterations)));
    loop.width = static_cast<int>(std::min<std::int64_t>(loop.width, most));
    while (loop.interleave > 1 && loop.width * loop.interleave > *most_iterations) {
      loop.interleave /= 2;
    }
  }
  return loop.width > 1;
}

// Whether the loop is one over rows, each with several loops over the few elements that it has,
// which fill too little of a vector.
bool is_over_short_rows(const For& loop, int lanes_bytes) {
  int loops = 0;
  bool all_short = true;
  for (const Stmt& s : loop.body) {
    const For* inner = as_for(s);
    if (inner == nullptr) continue;
    ++loops;
    std::int64_t extent = 0;
    all_short = all_short && is_integer_constant(inner->extent, extent) &&
                extent * least_element <= lanes_bytes / least_filled &&
                !LoopFacts(*inner).has_inner_loop();
  }
  std::int64_t rows = 0;
  const bool few = is_integer_constant(loop.extent, rows) && rows * least_element < lanes_bytes;
  return loops > 1 && all_short && !few;
}

Block vectorize_block(const Block& block, int lanes_bytes, Gathers allowed) {
  return replace_loops(block, [&](const For& found, Block& result) {
    For loop = found;
    if (loop.kind != LoopKind::vector) {
      For wide = loop;
      if (is_over_short_rows(loop, lanes_bytes) &&
          try_vectorize(wide, lanes_bytes, Gathers::also_stores)) {
        result.push_back(statement(std::move(wide)));
        return;
      }
      loop.body = vectorize_block(loop.body, lanes_bytes, allowed);
      wide = loop;
      if (try_vectorize(wide, lanes_bytes, allowed)) loop = std::move(wide);
    }
    result.push_back(statement(std::move(loop)));
  });
}

// The number of chunks that cover `extent`.
Expr chunk_count(const Expr& extent, std::int64_t chunk) {
  if (const std::optional<Dim> dim = as_dim(extent)) return size(ceil_div(*dim, chunk));
  return binary(Op::floor_div, extent + integer(chunk - 1), integer(chunk));
}

// The loop as a loop over chunks around a loop over each chunk's elements.
For strip_mine(const For& loop, std::int64_t chunk) {
  const Variable outer = fresh_variable("chunk");
  const Variable inner = fresh_variable(loop.variable.name);
  const Expr start = variable(outer) * integer(chunk);
  For elements = loop;
  elements.variable = inner;
  elements.extent = binary(Op::min, loop.extent - start, integer(chunk));
  elements.body = substitute(loop.body, {{loop.variable, start + variable(inner)}});
  For chunks;
  chunks.variable = outer;
  chunks.extent = chunk_count(loop.extent, chunk);
  chunks.body = {statement(std::move(elements))};
  return chunks;
}

// Where the loop's iterations may be few and each is a loop of independent ones, one loop over all.
For with_inner_shared(For loop) {
  const For* inner = loop.body.size() == 1 ? as_for(loop.body[0]) : nullptr;
  std::int64_t extent = 0;
  const bool enough = is_integer_constant(loop.extent, extent) && extent >= shared_evenly;
  if (inner == nullptr || enough || !loop.is_independent || !inner->is_independent ||
      inner->kind != LoopKind::serial || !as_dim(loop.extent) || !as_dim(inner->extent)) {
    return loop;
  }
  For both;
  both.variable = fresh_variable("task");
  both.extent = loop.extent * inner->extent;
  both.is_independent = true;
  const Expr task = variable(both.variable);
  both.body = substitute(inner->body, {{loop.variable, binary(Op::floor_div, task, inner->extent)},
                                       {inner->variable, binary(Op::mod, task, inner->extent)}});
  return both;
}

}  // namespace

bool vectorize_loop(For& loop, int lanes_bytes) {
  for (const Gathers allowed : {Gathers::none, Gathers::some}) {
    For wide = loop;
    if (!try_vectorize(wide, lanes_bytes, allowed)) continue;
    loop = std::move(wide);
    return true;
  }
  return false;
}

Kernel vectorize(const Kernel& kernel, int lanes_bytes) {
  Kernel result = kernel;
  for (const Gathers allowed : {Gathers::none, Gathers::some, Gathers::written_out}) {
    result.body = vectorize_block(result.body, lanes_bytes, allowed);
  }
  return result;
}

const For* outermost_loop(const Kernel& kernel) {
  const For* outermost = kernel.body.empty() ? nullptr : as_for(kernel.body.back());
  const bool only_scalars_before =
      std::all_of(kernel.body.begin(), kernel.body.end() - (outermost == nullptr ? 0 : 1),
                  [](const Stmt& s) { return std::holds_alternative<Declare>(s); });
  return only_scalars_before ? outermost : nullptr;
}

Kernel note_independence(const Kernel& kernel) {
  const For* outermost = outermost_loop(kernel);
  if (outermost == nullptr || outermost->is_independent) return kernel;
  For loop = *outermost;
  loop.is_independent = LoopFacts(loop).iterations_are_independent(true);
  Kernel result = kernel;
  result.body.back() = statement(std::move(loop));
  return result;
}

Kernel parallelize(const Kernel& kernel) {
  const For* outermost = outermost_loop(kernel);
  if (outermost == nullptr) return kernel;
  For loop = *outermost;
  if (loop.kind != LoopKind::serial && loop.kind != LoopKind::vector) return kernel;
  loop = with_inner_shared(std::move(loop));
  const LoopFacts facts(loop);
  if (facts.reduces()) return kernel;
  if (!loop.is_independent && !facts.iterations_are_independent(true)) return kernel;
  if (loop.kind == LoopKind::vector || !facts.has_inner_loop()) {
    const std::int64_t chunk = facts.has_inner_loop() ? chunk_of_loops : chunk_of_elements;
    if (!exceeds(loop.extent, integer(chunk))) return kernel;
    loop = strip_mine(loop, chunk);
  }
  loop.kind = LoopKind::parallel;
  Kernel result = kernel;
  result.body.back() = statement(std::move(loop));
  return result;
}

}  // namespace kroton::loop
