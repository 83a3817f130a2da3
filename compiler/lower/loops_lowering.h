// The parts of lower_loops: the stages and all of them in one kernel (lower_loops.cpp), values that
// later stages read again (loops_kept.cpp), runs of what is reduced (loops_in_runs.cpp), which of
// these a GPU is given (loops_for_gpu.cpp).
#pragma once
#include <map>
#include <optional>

#include "compiler/lower/kernel_context.h"

namespace kroton {

struct Accumulator {
  Graph::Vertex vertex;
  loop::Op op = loop::Op::add;
  loop::Variable variable;
  loop::Variable position;  // argmax and argmin
  bool is_arg = false;
  bool maximum = false;
  bool of_finite = false;  // whether all elements are finite, rather than the elements
  loop::Expr init;
};

class LoopsLowering {
 public:
  LoopsLowering(KernelContext& context, const Machine& machine)
      : context_(context),
        graph_(context.graph()),
        cluster_(context.cluster()),
        machine_(machine) {}

  std::vector<loop::Kernel> run();

 private:
  using Vertex = Graph::Vertex;
  using Place = KernelContext::Place;

  // ---- The stages, and all of them in one kernel: lower_loops.cpp.

  void use_accumulators();
  // All in one kernel.
  loop::Kernel whole();
  // How many stages must have run before each member's value is known.
  void find_stages();
  bool is_full(Vertex v) const;
  // A maximum of finite numbers is one of them.
  static bool may_overflow(const Accumulator& a);
  static Accumulator finiteness(Vertex v);
  Accumulator accumulator(Vertex v) const;
  static loop::Block declarations(const std::vector<Accumulator>& accumulators);
  loop::Block stage_body(int stage);
  static loop::Expr result(const Accumulator& a);
  loop::Block reduce_nest(loop::Block body);
  // Roots over the outer axes.
  loop::Block results();
  loop::Block outer_nest(loop::Block body);
  std::vector<loop::Kernel> finish(loop::Kernel kernel, const Dim& work) const;
  // Every element is visited; each member costs what it does for its own elements, a reduction for
  // those it reads. Of what has other sizes than the domain, as a table that is looked up, so many
  // elements are computed as are asked for.
  Dim work() const;
  // Of an element. One that lies anywhere, another anywhere for each, is waited for.
  int cost_of(Vertex v) const;

  // ---- What a stage computes and a later one reads again: loops_kept.cpp.

  bool fits_shared(const Dim& count, DType dtype);
  // Costly values that a later stage computes again, of the same vertex at the same index, are kept
  // and read from there at once: on a CPU where the result goes in the end, if its last stage reads
  // them there, else in a row of scratch memory. Users come before operands: what only kept values
  // are computed from is not kept.
  void keep_for_later(int stage, loop::Block& body);
  // The result whose memory can hold a value of this dtype until the last stage replaces it,
  // element by element: the one that is stored last, once. On a GPU shared memory is nearer.
  std::optional<Vertex> lend_result(DType dtype);
  // The costly values that a stage's statements compute for each element of a row, operands before
  // users.
  std::vector<Place> costly_in(int stage);
  std::vector<Place> costly_after(int stage);
  // Whether the index differs from element to element of a row.
  bool runs_along_row(const Index& index) const;

  // ---- What is reduced, cut into runs: loops_in_runs.cpp.

  // A reduction in runs of positions of one axis, which threads share.
  struct Runs {
    std::size_t axis;
    Dim step;            // positions of a run
    Dim are_wanted = 1;  // or 0: nothing is to be done
  };
  // A reduction of a whole array can use threads: each chunk leaves partial results, and a second
  // kernel combines them.
  bool splits_in_chunks() const;
  std::vector<loop::Kernel> chunked();
  // Reductions whose results lie next to each other in memory, of many rows: by runs of rows.
  std::optional<Runs> runs_by_columns();
  // Whether operands are contiguous along what is summed, the axis `inner`, and none along the
  // results, as in the product of a vector and a transposed matrix.
  bool lies_along_rows(std::size_t inner);
  // For each stage a kernel that leaves partial results of each run, or stores, and one that
  // combines the partial ones in their order, whatever the number of threads.
  std::vector<loop::Kernel> in_runs(const Runs& cut);
  std::vector<Accumulator> sums_of(int stage);
  // Adds the sum of a run, which is relative to the run's maximum, to one relative to that of all.
  // A run of elements that are all -inf has no sum of its own.
  static loop::Block relative_steps(const Accumulator& most, const loop::Expr& most_of_run,
                                    const Accumulator& sum, const loop::Expr& of_run);
  // The reduced axes' loops around the body, for the rows of one run.
  loop::Block rows_of_run(const Runs& cut, const loop::Variable& run, loop::Block body);
  // No iteration of any of the loops touches what another one stores.
  static loop::Block all_independent(const loop::Block& nest);
  // Keeps the results of a stage in memory, from where the stages after it read them.
  loop::Block stored_sums(const std::vector<Accumulator>& sums, const Runs& cut, const Dims& shape,
                          const Index& index);
  // No iteration of any of the loops around the innermost one touches what another one stores.
  static loop::Block independent(const loop::Block& nest);

  // ---- Which of these a GPU is given: loops_for_gpu.cpp.

  // Few results of long reductions by runs, which many blocks share. Where the sizes are not known,
  // kernels of both kinds, of which the host starts those that suit them.
  std::vector<loop::Kernel> for_gpu();
  // Whether the first stage is a maximum and the second one adds up exponentials relative to it, as
  // a softmax does. Then a run may take its own maximum, and its sum is brought to that of all.
  bool sums_relative_to_most();
  // One kernel; of rows whose length is not known, one for those that are short, one for those that
  // are not, and, if that brings something, one for those that fit in registers.
  std::vector<loop::Kernel> rows_or_all(const Dim& are_wanted);
  // Whether threads keep their elements of a row.
  static bool holds_rows(const loop::Kernel& kernel);
  // Of each of several rows that are reduced along the last axis; nothing for those that are known
  // to be long.
  std::optional<Dim> row_length() const;
  // The last of the reduced axes if the last of all axes with more than one position is none.
  std::optional<std::size_t> last_before_results() const;

  template <class T>
  static void append(std::vector<T>& list, std::vector<T> more) {
    for (T& one : more) list.push_back(std::move(one));
  }

  KernelContext& context_;
  const Graph& graph_;
  const Cluster& cluster_;
  Machine machine_;
  std::map<Vertex, int> ready_;
  std::vector<Accumulator> accumulators_;
  bool at_once_ = false;  // runs have their own maximum and the sum relative to it
  bool in_runs_ = false;  // no stage leaves anything in scratch memory for the next
  bool lent_ = false;     // a result's memory keeps another value until the last stage
  int stages_ = 0;
  std::int64_t shared_bytes_ = 0;
};

}  // namespace kroton
