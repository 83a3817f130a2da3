#include "tests/fuzz/program.h"

#include <algorithm>
#include <set>

namespace fuzz {

kt::Array Contents::array(const kt::Shape& shape, kt::DType dtype) const {
  if (dtype == kt::boolean) {
    return kt::Array::uniform(shape, seed, 0, 2, kt::f64).cast(kt::i32).cast(kt::boolean);
  }
  if (whole || kt::is_integer(dtype)) {
    return kt::Array::uniform(shape, seed, low, high, kt::f64).cast(kt::i64).cast(dtype);
  }
  return kt::Array::uniform(shape, seed, low, high, dtype);
}

std::int64_t evaluate(const Program& program, const kt::Dim& dim, bool second) {
  return dim.evaluate([&](const kt::DimAtom& atom) {
    for (const Size& size : program.sizes) {
      if (size.dim.as_variable()->identity == atom.identity) {
        return second ? size.second : size.first;
      }
    }
    throw kt::InternalError("fuzz: the program has no size " + atom.name);
  });
}

Contents contents_of(const Program& program, const Variable& variable, bool second) {
  Contents contents = variable.contents;
  if (contents.index_of) {
    const auto size = static_cast<double>(evaluate(program, *contents.index_of, second));
    contents.low = contents.low < 0 ? -size : 0;
    contents.high = std::max(size, 1.0);  // of no elements there is no index
    contents.whole = true;
  }
  return contents;
}

kt::Shape shape_of(const Program& program, const kt::Dims& dims, bool second) {
  std::vector<std::int64_t> sizes;
  for (const kt::Dim& dim : dims) sizes.push_back(evaluate(program, dim, second));
  return kt::Shape(std::span(sizes));
}

std::vector<kt::Array> Built::arguments(const Program& program, bool second) const {
  std::vector<kt::Array> arrays;
  for (const Variable* v : input_variables) {
    arrays.push_back(
        contents_of(program, *v, second).array(shape_of(program, v->shape, second), v->dtype));
  }
  return arrays;
}

namespace {

using Tensors = std::vector<kt::Tensor>;
using Inside = std::function<Tensors(const Block&, std::span<const kt::Tensor>)>;

// Takes operands from the front.
class Taker {
 public:
  explicit Taker(const Tensors& operands) : operands_(operands) {}
  const kt::Tensor& one() { return operands_.at(next_++); }
  Tensors several(int count) {
    Tensors result;
    for (int k = 0; k < count; ++k) result.push_back(one());
    return result;
  }

 private:
  const Tensors& operands_;
  std::size_t next_ = 0;
};

Tensors apply_scan(const Scan& loop, const Tensors& operands, const Inside& inside) {
  Taker next(operands);
  kt::ScanOptions options;
  for (const auto& taps : loop.sequence_taps) options.sequences.emplace_back(next.one(), taps);
  for (const auto& taps : loop.state_taps) {
    if (taps.empty()) {
      options.outputs_info.emplace_back(kt::none);
    } else {
      options.outputs_info.emplace_back(next.one(), taps);
    }
  }
  options.non_sequences = next.several(loop.non_sequences);
  if (loop.counted) options.n_steps = kt::Steps(next.one());
  if (loop.steps) options.n_steps = kt::Steps(*loop.steps);
  options.go_backwards = loop.backwards;
  options.truncate_gradient = loop.truncate;
  return kt::scan([&](std::span<const kt::Tensor> a) { return inside(loop.body, a); }, options);
}

Tensors apply_gradient(const Gradient& gradient, const Tensors& operands) {
  Taker next(operands);
  const Tensors costs = next.several(gradient.costs);
  const Tensors cotangents = next.several(gradient.cotangents);
  const Tensors wrt = next.several(gradient.wrt);
  kt::GradOptions options;
  options.consider_constant = next.several(gradient.constants);
  options.allow_unused = true;
  switch (gradient.form) {
    case Gradient::Form::grad:
      return kt::grad(costs.at(0), wrt, options);
    case Gradient::Form::vjp:
      return kt::vjp(costs, wrt, cotangents);
    case Gradient::Form::known:
      for (std::size_t k = 0; k < costs.size(); ++k) {
        options.known_grads.emplace_back(costs[k], cotangents[k]);
      }
      return kt::grad(kt::Tensor(), wrt, options);
  }
  return {};
}

// The tensors of a program's values.
class Builder {
 public:
  explicit Builder(Built& built) : built_(built) {}

