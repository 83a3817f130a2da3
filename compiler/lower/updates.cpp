// Updates of shared variables: under which condition, and where the new value is stored.
#include <algorithm>

#include "compiler/contraction/library_product.h"
#include "compiler/lower/lowering.h"
#include "compiler/lower/overwrite.h"

namespace kroton {

void Lowering::collect_update(const Graph::Update& update) {
  std::vector<Update> pending{{update.state, update.value, {}}};
  while (!pending.empty()) {
    const Update next = std::move(pending.back());
    pending.pop_back();
    const VertexData& data = graph_[next.value];
    if (data.op->kind == OpKind::branch && graph_.use_count(next.value) == 1) {
      dissolved_.insert(next.value);
      const std::vector<Vertex> operands = graph_.operands(next.value);
      for (const bool holds : {false, true}) {
        pending.push_back(
            {next.state, operands[holds ? 1 : 2], extended(next.guard, {operands[0], holds})});
      }
    } else if (data.op->kind != OpKind::leaf || data.attributes.state != next.state) {
      updates_.push_back(next);
    }
  }
}

void Lowering::update_in_place(const Update& update) {
  const Vertex v = update.value;
  const loop::BufferRef state = state_buffer_.at(update.state.get());
  const loop::BufferRef result = buffers_.of(v);
  const auto writes = [&](const StepGroup& g) { return g.written.count(result->id) != 0; };
  const auto writer = std::find_if(groups_.begin(), groups_.end(), writes);
  // Kernels of the group write it, each its part, and no other after them reads the old value.
  std::vector<loop::Kernel*> kernels;
  std::size_t writers = 0;
  bool read_later = false;
  if (writer != groups_.end()) {
    const auto has = [](const std::vector<loop::BufferRef>& list, const loop::BufferRef& b) {
      return std::any_of(list.begin(), list.end(), [&](const auto& x) { return x->id == b->id; });
    };
    for_each_kernel(writer->steps, [&](const loop::Kernel& k) {
      writers += has(k.outputs, result) ? 1 : 0;
      const bool reads = has(k.inputs, state) || has(k.inputs, result) || has(k.outputs, state);
      read_later = read_later || (writers > 0 && !has(k.outputs, result) && reads);
    });
    for (Step& step : writer->steps) {
      auto* k = std::get_if<loop::Kernel>(&step.kind);
      if (k != nullptr && has(k->outputs, result)) kernels.push_back(k);
    }
  }
  // A library knows nothing of checks: it would write over the old value though one has failed.
  // The copy that follows instead is a kernel, and looks.
  const bool stores_once = graph_[v].op->kind != OpKind::write;
  const bool only_first_reads =
      std::none_of(kernels.begin() + std::min<std::ptrdiff_t>(1, std::ssize(kernels)),
                   kernels.end(), [&](const loop::Kernel* k) {
                     return std::any_of(k->inputs.begin(), k->inputs.end(),
                                        [&](const auto& x) { return x->id == state->id; });
                   });
  const bool unchecked = machine_.gpu && anything_checks() &&
                         std::any_of(kernels.begin(), kernels.end(),
                                     [](const loop::Kernel* k) { return k->instead != nullptr; });
  std::vector<loop::Block> in_place;
  const bool may_be =
      !kernels.empty() && !unchecked && writer->guard == update.guard && !writer->checks &&
      writers == kernels.size() && (only_first_reads || stores_once) && !read_later &&
      std::none_of(writer + 1, groups_.end(), writes) && !is_read_elsewhere(v, *writer);
  for (const loop::Kernel* kernel : kernels) {
    if (!may_be) break;
    if (auto over = stored_over(*kernel, result->id, state, stores_once)) {
      in_place.push_back(std::move(*over));
    }
  }
  if (in_place.size() != kernels.size() || kernels.empty()) {
    state_copies_.push_back(update);
    return;
  }
  // Readers of the old value and everything that may fail come first.
  if (!group_links_) group_links_.emplace(groups_, state_buffers());
  const auto group = static_cast<std::size_t>(writer - groups_.begin());
  if (!group_links_->may_overwrite(group, state->id)) {
    state_copies_.push_back(update);
    return;
  }
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    loop::Kernel& kernel = *kernels[k];
    kernel.body = std::move(in_place[k]);
    if (kernel.instead) kernel.instead = with_result(*kernel.instead, state);
    collect_buffers(kernel);
  }
  std::erase_if(writer->steps, [](const Step& step) {
    const auto* kernel = std::get_if<loop::Kernel>(&step.kind);
    return kernel != nullptr && kernel->body.empty();
  });
  writer->written.erase(result->id);
  writer->written.insert(state->id);
  writer->overwrites_state = true;
  group_links_->overwrites(group, state->id);
}

// The kernel that computes the value may use it as it computes it; who else needs it reads it where
// it is stored.
bool Lowering::is_read_elsewhere(Vertex v, const StepGroup& writer) {
  const int stored = buffers_.of(v)->id;
  const auto updated = std::count_if(updates_.begin(), updates_.end(),
                                     [&](const Update& update) { return update.value == v; });
  return updated > 1 || program_.placements.count(stored) != 0 ||
         std::find(graph_.outputs.begin(), graph_.outputs.end(), v) != graph_.outputs.end() ||
         std::any_of(groups_.begin(), groups_.end(), [&](const StepGroup& group) {
           return &group != &writer && group.read.count(stored) != 0;
         });
}

bool Lowering::anything_checks() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const StepGroup& g) { return g.checks; });
}

void Lowering::add_copies() {
  for (const auto& [v, to] : output_copies_) {
    // Old values of shared variables, so before any update.
    add_copy(graph_[v].op->kind == OpKind::leaf ? first_ : last_, v, to);
  }
  for (const Update& update : state_copies_) {
    const loop::BufferRef to = state_buffer_.at(update.state.get());
    std::vector<Step> copy;
    if (graph_[update.value].op->kind != OpKind::leaf) {
      add_copy(copy, update.value, to);
    } else {
      // Another shared variable's old value, kept before anything changes it.
      const auto held = buffers_.create("held", to->dtype, to->size);
      add_copy(first_, update.value, held);
      add_copy(copy, held, to);
    }
    add_step(update.guard, std::move(copy.front()));
  }
}

}  // namespace kroton
