#include "compiler/lower/lower.h"

#include <kroton/error.h>

#include <algorithm>
#include <set>

#include "compiler/lower/kernel_context.h"
#include "compiler/lower/plan.h"

namespace kroton {
namespace {

using Vertex = Graph::Vertex;

bool contains_check(const loop::Expr& e, std::unordered_set<const loop::ExprNode*>& seen) {
  if (!e || !seen.insert(e.get()).second) return false;
  if (e->op == loop::Op::check_index) return true;
  return std::any_of(e->args.begin(), e->args.end(),
                     [&](const loop::Expr& arg) { return contains_check(arg, seen); });
}

bool loads_from(const loop::Expr& e, int buffer, const loop::Expr* except,
                std::unordered_set<const loop::ExprNode*>& seen) {
  if (!e || !seen.insert(e.get()).second) return false;
  if (e->op == loop::Op::load && e->buffer->id == buffer && !(except && e->args[0] == *except)) {
    return true;
  }
  return std::any_of(e->args.begin(), e->args.end(),
                     [&](const loop::Expr& arg) { return loads_from(arg, buffer, except, seen); });
}

// Calls `visit` for each statement's expressions in program order: (expression, statement).
void for_each_expression(const loop::Block& block,
                         const std::function<void(const loop::Expr&, const loop::Stmt&)>& visit) {
  for (const loop::Stmt& stmt : block) {
    if (const auto* d = std::get_if<loop::Declare>(&stmt)) {
      visit(d->init, stmt);
    } else if (const auto* s = std::get_if<loop::Store>(&stmt)) {
      visit(s->index, stmt);
      visit(s->value, stmt);
    } else if (const auto* a = std::get_if<loop::Accumulate>(&stmt)) {
      visit(a->value, stmt);
    } else if (const auto* g = std::get_if<loop::AccumulateArg>(&stmt)) {
      visit(g->value, stmt);
      visit(g->at, stmt);
    } else if (const auto* f = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
      visit((*f)->extent, stmt);
      for_each_expression((*f)->body, visit);
    } else if (const auto* i = std::get_if<std::shared_ptr<const loop::If>>(&stmt)) {
      visit((*i)->condition, stmt);
      for_each_expression((*i)->then_body, visit);
      for_each_expression((*i)->else_body, visit);
    }
  }
}

bool has_checks(const loop::Kernel& kernel) {
  bool found = false;
  std::unordered_set<const loop::ExprNode*> seen;
  for_each_expression(kernel.body, [&](const loop::Expr& e, const loop::Stmt&) {
    found = found || contains_check(e, seen);
  });
  return found;
}

// Whether `result` may be stored over `state`: every element of the old value is read, if at all,
// by the statement that replaces it.
bool may_overwrite(const loop::Kernel& kernel, int result, int state) {
  bool safe = true;
  bool stored = false;
  for_each_expression(kernel.body, [&](const loop::Expr& e, const loop::Stmt& stmt) {
    const auto* store = std::get_if<loop::Store>(&stmt);
    std::unordered_set<const loop::ExprNode*> seen;
    if (store && store->buffer->id == result) {
      safe = safe && !loads_from(e, state, &store->index, seen);
      stored = stored || e == store->value;
    } else if (loads_from(e, state, nullptr, seen)) {
      safe = false;
    }
  });
  return safe && stored;
}

loop::Block with_stores_to(const loop::Block& block, int from, const loop::BufferRef& to) {
  loop::Block result;
  for (const loop::Stmt& stmt : block) {
    if (const auto* s = std::get_if<loop::Store>(&stmt)) {
      result.push_back(loop::Store{s->buffer->id == from ? to : s->buffer, s->index, s->value});
    } else if (const auto* f = std::get_if<std::shared_ptr<const loop::For>>(&stmt)) {
      loop::For copy = **f;
      copy.body = with_stores_to(copy.body, from, to);
      result.push_back(make_for(std::move(copy)));
    } else if (const auto* i = std::get_if<std::shared_ptr<const loop::If>>(&stmt)) {
      loop::If copy = **i;
      copy.then_body = with_stores_to(copy.then_body, from, to);
      copy.else_body = with_stores_to(copy.else_body, from, to);
      result.push_back(std::make_shared<const loop::If>(std::move(copy)));
    } else {
      result.push_back(stmt);
    }
  }
  return result;
}

class Lowering {
 public:
  Lowering(const Graph& graph, const std::string& name, const Machine& machine)
      : graph_(graph), machine_(machine), fusion_(fuse(graph)), buffers_(graph) {
    program_.name = name;
  }