  void declare(const Variable& variable, const Program& program) {
    const std::string name = "x" + std::to_string(variable.value);
    if (variable.shared) {
      const kt::Shape shape = shape_of(program, variable.shape, false);
      built_.shared.push_back(
          kt::shared(contents_of(program, variable, false).array(shape, variable.dtype), name));
      built_.shared_variables.push_back(&variable);
      built_.tensors[variable.value] = built_.shared.back();
    } else {
      built_.inputs.push_back(kt::tensor(name, variable.shape, variable.dtype));
      built_.input_variables.push_back(&variable);
      built_.tensors[variable.value] = built_.inputs.back();
    }
  }

  void run(const Block& block) {
    for (const Statement& statement : block.statements) {
      const Tensors results = apply(statement, at(statement.operands),
                                    [&](const Block& body, std::span<const kt::Tensor> arguments) {
                                      for (std::size_t k = 0; k < arguments.size(); ++k) {
                                        built_.tensors[body.parameters.at(k)] = arguments[k];
                                      }
                                      run(body);
                                      return at(body.results);
                                    });
      for (std::size_t k = 0; k < results.size(); ++k) {
        built_.tensors[statement.results.at(k)] = results[k];
      }
    }
  }

  Tensors at(const std::vector<Value>& values) const {
    Tensors result;
    for (const Value v : values) result.push_back(built_.tensors.at(v));
    return result;
  }

