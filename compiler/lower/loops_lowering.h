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

  // A reduction in runs of positions of some of its axes, as if these were one, which threads
  // share.
  struct Runs {
    std::vector<std::size_t> axes;
    Dim step;            // positions of a run
    Dim are_wanted = 1;  // or 0: nothing is to be done
  };
  // A reduction of a whole array can use threads, each of which has some chunks. The elements of
  // the last axis stay together unless all are as one axis where they lie in memory.
  bool splits_in_chunks() const;
  Runs runs_of_all() const;
  // Reductions whose results lie next to each other in memory, of many rows: by runs of rows.
  std::optional<Runs> runs_by_columns();
  // Whether what is read lies as if these axes were one.
  bool lie_as_one(const std::vector<std::size_t>& axes) const;
  Dim positions_of(const std::vector<std::size_t>& axes) const;
  // Where in each of the axes a position of all of them is.
  std::vector<std::pair<loop::Variable, loop::Expr>> places_of(const std::vector<std::size_t>& axes,
                                                               const loop::Expr& position) const;
  // Whether operands are contiguous along what is summed, the axis `inner`, and none along the
  // results, as in the product of a vector and a transposed matrix.
  bool lies_along_rows(std::size_t inner);
  // Whether operands are joined of parts along that axis.
  bool is_joined_along(std::size_t axis);
  // For each stage a kernel that leaves partial results of each run, or stores, and one that
  // combines the partial ones in their order, whatever the number of threads.
  std::vector<loop::Kernel> in_runs(const Runs& cut);
  std::vector<Accumulator> sums_of(int stage);
  // A sum of the second stage that a run takes relative to what the run itself has in the first
  // one, and that is brought to all elements' afterwards: of exponentials relative to a maximum, as
  // a softmax has it, or of distances from a centre, squared or with weights, which a run takes
  // from its own mean. So nothing is read again for the second stage.
  enum class OfRun : std::uint8_t { exponentials, squares, weighted };
  struct Relative {
    Vertex sum, first;  // the sum, and the maximum or the sum that it is relative to
    OfRun kind;
    loop::Expr centre;
    Vertex weights = 0;  // the sum of the weights
  };
  const Accumulator& accumulator_of(Vertex v) const;
  // The reduced axes of which a run has all.
  std::vector<std::size_t> not_cut(const Runs& cut) const;
  // Rows of the run, and elements.
  loop::Expr rows_in_run(const Runs& cut, const loop::Variable& run) const;
  loop::Expr count_of_run(const Runs& cut, const loop::Variable& run, DType dtype) const;
  // The second stage of a run, relative to its own first one.
  loop::Block relative_body(const Runs& cut, const loop::Variable& run);
  // Adds a run's sum to that of all elements, given what the run has of both stages.
  loop::Block relative_step(const Relative& relative, const std::map<Vertex, loop::Expr>& of_first,
                            const loop::Expr& sum_of_run, const loop::Expr& count_of_run) const;
  // The accumulator of the first stage that the operation makes of that.
  std::optional<Vertex> first_stage(loop::Op op, const loop::Expr& value, DType dtype);
  // The reduced axes' loops around the body, for the positions of one run.
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
  // Up to how many positions a block's threads hold columns; 0 if they do not.
  std::int64_t held_columns();
  Dim reduced_count() const;
  // Whether all sums of the second stage are of that kind; notes how.
  bool find_relative_sums();
  std::optional<Relative> relative_sum(const Accumulator& sum);
  // One kernel; of rows whose length is not known, one for those that are short, one for those that
  // are not, and, if that brings something, one for those that fit in registers, and one for those
  // that a part of a warp has.
  std::vector<loop::Kernel> rows_or_all(const Dim& are_wanted);
  // The kernel for where the flag is 1.
  std::vector<loop::Kernel> where(loop::Kernel kernel, const Dim& flag) const;
  // Whether threads keep their elements of a row or a column.
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
  std::vector<Relative> relative_;  // sums that runs take together with the first stage's
  bool by_columns_ = false;         // on a GPU, whose blocks have neighbouring results
  bool in_runs_ = false;            // no stage leaves anything in scratch memory for the next
  bool lent_ = false;               // a result's memory keeps another value until the last stage
  int stages_ = 0;
  std::int64_t shared_bytes_ = 0;
};

}  // namespace kroton