  Program run() {
    place_arguments();
    for (const Cluster& cluster : fusion_.clusters) lower_cluster(cluster);
    for (const Graph::Update& update : graph_.updates) update_in_place(update);
    order_clusters();
    add_copies();
    finish_kernels();
    collect_sizes();
    plan_memory(program_);
    program_.sites = buffers_.sites;
    return std::move(program_);
  }

 private:
  // The kernels of one cluster, and what decides when they may run.
  struct Group {
    std::vector<loop::Kernel> kernels;
    std::set<int> read, written;  // buffers
    bool checks = false;
    bool overwrites_state = false;
  };

  void place_arguments() {
    int position = 0;
    for (std::size_t k = 0; k < graph_.inputs.size(); ++k) {
      program_.inputs.push_back(graph_[graph_.inputs[k]].type);
      place(buffers_.of(graph_.inputs[k]), position++);
    }
    // Shared variables that are read, then those that are only updated.
    for (Vertex v : graph_.topological_order()) {
      if (!graph_.is_op(v, "shared")) continue;
      add_state(graph_[v].attributes.state, buffers_.of(v), position++);
    }
    for (const Graph::Update& update : graph_.updates) {
      if (!state_buffer_.count(update.state.get())) {
        const TensorType& type = graph_[update.value].type;
        add_state(update.state,
                  buffers_.create(update.state->name, type.dtype, element_count(type.shape)),
                  position++);
      }
      const auto at = std::find(program_.states.begin(), program_.states.end(), update.state);
      program_.state_is_updated[static_cast<std::size_t>(at - program_.states.begin())] = true;
    }
    std::set<Vertex> direct;  // vertices stored straight into an output
    for (std::size_t k = 0; k < graph_.outputs.size(); ++k) {
      const Vertex v = graph_.outputs[k];
      const TensorType& type = graph_[v].type;
      program_.outputs.push_back(type);
      if (graph_[v].op->kind != OpKind::leaf && direct.insert(v).second) {
        place(buffers_.of(v), position++);
        continue;
      }
      const auto buffer =
          buffers_.create("output" + std::to_string(k), type.dtype, element_count(type.shape));
      place(buffer, position++);
      output_copies_.push_back({v, buffer});
    }
    for (Vertex v : graph_.topological_order()) {
      if (!graph_.is_op(v, "constant")) continue;
      program_.placements[buffers_.of(v)->id] = {
          Placement::Kind::constant, static_cast<int>(program_.constants.size()), {}, {}};
      program_.constants.push_back(*graph_[v].attributes.array);
    }
  }

  void place(const loop::BufferRef& buffer, int argument) {
    program_.placements[buffer->id] = {Placement::Kind::argument, argument, {}, {}};
  }

  void add_state(const std::shared_ptr<SharedState>& state, const loop::BufferRef& buffer,
                 int position) {
    program_.states.push_back(state);
    program_.state_is_updated.push_back(false);
    state_buffer_[state.get()] = buffer;
    place(buffer, position);
  }