 private:
  Built& built_;
};

}  // namespace

Tensors apply(const Statement& statement, const Tensors& operands, const Inside& inside) {
  if (const auto* operation = std::get_if<Operation>(&statement.what)) {
    return {operation->call.apply(operation->call.arguments, operands)};
  }
  if (const auto* loop = std::get_if<Scan>(&statement.what)) {
    return apply_scan(*loop, operands, inside);
  }
  return apply_gradient(std::get<Gradient>(statement.what), operands);
}

Built build(const Program& program) {
  Built built;
  Builder builder(built);
  for (const Variable& variable : program.variables) builder.declare(variable, program);
  builder.run(program.main);
  built.outputs = builder.at(program.main.results);
  for (const auto& [target, value] : program.updates) {
    for (std::size_t k = 0; k < built.shared.size(); ++k) {
      if (built.shared_variables[k]->value != target) continue;
      built.updates.push_back({built.shared[k], built.tensors.at(value)});
    }
  }
  return built;
}

namespace {

// Keeps the statements that `needed` asks for, which grows by what they need.
void prune(Block& block, std::set<Value>& needed) {
  for (std::size_t k = block.statements.size(); k-- > 0;) {
    Statement& statement = block.statements[k];
    const bool used = std::any_of(statement.results.begin(), statement.results.end(),
                                  [&](Value v) { return needed.contains(v); });
    if (!used) {
      block.statements.erase(block.statements.begin() + static_cast<std::ptrdiff_t>(k));
      continue;
    }
    needed.insert(statement.operands.begin(), statement.operands.end());
    if (auto* loop = std::get_if<Scan>(&statement.what)) {
      needed.insert(loop->body.results.begin(), loop->body.results.end());
      prune(loop->body, needed);
    }
  }
}

// Calls `note` for every size that an operation is given.
void visit_sizes(const Program& program, const std::function<void(const kt::Dim&)>& note) {
  visit(program.main, [&](const Statement& statement) {
    if (const auto* loop = std::get_if<Scan>(&statement.what); loop && loop->steps) {
      note(*loop->steps);
    }
    const auto* operation = std::get_if<Operation>(&statement.what);
    if (!operation) return;
    for (const kt::ops::Argument& argument : operation->call.arguments) {
      if (const auto* dim = std::get_if<kt::Dim>(&argument)) note(*dim);
      if (const auto* dims = std::get_if<kt::Dims>(&argument)) {
        std::for_each(dims->begin(), dims->end(), note);
      }
      if (const auto* widths = std::get_if<kt::ops::Widths>(&argument)) {
        for (const auto& [before, after] : *widths) {
          note(before);
          note(after);
        }
      }
      if (const auto* cuts = std::get_if<std::vector<kt::ops::Cut>>(&argument)) {
        for (const kt::ops::Cut& cut : *cuts) {
          if (cut.start) note(*cut.start);
          if (cut.stop) note(*cut.stop);
        }
      }
    }
  });
}

// Drops the variables that nothing needs, neither as values nor for their sizes. A free size is
// that of the variable it was made with, a named one that of any variable which has it.
void keep_variables(Program& program, std::set<Value> needed) {
  std::vector<kt::DimAtomRef> sizes;  // grows while variables are kept for their sizes
  std::set<std::uint64_t> noted;
  const auto note = [&](const kt::Dim& dim) {
    dim.visit_variables([&](const kt::DimAtomRef& atom) {
      if (noted.insert(atom->identity).second) sizes.push_back(atom);
    });
  };
  const auto note_sizes_of = [&](const Variable& variable) {
    std::for_each(variable.shape.begin(), variable.shape.end(), note);
  };
  visit_sizes(program, note);
  for (const Variable& variable : program.variables) {
    if (needed.contains(variable.value)) note_sizes_of(variable);
  }
  const auto gives = [](const Variable& variable, const kt::DimAtom& size) {
    return std::any_of(variable.shape.begin(), variable.shape.end(), [&](const kt::Dim& dim) {
      const kt::DimAtomRef atom = dim.as_variable();
      return atom && atom->identity == size.identity && (!is_free(size) || is_own(variable, size));
    });
  };
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const kt::DimAtomRef atom = sizes[k];
    const auto given = [&](const Variable& variable) {
      return needed.contains(variable.value) && gives(variable, *atom);
    };
    if (std::any_of(program.variables.begin(), program.variables.end(), given)) continue;
    const auto found = std::find_if(program.variables.begin(), program.variables.end(),
                                    [&](const Variable& v) { return gives(v, *atom); });
    if (found != program.variables.end()) {
      needed.insert(found->value);
      note_sizes_of(*found);
    } else {
      const kt::Dim size = kt::Dim::from_terms({{1, {atom}}});
      program.variables.push_back({program.next, kt::f32, {size}, false, {}});
      needed.insert(program.next++);
    }
  }
  std::erase_if(program.variables,
                [&](const Variable& variable) { return !needed.contains(variable.value); });
}

}  // namespace

bool is_free(const kt::DimAtom& size) { return size.name.find('.') != std::string::npos; }

bool is_own(const Variable& variable, const kt::DimAtom& size) {
  return size.name.starts_with("x" + std::to_string(variable.value) + ".");
}

void prune(Program& program) {
  std::set<Value> needed(program.main.results.begin(), program.main.results.end());
  for (const auto& [target, value] : program.updates) needed.insert({target, value});
  prune(program.main, needed);
  keep_variables(program, needed);
}

void visit(const Block& block, const std::function<void(const Statement&)>& body) {
  for (const Statement& statement : block.statements) {
    if (const auto* loop = std::get_if<Scan>(&statement.what)) visit(loop->body, body);
    body(statement);
  }
}

std::vector<std::string> operations(const Program& program) {
  std::set<std::string> names;
  visit(program.main, [&](const Statement& statement) {
    if (const auto* operation = std::get_if<Operation>(&statement.what)) {
      names.insert(operation->call.function);
    } else {
      names.insert(std::holds_alternative<Scan>(statement.what) ? "scan" : "grad");
    }
  });
  return {names.begin(), names.end()};
}

}  // namespace fuzz
