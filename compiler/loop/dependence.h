// What the schedules ask about a loop: what its body reads and writes, and whether its iterations
// depend on each other.
#pragma once
#include <functional>
#include <unordered_set>

#include "compiler/loop/ir.h"

namespace kroton::loop {

// A load or a store somewhere inside a loop.
struct Access {
  BufferRef buffer;
  Expr index;
  bool is_store = false;
  std::vector<const For*> inner;  // the loops between the loop and the access, outermost first
};

class LoopFacts {
 public:
  explicit LoopFacts(const For& loop);

  const std::vector<Access>& accesses() const { return accesses_; }
  // Every expression node of the body, arguments before users.
  const std::vector<Expr>& nodes() const { return nodes_; }
  bool has_inner_loop() const { return has_inner_loop_; }
  bool has_vector_loop() const { return has_vector_loop_; }
  bool has_allocation() const { return !allocated_.empty(); }
  bool has_accumulation() const { return has_accumulation_; }
  // Some inner extent or branch condition may differ between iterations.
  bool has_varying_control() const { return has_varying_control_; }
  // It accumulates a scalar that lives longer than one iteration.
  bool reduces() const { return !reduced_.empty(); }
  // It reads such a scalar as well, so its iterations are bound to their order.
  bool reads_reduced() const { return reads_reduced_; }
  // The dtypes of the scalars accumulated, arg-positions left out.
  const std::vector<DType>& accumulated_dtypes() const { return accumulated_dtypes_; }

  // Whether the value may differ between iterations at the same position of the inner loops.
  bool varies(const Expr& e) const { return varying_.contains(e.get()); }
  // stride_of in the loop's variable; null too if scalars of the body are involved.
  Expr stride(const Expr& index) const;

  // No iteration touches an element that another one writes. Buffers that the body allocates are
  // each iteration's own. Accesses to Space::worker and Space::shared are left out if
  // `workers_apart`: every worker or block has its own, and fills it in each iteration.
  bool iterations_are_independent(bool workers_apart) const;
  // Every iteration has a column of its own of each array that is written, whatever loops there are
  // around: it touches elements at a multiple of the number of iterations and its own number.
  bool has_own_columns() const;

 private:
  // The body of the loop or of one inside it, and what has been noted there.
  struct Place {
    std::vector<const For*> inner;
    std::unordered_set<const ExprNode*> seen;
  };
  void collect(const Block& block, Place& place);
  void note_expression(const Expr& e, Place& place);
  bool has_own_element_per_iteration(const std::vector<const Access*>& accesses) const;
  bool has_own_window_per_iteration(const std::vector<const Access*>& accesses) const;
  bool has_own_column_per_iteration(const std::vector<const Access*>& accesses) const;
  // Whether it holds for the accesses to each buffer that is written.
  bool holds_where_written(
      bool workers_apart,
      const std::function<bool(const std::vector<const Access*>&)>& independent) const;

  const For& loop_;
  std::vector<Access> accesses_;
  std::vector<Expr> nodes_;
  std::unordered_set<const ExprNode*> seen_;
  std::unordered_set<const ExprNode*> varying_;
  std::unordered_set<int> declared_;   // scalars of the body
  std::unordered_set<int> allocated_;  // its buffers
  std::unordered_set<int> reduced_;
  std::vector<DType> accumulated_dtypes_;
  bool has_inner_loop_ = false;
  bool has_vector_loop_ = false;
  bool has_accumulation_ = false;
  bool has_varying_control_ = false;
  bool reads_reduced_ = false;
};

}  // namespace kroton::loop
