// The parts of lower(): arguments, clusters and calls (lower.cpp), ifelse (lower_branch.cpp), scans
// (lower_scan.cpp), updates of shared variables (updates.cpp).
#pragma once
#include "compiler/lower/branches.h"
#include "compiler/lower/kernel_context.h"
#include "compiler/lower/order.h"

namespace kroton {

class Lowering {
 public:
  Lowering(const Graph& graph, Program& program, const Machine& machine,
           const LoweringOptions& options);
  void run();

 private:
  using Vertex = Graph::Vertex;

  // What a shared variable becomes where the guard holds.
  struct Update {
    std::shared_ptr<SharedState> state;
    Vertex value;
    Guard guard;
  };

  // The body of a scan, as part of the same Program.
  Lowering(const Graph& body, Lowering& outer);

  void place_arguments();
  void place_constants();
  void place(const loop::BufferRef& buffer, int argument);
  // The buffer is a part of another, from that element on.
  void place_part(const loop::BufferRef& buffer, const loop::BufferRef& of,
                  const loop::Expr& start);
  loop::BufferRef make_part(const loop::BufferRef& of, const Dim& size, const loop::Expr& start);
  void add_state(const std::shared_ptr<SharedState>& state, const loop::BufferRef& buffer,
                 int position);

  void lower_cluster(const Cluster& cluster);
  // What the function reads and what it gives lies in memory, wanted or not.
  StepGroup lower_call(const Cluster& cluster);
  void add_kernel(std::vector<Step>& steps, loop::Kernel kernel, const char* name) const;
  void add_copy(std::vector<Step>& steps, const loop::BufferRef& from, const loop::BufferRef& to,
                const char* name = "_copy") const;
  // The value of a vertex into `to`: a literal is written, anything else copied.
  void add_copy(std::vector<Step>& steps, Vertex v, const loop::BufferRef& to,
                const char* name = "_copy");
  void add_group(StepGroup group);
  void order_clusters();
  void add_step(const Guard& guard, Step step);
  // All steps, in nested branches.
  std::vector<Step> branched_steps();

  // What is computed for one side of an ifelse only is stored where the result lies.
  void share_results();
  void lower_branch(const Cluster& cluster);
  // Where the condition of an ifelse lies during the whole call.
  const loop::BufferRef& condition(Vertex v);

  StepGroup lower_scan(const Cluster& cluster);
  // Whether the value is computed, and not a part of what a loop keeps.
  bool may_store_in_argument(Vertex v) const;
  // Whether only this loop reads the value, and a kernel of its own computes it.
  bool computed_for(Vertex v, Vertex loop, const loop::BufferRef& buffer) const;
  std::vector<Step> body_steps(const std::vector<std::pair<Vertex, loop::BufferRef>>& copies);

  // An update by an ifelse that nothing else reads is two updates under its condition, and none
  // where the old value stays.
  void collect_update(const Graph::Update& update);
  // Stores an update's value straight over the old one where nobody needs the old one any more;
  // otherwise it is copied after everything else has run.
  void update_in_place(const Update& update);
  bool is_read_elsewhere(Vertex v, const StepGroup& writer);
  bool anything_checks() const;
  std::set<int> state_buffers() const;
  void add_copies();

  const Graph& graph_;
  Machine machine_;
  LoweringOptions options_;
  Fusion fusion_;
  BufferTable buffers_;
  Program& program_;
  ValueChecks checks_;
  std::vector<StepGroup> groups_;
  std::optional<GroupLinks> group_links_;  // as soon as updates are stored in place
  std::vector<GuardedStep> steps_;
  std::vector<Step> first_, last_;  // before and after all others
  std::map<const SharedState*, loop::BufferRef> state_buffer_;
  std::vector<std::pair<Vertex, loop::BufferRef>> output_copies_;
  std::vector<Update> updates_, state_copies_;
  std::set<Vertex> dissolved_;                    // ifelse that are updates under a condition
  std::map<Vertex, loop::BufferRef> conditions_;  // by the condition
  std::map<Vertex, std::string> ifelse_lines_;    // by the condition: of one of its ifelse
};

}  // namespace kroton
