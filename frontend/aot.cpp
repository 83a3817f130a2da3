#include <kroton/aot.h>
#include <kroton/error.h>

#include <algorithm>
#include <cstdio>

#include "compiler/aot/c_header.h"
#include "compiler/aot/write_files.h"
#include "compiler/base/c_names.h"
#include "compiler/ir/deep_stack.h"
#include "compiler/ir/node.h"
#include "frontend/function_parts.h"
#include "runtime/communicator.h"

namespace kroton::aot {
namespace {

std::string at(const SourceLine& line) { return "  [" + to_string(line) + "]"; }

bool is_place(const std::string& name) { return name.find('.') != std::string::npos; }

// The variables that the inputs' sizes are made of once equal ones are unified, in the inputs'
// order: what the C caller passes. An input whose value is a size, but one that others determine
// too, goes to `values` with that size.
std::vector<CInterface::Size> sizes_of(const detail::FunctionPlan& plan, const Graph& graph,
                                       const std::vector<CInterface::Array>& inputs, CNames& names,
                                       std::vector<std::pair<int, Dim>>& values) {
  std::vector<CInterface::Size> sizes;
  const auto find = [&](const DimAtomRef& variable) {
    return std::find_if(sizes.begin(), sizes.end(), [&](const CInterface::Size& size) {
      return size.variable->identity == variable->identity;
    });
  };
  for (std::size_t slot = 0; slot < plan.slot_variables.size(); ++slot) {
    const DimAtomRef& own = plan.slot_variables[slot];
    const Dim dim = graph.unified(Dim::from_terms({{1, {own}}}));
    const DimAtomRef bare = dim.as_variable();
    dim.visit_variables([&](const DimAtomRef& variable) {
      const std::string& name = bare ? own->name : variable->name;
      const auto known = find(variable);
      if (known == sizes.end()) {
        sizes.push_back({"", name, variable});
      } else if (is_place(known->shown) && !is_place(name)) {
        known->shown = name;  // "batch" says more than "x.shape[0]"
      }
    });
    const auto input =
        std::find(plan.value_slots.begin(), plan.value_slots.end(), static_cast<int>(slot));
    if (input == plan.value_slots.end()) continue;
    const auto position = static_cast<int>(input - plan.value_slots.begin());
    if (bare && find(bare)->input < 0) {
      find(bare)->input = position;
    } else {
      values.emplace_back(position, dim);
    }
  }
  for (CInterface::Size& size : sizes) {
    size.name = size.input < 0 ? names.add(size.shown, "size")
                               : inputs[static_cast<std::size_t>(size.input)].name;
  }
  return sizes;
}

CInterface make_interface(const detail::FunctionPlan& plan, const Graph& graph,
                          const Program& program, const std::vector<Tensor>& outputs,
                          const Options& options) {
  CInterface c;
  c.name = options.name;
  c.source = to_string(plan.line);
  c.target = options.target;
  c.threads = options.threads;
  c.initial_values = options.initial_values;
  CNames names({"arena", "arena_bytes", "state", "context", "kroton_context", c.name + "_state"});
  // The sizes come first, but the arrays' names matter more.
  const auto unified = [&](TensorType type) {
    for (Dim& dim : type.shape) dim = graph.unified(dim);
    return type;
  };
  for (std::size_t k = 0; k < plan.inputs.size(); ++k) {
    const Tensor& input = plan.inputs[k];
    c.inputs.push_back({names.add(input.name(), "input" + std::to_string(k)),
                        input.name() + at(input.line()), unified(input.type())});
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::string number = outputs.size() == 1 ? "" : std::to_string(k);
    std::string name =
        k < options.output_names.size() ? options.output_names[k] : "output" + number;
    c.outputs.push_back({names.add(name, "output" + number),
                         outputs[k].name() + at(outputs[k].line()), program.outputs[k]});
  }
  std::vector<std::pair<int, Dim>> values;
  c.sizes = sizes_of(plan, graph, c.inputs, names, values);
  CNames fields({c.name + "_state"});
  for (std::size_t k = 0; k < program.states.size(); ++k) {
    SharedState& state = *program.states[k];
    TensorType type;
    type.dtype = state.value.dtype();
    for (int axis = 0; axis < state.value.rank(); ++axis) {
      type.shape.push_back(state.value.shape()[axis]);
    }
    c.states.push_back({fields.add(state.name, "state" + std::to_string(k)), state.name, type});
  }
  std::vector<SizeConstraint> constraints;
  for (const auto* bounds : {&plan.divisors, &plan.extents}) {
    for (const detail::SizeBound& bound : *bounds) {
      const Dim size = graph.unified(bound.size);
      constraints.push_back({minimum(size, bound.least), bound.least, bound.message});
    }
  }
  for (const SizeConstraint& constraint : plan.constraints) {
    const Dim left = graph.unified(constraint.left);
    const Dim right = graph.unified(constraint.right);
    if (left == right) continue;
    constraints.push_back({left, right, constraint.text([&](const Dim& dim) {
                             return graph.unified(dim).to_string();
                           })});
  }
  complete(c, program, constraints, values);
  return c;
}

// ValueError unless C and C++ programs can declare and link what the header of that name declares.
void check_names(const Options& options, const SourceLine& line) {
  const auto refuse = [&](const std::string& name, const std::string& what, const std::string& why,
                          const std::string& instead) {
    throw ValueError("aot::write: \"" + name + "\" cannot be the name of " + what + ": " + why +
                     "; \"" + instead + "\" can" + at(line));
  };
  const std::string why_not = why_no_function(options.name);
  if (!why_not.empty()) {
    refuse(options.name, "a C function", why_not, similar_function(options.name));
  }
  for (const std::string& name : options.output_names) {
    const std::string why = why_no_parameter(name);
    if (!why.empty()) refuse(name, "an output in C", why, CNames({}).add(name, "output"));
  }
}

}  // namespace

static Files write_at(const SourceLine& line, const std::vector<Tensor>& inputs,
                      const std::vector<Tensor>& outputs, const Options& options) {
  check_names(options, line);
  if (options.output_names.size() > outputs.size()) {
    throw ValueError("aot::write: " + std::to_string(options.output_names.size()) +
                     " output names for " + std::to_string(outputs.size()) + " outputs" + at(line));
  }
  const codegen::CpuTarget target = codegen::named_target(options.target);
  const FunctionOptions function_options{.updates = options.updates,
                                         .givens = options.givens,
                                         .name = options.name,
                                         .on_unused_input = options.on_unused_input};
  std::unique_ptr<Graph> graph;
  const detail::FunctionPlan plan(inputs, outputs, function_options, line, graph);
  detail::shapes_to_count(*graph, options.name);  // those that are known are checked here
  const Program program = make_program(
      *graph, options.name, target,
      {Checks::from_environment(), options.contract, detail::winograd_tiles(options.winograd)});
  for (const auto& callee : callees(program)) {
    const std::string& called = callee->options.name;
    if (callee->options.function == kroton_collective) {
      throw ValueError("aot::write: " + options.name + " exchanges values between devices (" +
                       callee->operation + "), which only functions in this process do" + at(line));
    }
    if (called == options.name || called.starts_with(options.name + "_")) {
      throw ValueError("aot::write: " + options.name + " calls a function " + called +
                       ", a name that its own header declares; give one of them another" +
                       at(line));
    }
  }
  CInterface c = make_interface(plan, *graph, program, outputs, options);
  for (const detail::CountedShape& counted : detail::shapes_to_count(*graph, options.name)) {
    Dim count = 1;
    for (const Dim& dim : counted.shape) count = count * dim;
    c.counts.push_back(count);
  }
  const std::string directory = options.directory.empty() ? "." : options.directory;
  Files files{directory + "/" + options.name + ".o", directory + "/" + options.name + ".h"};
  write_files(directory, {{files.object, codegen::generate_c_object(program, c, target)},
                          {files.header, c_header(c, program)}});
  return files;
}

Files write(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
            const Options& options, const std::source_location& location) {
  const SourceLine line{location.file_name(), location.line()};
  return on_deep_stack([&] { return write_at(line, inputs, outputs, options); });
}

Files write(const std::vector<Tensor>& inputs, const Tensor& output, const Options& options,
            const std::source_location& location) {
  return write(inputs, std::vector<Tensor>{output}, options, location);
}

Files write(const std::vector<Tensor>& inputs, const Options& options,
            const std::source_location& location) {
  return write(inputs, std::vector<Tensor>{}, options, location);
}

Generator::Generator(int argc, const char* const* argv) {
  for (int k = 1; k < argc; ++k) {
    const std::string flag = argv[k];
    if (flag == "--threads") {
      where_.threads = true;
    } else if (flag == "--functions") {
      any_function_ = false;
      while (k + 1 < argc && argv[k + 1][0] != '-') wanted_.emplace_back(argv[++k]);
    } else if ((flag == "--directory" || flag == "--target") && k + 1 < argc) {
      (flag == "--target" ? where_.target : where_.directory) = argv[++k];
    } else {
      throw ValueError("aot::Generator: cannot read the argument " + flag +
                       "; usage: [--directory DIR] [--target TARGET] [--threads] "
                       "[--functions NAME...]");
    }
  }
}

Files Generator::write(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs,
                       Options options, const std::source_location& location) {
  const std::string& name = options.name;
  if (!any_function_ && std::find(wanted_.begin(), wanted_.end(), name) == wanted_.end()) {
    throw ValueError("aot::Generator: the function " + name + " is not among those asked for" +
                     at({location.file_name(), location.line()}));
  }
  options.directory = where_.directory;
  options.target = where_.target;
  options.threads = where_.threads;
  Files files = aot::write(inputs, outputs, options, location);
  written_.push_back(name);
  return files;
}

Files Generator::write(const std::vector<Tensor>& inputs, const Tensor& output, Options options,
                       const std::source_location& location) {
  return write(inputs, std::vector<Tensor>{output}, std::move(options), location);
}

Files Generator::write(const std::vector<Tensor>& inputs, Options options,
                       const std::source_location& location) {
  return write(inputs, std::vector<Tensor>{}, std::move(options), location);
}

void Generator::finish() const {
  for (const std::string& name : wanted_) {
    if (std::find(written_.begin(), written_.end(), name) == written_.end()) {
      throw ValueError("aot::Generator: the function " + name +
                       " was asked for, but this program does not write it");
    }
  }
}

int generate(int argc, const char* const* argv, const std::function<void(Generator&)>& body) {
  try {
    Generator generator(argc, argv);
    body(generator);
    generator.finish();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace kroton::aot
