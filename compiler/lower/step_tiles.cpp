#include "compiler/lower/step_tiles.h"

#include <algorithm>
#include <set>
#include <utility>

#include "compiler/contraction/gpu_step_parts.h"
#include "compiler/contraction/gpu_step_tiles.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

class StepTileMaker {
 public:
  StepTileMaker(const Scan& scan, const Program& program, BufferTable& buffers)
      : program_(program), buffers_(buffers) {
    note(scan.steps);
    note(scan.idle_steps);
  }

  StepTiles run(const Scan& scan) {
    result_.scan = of(scan);
    return std::move(result_);
  }

 private:
  Scan of(const Scan& scan) {
    Scan result = scan;
    result.steps = of(scan.steps, scan.variable);
    return result;
  }

  std::vector<Step> of(const std::vector<Step>& steps, const loop::Variable& counter) {
    std::vector<Step> result;
    bool is_joined = false;  // whether the kernel before is one with its product
    for (std::size_t k = 0; k < steps.size(); ++k) {
      const bool was_joined = std::exchange(is_joined, false);
      if (const Scan* inner = as<Scan>(steps[k])) {
        result.emplace_back().kind = std::make_shared<const Scan>(of(*inner));
        continue;
      }
      result.push_back(steps[k]);
      const auto* product = as<loop::Kernel>(steps[k]);
      const StepPart* part = product != nullptr ? part_of(*product) : nullptr;
      if (part == nullptr || !part->product || !stays(part->product->b)) continue;
      const auto* before = k > 0 && !was_joined ? as<loop::Kernel>(steps[k - 1]) : nullptr;
      if (before != nullptr && add_parts(*before, *product, *part->product, counter, result)) {
        if (part->in_parts) ++k;
        continue;
      }
      if (part->in_parts) continue;
      const auto* next = k + 1 < steps.size() ? as<loop::Kernel>(steps[k + 1]) : nullptr;
      std::optional<loop::Kernel> both =
          next ? joined(*product, *part->product, *next) : std::nullopt;
      if (both) {
        ++k;
        is_joined = true;
      } else {
        both = build_step_tiles(step_product(*part->product), maker());
        if (!both) continue;
        both->name = product->name;
        both->source = product->source;
      }
      result_.found = true;
      collect_buffers(*both);
      result.back().kind = *std::move(both);
    }
    return result;
  }

  // The product goes on with what the kernel before it has made, whose own one is the last of
  // `steps`.
  bool add_parts(const loop::Kernel& before, const loop::Kernel& product,
                 const Contraction& contraction, const loop::Variable& counter,
                 std::vector<Step>& steps) {
    const StepPart* part = part_of(before);
    if (part == nullptr || !part->elements) return false;
    std::optional<StepParts> parts = build_step_parts(contraction, *part->elements, maker());
    if (!parts) return false;
    loop::Kernel& contributions = parts->contributions;
    contributions.name = product.name;
    contributions.source = product.source;
    parts->sums.name = "_sum";
    parts->sums.source = product.source;
    collect_buffers(contributions);
    collect_buffers(parts->sums);
    // Of two steps one after the other they lie apart.
    const loop::BufferRef& partial = parts->partial;
    const loop::BufferRef both =
        buffers_.create(partial->name, partial->dtype, partial->size * Dim(2));
    result_.homes[partial->id] = {
        both, loop::binary(loop::Op::mod, loop::variable(counter), loop::integer(2)) *
                  loop::size(partial->size)};
    result_.found = true;
    result_.apart.by_turns.insert(both->id);
    result_.apart.of_blocks.insert(parts->made->id);
    result_.are_wanted = result_.are_wanted * parts->are_few;
    // Elements of the same rows are the same threads'.
    steps.pop_back();  // the product's own
    parts->elements.name = before.name;
    parts->elements.source = before.source;
    collect_buffers(parts->elements);
    steps.back().kind = std::move(parts->elements);
    const StepElements axes = *step_elements(*part->elements);
    for (Step& step : steps) {
      const auto* kernel = as<loop::Kernel>(step);
      const bool is_last = &step == &steps.back();
      const StepPart* own = kernel != nullptr && !is_last ? part_of(*kernel) : nullptr;
      if (own == nullptr || !own->elements || kernel->body.size() != 1) continue;
      const std::optional<StepElements> other = step_elements(*own->elements);
      if (!other || other->row.extent != axes.row.extent ||
          other->element.extent != axes.element.extent) {
        continue;
      }
      loop::Kernel alike = deal_out(*own->elements, *other);
      alike.name = kernel->name;
      alike.source = kernel->source;
      collect_buffers(alike);
      step.kind = std::move(alike);
    }
    steps.emplace_back().kind = std::move(contributions);
    steps.emplace_back().kind = std::move(parts->sums);
    return true;
  }

