#include "compiler/lower/program.h"

#include <kroton/error.h>

#include <algorithm>

namespace kroton {
namespace {

std::string indented(const std::string& text, const std::string& indent) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    result += indent + text.substr(at, end + 1 - at);
    at = end + 1;
  }
  return result;
}

std::string lines_of(const std::string& source) {
  return source.empty() ? "" : "  [" + source + "]";
}

void print(const std::vector<Step>& steps, const std::string& indent, std::string& text) {
  for (const Step& step : steps) {
    visit(
        step,
        [&](const loop::Kernel& kernel) {
          if (step.choice >= 0) {
            text +=
                indent + "candidate " + std::to_string(step.candidate) + ": " + kernel.form + "\n";
          }
          text += indented(loop::to_string(kernel), indent);
        },
        [&](const Scan& scan) {
          text += indent + "scan " + scan.name + " " + scan.variable.name + " < " +
                  scan.extent.to_string() + lines_of(scan.source) +
                  (scan.form.empty() ? "" : "  (" + scan.form + ")") + "\n";
          print(scan.steps, indent + "  ", text);
          if (!scan.idle) return;
          text +=
              indent + (scan.idle_to_the_end ? "from " : "until not ") + scan.idle->name + " on\n";
          print(scan.idle_steps, indent + "  ", text);
        },
        [&](const Branch& branch) {
          text += indent + "if " + branch.condition->name + lines_of(branch.source) + "\n";
          print(branch.then_steps, indent + "  ", text);
          text += indent + "else\n";
          print(branch.else_steps, indent + "  ", text);
        },
        [&](const Call& call) {
          text += indent + call.title();
          for (const Call::Value& value : call.inputs) text += " " + value.buffer->name;
          for (std::size_t k = 0; k < call.outputs.size(); ++k) {
            text += (k == 0 ? " -> " : " ") + call.outputs[k].buffer->name;
          }
          text += lines_of(call.source) + "\n";
        });
  }
}

}  // namespace

const Dim& worker_count() {
  static const Dim& dim = *new Dim(Dim::fresh("workers"));  // never destroyed
  return dim;
}

std::string to_string(const Program& program) {
  std::string text =
      "program " + program.name + "  arena " + program.arena_bytes.to_string() + " bytes\n";
  for (const auto& [id, place] : program.placements) {
    if (place.kind == Placement::Kind::arena) {
      text += "  buffer " + std::to_string(id) + " at " + place.offset.to_string() + "\n";
    } else if (place.kind == Placement::Kind::part) {
      text += "  buffer " + std::to_string(id) + " in " + std::to_string(place.of->id) +
              " from element " + loop::to_string(place.start) + "\n";
    }
  }
  print(program.steps, "", text);
  return text;
}

std::string Call::title() const {
  return callee ? "call " + callee->options.name : "print \"" + message + "\"";
}

void for_each_inner(const Step& step, const std::function<void(const std::vector<Step>&)>& action) {
  visit(
      step, [](const loop::Kernel&) {},
      [&](const Scan& scan) {
        action(scan.steps);
        if (!scan.idle_steps.empty()) action(scan.idle_steps);
      },
      [&](const Branch& branch) {
        action(branch.then_steps);
        action(branch.else_steps);
      },
      [](const Call&) {});
}

Step with_inner(const Step& step, const StepsToSteps& replace) {
  return visit(
      step, [&](const loop::Kernel&) { return step; },
      [&](const Scan& scan) {
        auto changed = std::make_shared<Scan>(scan);
        changed->steps = replace(scan.steps);
        if (!scan.idle_steps.empty()) changed->idle_steps = replace(scan.idle_steps);
        return Step{std::shared_ptr<const Scan>(std::move(changed))};
      },
      [&](const Branch& branch) {
        auto changed = std::make_shared<Branch>(branch);
        changed->then_steps = replace(branch.then_steps);
        changed->else_steps = replace(branch.else_steps);
        return Step{std::shared_ptr<const Branch>(std::move(changed))};
      },
      [&](const Call&) { return step; });
}

void for_each_buffer(const Step& step, const std::function<void(const loop::BufferRef&)>& action) {
  visit(
      step,
      [&](const loop::Kernel& kernel) {
        for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
          for (const loop::BufferRef& buffer : *list) action(buffer);
        }
      },
      [&](const Scan& scan) {
        if (scan.idle) action(scan.idle);
      },
      [&](const Branch& branch) { action(branch.condition); },
      [&](const Call& call) {
        for (const auto* list : {&call.inputs, &call.outputs}) {
          for (const Call::Value& value : *list) action(value.buffer);
        }
      });
}

std::int64_t kernel_count(const std::vector<Step>& steps) {
  std::int64_t count = 0;
  for (const Step& step : steps) {
    if (as<loop::Kernel>(step) && step.candidate == 0) ++count;
    for_each_inner(step, [&](const auto& inner) { count += kernel_count(inner); });
  }
  return count;
}

void for_each_call(const std::vector<Step>& steps, const std::function<void(const Call&)>& action) {
  for (const Step& step : steps) {
    if (const Call* call = as<Call>(step)) action(*call);
    for_each_inner(step, [&](const auto& inner) { for_each_call(inner, action); });
  }
}

Callees callees(const Program& program) {
  Callees result;
  for_each_call(program.steps, [&](const Call& call) {
    if (!call.callee) return;
    for (const auto& known : result) {
      if (known->options.name != call.callee->options.name) continue;
      if (known->options.function == call.callee->options.function) return;
      throw ValueError(program.name + ": two functions are called " + known->options.name + "  [" +
                       call.source + "]");
    }
    result.push_back(call.callee);
  });
  return result;
}

void for_each_kernel(const std::vector<Step>& steps,
                     const std::function<void(const loop::Kernel&)>& action) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) action(*kernel);
    for_each_inner(step, [&](const auto& inner) { for_each_kernel(inner, action); });
  }
}

}  // namespace kroton