  void lower_cluster(const Cluster& cluster) {
    KernelContext context(graph_, fusion_, cluster, buffers_);
    Group group;
    switch (cluster.kind) {
      case Cluster::Kind::loops:
        group.kernels = lower_loops(context, machine_);
        break;
      case Cluster::Kind::dot:
        group.kernels = lower_dot(context, machine_);
        break;
      case Cluster::Kind::write:
        group.kernels = lower_write(context, machine_);
        break;
    }
    std::string ops;
    std::set<std::string> lines;
    for (Vertex v : cluster.members) {
      const OpRecord& op = *graph_[v].op;
      if (!op.is_view && op.kind != OpKind::leaf && ops.size() < 40)
        ops += "_" + std::string(op.name);
      lines.insert(kroton::to_string(graph_[v].line));
    }
    for (loop::Kernel& kernel : group.kernels) {
      kernel.name = ops.empty() ? "_copy" : ops;
      for (const std::string& line : lines) {
        if (!kernel.source.empty()) kernel.source += " ";
        kernel.source += line;
      }
      collect_buffers(kernel);
      group.checks = group.checks || has_checks(kernel);
      for (const loop::BufferRef& b : kernel.inputs) group.read.insert(b->id);
      for (const loop::BufferRef& b : kernel.outputs) group.written.insert(b->id);
    }
    groups_.push_back(std::move(group));
  }

  // Stores an update's value straight over the old one where nobody needs the old one any more;
  // otherwise it is copied after everything else has run.
  void update_in_place(const Graph::Update& update) {
    const Vertex v = update.value;
    const loop::BufferRef state = state_buffer_.at(update.state.get());
    const loop::BufferRef result = buffers_.of(v);
    const auto writer = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) {
      return g.written.count(result->id) != 0;
    });
    const bool read_elsewhere =
        program_.placements.count(result->id) != 0 || !graph_.users(v).empty() ||
        std::count_if(graph_.updates.begin(), graph_.updates.end(),
                      [&](const Graph::Update& u) { return u.value == v; }) > 1;
    if (writer == groups_.end() || read_elsewhere || writer->checks || writer->kernels.empty() ||
        !may_overwrite(writer->kernels.back(), result->id, state->id) ||
        std::any_of(writer->kernels.begin(), writer->kernels.end() - 1, [&](const loop::Kernel& k) {
          return std::any_of(k.outputs.begin(), k.outputs.end(),
                             [&](const auto& b) { return b->id == result->id; });
        })) {
      state_copies_.push_back({v, state});
      return;
    }
    // Readers of the old value and everything that may fail come first.
    Group before = *writer;
    loop::Kernel& kernel = writer->kernels.back();
    kernel.body = with_stores_to(kernel.body, result->id, state);
    collect_buffers(kernel);
    writer->written.erase(result->id);
    writer->written.insert(state->id);
    writer->overwrites_state = true;
    if (sorted().empty() && !groups_.empty()) {
      *writer = std::move(before);
      state_copies_.push_back({v, state});
    }
  }

  // Positions of the groups in an order that respects reads, overwrites and checks; empty if
  // there is none.
  std::vector<std::size_t> sorted() const {
    const std::size_t n = groups_.size();
    std::vector<std::set<std::size_t>> after(n);
    std::map<int, std::size_t> writer;
    for (std::size_t g = 0; g < n; ++g) {
      for (int b : groups_[g].written) writer[b] = g;
    }
    std::set<int> states;
    for (const auto& [state, buffer] : state_buffer_) states.insert(buffer->id);
    for (std::size_t g = 0; g < n; ++g) {
      for (int b : groups_[g].read) {
        const auto it = writer.find(b);
        if (it == writer.end() || it->second == g) continue;
        if (states.count(b)) {
          after[g].insert(it->second);  // the old value is read before it is overwritten
        } else {
          after[it->second].insert(g);
        }
      }
      if (!groups_[g].checks) continue;
      for (std::size_t h = 0; h < n; ++h) {
        if (h != g && groups_[h].overwrites_state) after[g].insert(h);
      }
    }
    std::vector<int> waiting(n, 0);
    for (const auto& set : after) {
      for (std::size_t h : set) ++waiting[h];
    }
    std::set<std::size_t> ready;
    for (std::size_t g = 0; g < n; ++g) {
      if (waiting[g] == 0) ready.insert(g);
    }
    std::vector<std::size_t> order;
    while (!ready.empty()) {
      const std::size_t g = *ready.begin();
      ready.erase(ready.begin());
      order.push_back(g);
      for (std::size_t h : after[g]) {
        if (--waiting[h] == 0) ready.insert(h);
      }
    }
    if (order.size() != n) order.clear();
    return order;
  }