  std::optional<loop::Kernel> joined(const loop::Kernel& product, const Contraction& contraction,
                                     const loop::Kernel& next) {
    const StepPart* part = part_of(next);
    if (part == nullptr || !part->elements || contraction.stores.size() != 1) return std::nullopt;
    const int between = product.outputs[0]->id;
    const auto writes_what_is_read = [&] {
      return std::any_of(next.outputs.begin(), next.outputs.end(), [&](const loop::BufferRef& b) {
        return std::any_of(product.inputs.begin(), product.inputs.end(),
                           [&](const loop::BufferRef& read) { return read->id == b->id; });
      });
    };
    if (writes_[between] != 1 || writes_what_is_read()) return std::nullopt;
    const bool is_wanted = program_.placements.contains(between) || reads_[between] != 1;
    const std::optional<StepProduct> step = step_product(contraction, *part->elements, is_wanted);
    if (!step) return std::nullopt;
    std::optional<loop::Kernel> kernel = build_step_tiles(*step, maker());
    if (!kernel) return std::nullopt;
    kernel->name = product.name + next.name;
    kernel->source = product.source;
    if (product.source.find(next.source) == std::string::npos) kernel->source += " " + next.source;
    return kernel;
  }

  // How many kernels read and write each buffer; which are written, as wholes.
  void note(const std::vector<Step>& steps) {
    for (const Step& step : steps) {
      if (const auto* kernel = as<loop::Kernel>(step)) {
        std::set<int> used;
        for (const loop::BufferRef& b : kernel->inputs) {
          ++reads_[b->id];
          used.insert(whole(b->id));
        }
        for (const loop::BufferRef& b : kernel->outputs) {
          ++writes_[b->id];
          written_.insert(whole(b->id));
          used.insert(whole(b->id));
        }
        for (const int id : used) ++uses_[id];
        loop::visit_statements(kernel->body, [&](const loop::Stmt& s) {
          const auto* array = std::get_if<loop::Allocate>(&s);
          if (array != nullptr) highest_ = std::max(highest_, array->buffer->id);
        });
      }
      if (const auto* branch = as<Branch>(step)) ++reads_[branch->condition->id];
      for_each_inner(step, [&](const auto& inner) { note(inner); });
    }
  }

  // Schedules number the buffers of a kernel from its own on: those of blocks that keep them are
  // none of any other kernel's.
  loop::NewBuffer maker() {
    return [this](const std::string& name, DType dtype, const Dim& size, loop::Space space) {
      loop::BufferRef buffer;
      do {
        buffer = buffers_.create(name, dtype, size, space);
      } while (buffer->id <= highest_);
      return buffer;
    };
  }

  // What the kernel was made from; null: not known.
  const StepPart* part_of(const loop::Kernel& kernel) {
    if (kernel.outputs.empty() || writes_[kernel.outputs[0]->id] != 1) return nullptr;
    const auto found = buffers_.step_parts().find(kernel.outputs[0]->id);
    return found != buffers_.step_parts().end() ? found->second.get() : nullptr;
  }

  const Placement* placed_part(int id) const {
    const auto placed = program_.placements.find(id);
    return placed != program_.placements.end() && placed->second.kind == Placement::Kind::part
               ? &placed->second
               : nullptr;
  }
  int whole(int id) const {
    const Placement* placed = placed_part(id);
    return placed != nullptr ? placed->of->id : id;
  }

  // Whether the value is the same in all steps.
  bool stays(const loop::Expr& value) const {
    const std::vector<loop::Expr> nodes = loop::post_order(std::span(&value, 1));
    return std::all_of(nodes.begin(), nodes.end(), [&](const loop::Expr& e) {
      if (e->op != loop::Op::load) return true;
      const Placement* placed = placed_part(e->buffer->id);
      return !written_.contains(whole(e->buffer->id)) &&
             (placed == nullptr || loop::as_dim(placed->start));
    });
  }

  const Program& program_;
  BufferTable& buffers_;
  std::map<int, int> reads_, writes_;
  std::map<int, int> uses_;  // how many kernels use a whole buffer
  StepTiles result_;
  std::set<int> written_;
  int highest_ = 0;  // Buffer::id of what kernels allocate
};

}  // namespace

StepTiles with_step_tiles(const Scan& scan, const Program& program, BufferTable& buffers) {
  return StepTileMaker(scan, program, buffers).run(scan);
}

}  // namespace kroton