  void order_clusters() {
    const std::vector<std::size_t> order = sorted();
    if (order.size() != groups_.size())
      throw InternalError("lowering: kernels depend on each other in a circle");
    for (std::size_t g : order) {
      for (loop::Kernel& kernel : groups_[g].kernels) kernels_.push_back(std::move(kernel));
    }
  }

  void add_copies() {
    std::vector<loop::Kernel> first, last;
    const auto copy = [&](std::vector<loop::Kernel>& list, const loop::BufferRef& from,
                          const loop::BufferRef& to) {
      list.push_back(copy_kernel(from, to, machine_));
      list.back().name = "_copy";
      collect_buffers(list.back());
    };
    for (const auto& [v, to] : output_copies_) {
      // A literal or another leaf; old values of shared variables, so before any update.
      if (graph_.is_op(v, "literal")) {
        loop::Kernel kernel;
        Cluster none;
        KernelContext context(graph_, fusion_, none, buffers_);
        kernel.body = {loop::Store{to, loop::integer(0), context.value(v, {})}};
        kernel.work = loop::integer(1);
        kernel = schedule(kernel, machine_);
        kernel.name = "_literal";
        collect_buffers(kernel);
        first.push_back(std::move(kernel));
      } else {
        copy(graph_[v].op->kind == OpKind::leaf ? first : last, buffers_.of(v), to);
      }
    }
    for (const auto& [v, to] : state_copies_) {
      loop::BufferRef from = buffers_.of(v);
      if (graph_.is_op(v, "literal")) {
        const auto held = buffers_.create("literal", from->dtype, from->size);
        loop::Kernel kernel;
        kernel.body = {
            loop::Store{held, loop::integer(0),
                        KernelContext(graph_, fusion_, Cluster{}, buffers_).value(v, {})}};
        kernel.work = loop::integer(1);
        kernel = schedule(kernel, machine_);
        kernel.name = "_literal";
        collect_buffers(kernel);
        first.push_back(std::move(kernel));
        from = held;
      } else if (graph_[v].op->kind == OpKind::leaf) {
        // Another shared variable's old value, kept before anything changes it.
        const auto held = buffers_.create("held", from->dtype, from->size);
        copy(first, from, held);
        from = held;
      }
      copy(last, from, to);
    }
    kernels_.insert(kernels_.begin(), std::make_move_iterator(first.begin()),
                    std::make_move_iterator(first.end()));
    kernels_.insert(kernels_.end(), std::make_move_iterator(last.begin()),
                    std::make_move_iterator(last.end()));
  }

  void finish_kernels() {
    int number = 0;
    for (loop::Kernel& kernel : kernels_) {
      kernel.name = "k" + std::to_string(number++) + kernel.name;
      loop::verify(kernel);
      program_.steps.emplace_back().kind = std::move(kernel);
    }
  }

  void collect_sizes() {
    std::map<std::uint64_t, DimAtomRef> variables;
    const auto note = [&](const DimAtomRef& atom) { variables.emplace(atom->identity, atom); };
    for (const auto* types : {&program_.inputs, &program_.outputs}) {
      for (const TensorType& type : *types) {
        for (const Dim& d : type.shape) d.visit_variables(note);
      }
    }
    worker_count().visit_variables(note);
    for (const auto& [identity, atom] : variables) program_.sizes.push_back(atom);
  }

  const Graph& graph_;
  Machine machine_;
  Fusion fusion_;
  BufferTable buffers_;
  Program program_;
  std::vector<Group> groups_;
  std::vector<loop::Kernel> kernels_;
  std::map<const SharedState*, loop::BufferRef> state_buffer_;
  std::vector<std::pair<Vertex, loop::BufferRef>> output_copies_, state_copies_;
};

}  // namespace

Program lower(const Graph& graph, const std::string& name, const Machine& machine) {
  return Lowering(graph, name, machine).run();
}

}  // namespace kroton
