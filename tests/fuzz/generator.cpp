#include "tests/fuzz/generator.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace fuzz {

using kt::ops::Accept;
using kt::ops::Slot;

namespace {

constexpr std::int64_t most_elements = 3000;
constexpr double largest_value = 1e4;
constexpr int deepest_loop = 2;

// What is asked for cannot be had.
struct Impossible {};

bool same_value(std::int64_t a, std::int64_t b) { return a == b; }

}  // namespace

Program generate(std::uint64_t seed) { return Generator(seed).run(); }

Generator::Generator(std::uint64_t seed) : random_(seed * 0x9E3779B97F4A7C15ULL + 1) {
  scopes_.emplace_back();
  blocks_.push_back(&program_.main);
  dtype_of_program_ = below(8);
  choose_sizes();
}

Program Generator::run() {
  for (int k = 1 + below(3); k > 0; --k) {
    try {
      random_variable(kt::ops::any_dtype, below(2), 3);
    } catch (const Impossible&) {  // too many elements: another one then
    }
  }
  grow(4 + below(12));
  choose_outputs();
  choose_updates();
  prune(program_);
  return std::move(program_);
}

int Generator::below(int count) {
  return static_cast<int>(random_() % static_cast<std::uint64_t>(count));
}

// ---- Sizes and variables

void Generator::choose_sizes() {
  constexpr std::int64_t sizes[] = {3, 2, 17, 1, 16, 33, 0, 3, 4, 7, 2, 5};
  const auto random_size = [&] {
    const std::int64_t size = sizes[below(std::size(sizes))];
    return size == 0 && one_in(2) ? 3 : size;  // 0 makes everything around it empty
  };
  constexpr const char* names[] = {"n", "m", "k"};
  for (const char* name : names) {
    if (one_in(2)) {
      size_choices_.emplace_back(random_size());
      continue;
    }
    const kt::Dim named = kt::dim(name);
    const std::int64_t first = random_size();
    program_.sizes.push_back({named, first, one_in(2) ? random_size() : first});
    sizes_[named.as_variable()->identity] = first;
    size_choices_.push_back(named);
  }
}

kt::Dim Generator::size() {
  if (one_in(6)) return 1 + below(4);
  return size_choices_[static_cast<std::size_t>(below(static_cast<int>(size_choices_.size())))];
}

std::int64_t Generator::value(const kt::Dim& size) const { return evaluate(program_, size, false); }

kt::DType Generator::random_dtype(Accept accept) {
  // Most programs have one floating dtype.
  constexpr std::pair<kt::DType, kt::DType> of_program[] = {
      {kt::f64, kt::f64},  {kt::f64, kt::f64}, {kt::f32, kt::f64}, {kt::f32, kt::f64},
      {kt::f32, kt::bf16}, {kt::f16, kt::f32}, {kt::f32, kt::f32}, {kt::f32, kt::f32}};
  const auto& [first, second] = of_program[dtype_of_program_];
  const kt::DType real = one_in(2) ? first : second;
  for (;;) {
    constexpr kt::DType others[] = {kt::boolean, kt::boolean, kt::i32, kt::i32, kt::i64, kt::i64,
                                    kt::i8,      kt::i16,     kt::u8,  kt::u16, kt::u32, kt::u64};
    const kt::DType dtype = one_in(4) ? others[below(std::size(others))] : real;
    if (accept(dtype)) return dtype;
    if (accept(real)) return real;
  }
}

Contents Generator::random_contents(kt::DType dtype) {
  Contents contents{.seed = static_cast<std::uint64_t>(below(1000))};
  if (!kt::is_float(dtype)) {
    contents.low = kt::is_integer(dtype) && !kt::is_signed(dtype) ? 0 : -4;
    contents.high = 5;
    return contents;
  }
  switch (below(6)) {
    case 0:
      contents.low = 0.1;
      contents.high = 3;
      break;
    case 1:
      contents.low = -3;
      contents.high = 4;
      contents.whole = one_in(2);
      break;
    case 2:
      contents.low = -8;
      contents.high = 8;
      break;
    default:
      break;
  }
  return contents;
}

Value Generator::add_variable(kt::DType dtype, kt::Dims shape, Contents contents, bool shared) {
  const kt::Shape host = shape_of(program_, shape, false);
  if (host.element_count() > most_elements) throw Impossible();
  const Value v = fresh();
  const std::string name = "x" + std::to_string(v);
  program_.variables.push_back({v, dtype, std::move(shape), shared, std::move(contents)});
  const Variable& variable = program_.variables.back();
  const kt::Array array = contents_of(program_, variable, false).array(host, dtype);
  const kt::Tensor tensor =
      shared ? kt::shared(array, name) : kt::tensor(name, variable.shape, dtype);
  known_[v] = {tensor, kt::from_array(array), true};
  // Variables are the program's, also those that a loop's step asks for.
  scopes_.front().insert(scopes_.front().begin(), v);
  return v;
}

Value Generator::random_variable(Accept accept, int min_rank, int max_rank) {
  const int ranks[] = {0, 1, 1, 2, 2, 2, 3};
  const int rank = std::clamp(ranks[below(std::size(ranks))], min_rank, max_rank);
  const kt::DType dtype = random_dtype(accept);
  const bool shared = one_in(6);
  kt::Dims shape;
  if (!shared && rank > 0 && one_in(4)) {
    // Free sizes of its own, of the values that others have.
    const std::string name = "x" + std::to_string(program_.next);
    for (int axis = 0; axis < rank; ++axis) {
      const kt::Dim like = size_choices_[static_cast<std::size_t>(below(3))];
      const kt::Dim own = kt::Dim::fresh(name + ".shape[" + std::to_string(axis) + "]");
      program_.sizes.push_back(
          {own, evaluate(program_, like, false), evaluate(program_, like, true)});
      sizes_[own.as_variable()->identity] = program_.sizes.back().first;
      shape.push_back(own);
    }
  } else {
    for (int axis = 0; axis < rank; ++axis) {
      // Often square: what is transposed then has the shape it had.
      const kt::Dim d = axis > 0 && one_in(2) ? shape.back() : size();
      shape.push_back(shared ? kt::Dim(value(d)) : d);
    }
  }
  return add_variable(dtype, std::move(shape), random_contents(dtype), shared);
}

// ---- Operands

std::vector<Value> Generator::visible(const Accepts& accepts) const {
  std::vector<Value> result;
  for (const auto& scope : scopes_) {
    for (const Value v : scope) {
      if (accepts(known_.at(v))) result.push_back(v);
    }
  }
  return result;
}

// Mostly what this block has made and nothing uses yet, so that graphs grow deep; else any, later
// values more often than earlier ones.
std::optional<Value> Generator::choose(const Accepts& accepts) {
  std::vector<Value> values = visible(accepts);
  if (!one_in(3)) {
    const std::vector<Value>& inner = scopes_.back();
    std::vector<Value> ends;
    for (const Value v : values) {
      const bool own =
          scopes_.size() == 1 || std::find(inner.begin(), inner.end(), v) != inner.end();
      if (own && !used_.contains(v)) ends.push_back(v);
    }
    if (!ends.empty()) values = std::move(ends);
  }
  if (values.empty()) return std::nullopt;
  const int count = static_cast<int>(values.size());
  int at = below(count);
  if (!one_in(3)) at = std::max(at, below(count));
  return values[static_cast<std::size_t>(at)];
}

Slot Generator::use(Value v) {
  operands_.push_back(v);
  return {static_cast<int>(operands_.size()) - 1};
}

const kt::Tensor& Generator::operator[](Slot slot) const {
  return known_.at(operands_.at(static_cast<std::size_t>(slot.number))).tensor;
}

Slot Generator::operand(Accept accept, int min_rank, int max_rank) {
  const std::optional<Value> v = choose([&](const Known& known) {
    const int rank = known.tensor.rank();
    return accept(known.tensor.dtype()) && rank >= min_rank && rank <= max_rank;
  });
  if (v && !one_in(10)) return use(*v);
  return use(random_variable(accept, min_rank, max_rank));
}

bool Generator::same_shape(const kt::Dims& a, const kt::Dims& b) const {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](auto& x, auto& y) {
           return x == y || (same_value(value(x), value(y)) && x.is_constant() == y.is_constant());
         });
}

bool Generator::broadcasts(const kt::Dims& a, const kt::Dims& b) const {
  for (std::size_t k = 1; k <= std::min(a.size(), b.size()); ++k) {
    const kt::Dim& x = a[a.size() - k];
    const kt::Dim& y = b[b.size() - k];
    if (x.is_constant(1) || y.is_constant(1) || x == y) continue;
    if (!same_value(value(x), value(y))) return false;
  }
  return true;
}

Slot Generator::partner(Slot x, Accept accept) {
  const kt::Dims shape = (*this)[x].shape();
  const std::optional<Value> v = choose([&](const Known& known) {
    return accept(known.tensor.dtype()) && broadcasts(known.tensor.shape(), shape);
  });
  if (v && !one_in(6)) return use(*v);
  kt::Dims own = shape;
  if (!own.empty() && one_in(3)) own.erase(own.begin());
  for (kt::Dim& dim : own) {
    if (one_in(8)) dim = 1;
  }
  const kt::DType dtype = random_dtype(accept);
  return use(add_variable(dtype, std::move(own), random_contents(dtype)));
}

Slot Generator::of_type(const kt::TensorType& type) {
  const std::optional<Value> v = choose([&](const Known& known) {
    return known.tensor.dtype() == type.dtype && same_shape(known.tensor.shape(), type.shape);
  });
  if (v && !one_in(6)) return use(*v);
  return use(add_variable(type.dtype, type.shape, random_contents(type.dtype)));
}

Slot Generator::indices(const kt::Dims& shape, const kt::Dim& size) {
  const auto limit = static_cast<double>(value(size));
  const std::optional<Value> v = choose([&](const Known& known) {
    return kt::is_integer(known.tensor.dtype()) && same_shape(known.tensor.shape(), shape) &&
           std::all_of(known.value.data.begin(), known.value.data.end(),
                       [&](double x) { return x >= -limit && x < limit; });
  });
  if (v && !one_in(3)) return use(*v);
  Contents contents{.seed = static_cast<std::uint64_t>(below(1000)), .low = one_in(2) ? -1.0 : 0.0};
  contents.index_of = size;
  constexpr kt::DType dtypes[] = {kt::i32, kt::i64, kt::i32, kt::i64, kt::i8, kt::i16};
  return use(add_variable(dtypes[below(std::size(dtypes))], shape, contents));
}

// ---- Statements

std::vector<kt::Tensor> Generator::tensors_of(const std::vector<Value>& values) const {
  std::vector<kt::Tensor> result;
  for (const Value v : values) result.push_back(known_.at(v).tensor);
  return result;
}

// From the operands' values; from those of everything that is known if `whole`.
std::vector<kt::ReferenceValue> Generator::values_of(const std::vector<kt::Tensor>& tensors,
                                                     const std::vector<Value>& operands,
                                                     bool whole) const {
  std::map<const kt::Node*, kt::ReferenceValue> bindings;
  const auto bind = [&](const Known& known) {
    bindings.emplace(&known.tensor.node(), known.value);
  };
  for (const Value v : operands) bind(known_.at(v));
  if (whole) {
    for (const auto& scope : scopes_) {
      for (const Value v : scope) bind(known_.at(v));
    }
  }
  return kt::evaluate(tensors, bindings, sizes_);
}

bool Generator::is_reasonable(const kt::ReferenceValue& value) {
  const auto good = [&](double x) { return std::abs(x) <= largest_value; };
  const auto count = std::count_if(value.data.begin(), value.data.end(), good);
  // Infinities and NaNs, not everywhere, in some programs.
  return count == static_cast<std::ptrdiff_t>(value.data.size()) || (count > 0 && one_in(20));
}

bool Generator::add(Statement statement, const std::vector<kt::Tensor>& results, bool whole) {
  for (const kt::Tensor& result : results) {
    if (result.rank() > 5) return false;
    if (value(kt::element_count(result.shape())) > most_elements) return false;
  }
  const std::vector<kt::ReferenceValue> values = values_of(results, statement.operands, whole);
  for (const kt::ReferenceValue& v : values) {
    if (!is_reasonable(v)) return false;
  }
  used_.insert(statement.operands.begin(), statement.operands.end());
  for (std::size_t k = 0; k < results.size(); ++k) {
    const Value v = fresh();
    statement.results.push_back(v);
    known_[v] = {results[k], values[k]};
    scopes_.back().push_back(v);
  }
  blocks_.back()->statements.push_back(std::move(statement));
  return true;
}

std::optional<Value> Generator::emit(kt::ops::Call call, std::vector<Value> operands) {
  Statement statement{Operation{std::move(call)}, std::move(operands), {}};
  const std::vector<kt::Tensor> results = apply(statement, tensors_of(statement.operands), nullptr);
  if (!add(std::move(statement), results, false)) return std::nullopt;
  return scopes_.back().back();
}

bool Generator::try_operation(const kt::OpRecord& op) {
  operands_.clear();
  try {
    op.draw(*this);
    return emit(made(), operands_).has_value();
  } catch (const Impossible&) {
    return false;
  } catch (const kt::InternalError&) {
    throw;
  } catch (const kt::Error&) {
    return false;  // not a call that the function takes
  }
}

namespace {

// Ops by what they do to a graph: those that read at other indices, those that bring many elements
// together, those worth computing only once, and the rest. The first three are few, and it is where
// they meet that a compiler has to decide something.
const std::vector<std::vector<const kt::OpRecord*>>& drawable_ops() {
  static const auto groups = [] {
    std::vector<std::vector<const kt::OpRecord*>> result(4);
    for (const kt::OpRecord* op : kt::all_ops()) {
      if (op->draw == nullptr) continue;
      constexpr int costly = 5;
      const bool gathers = op->is_view || op->observable || op->kind == kt::OpKind::write;
      const bool joins = op->kind == kt::OpKind::reduce || op->kind == kt::OpKind::contraction ||
                         op->kind == kt::OpKind::composite;
      result[joins ? 1 : gathers ? 0 : op->cost >= costly ? 2 : 3].push_back(op);
    }
    return result;
  }();
  return groups;
}

}  // namespace

bool Generator::try_any_operation() {
  const auto& groups = drawable_ops();
  const auto& group = groups[static_cast<std::size_t>(below(static_cast<int>(groups.size())))];
  return try_operation(*group[static_cast<std::size_t>(below(static_cast<int>(group.size())))]);
}

void Generator::grow(int statements) {
  for (int tries = 0; statements > 0 && tries < 100; ++tries) {
    const int kind = below(20);
    const bool grown = kind < 2 ? try_loop() : kind < 4 ? try_gradient() : try_any_operation();
    if (grown) --statements;
  }
}

// ---- Loops

void Generator::choose_sequences(Scan& loop) {
  for (int k = below(3); k > 0; --k) {
    constexpr Accept accepts[] = {kt::ops::floating, kt::ops::any_dtype};
    const Slot rows = operand(accepts[below(2)], 1, 3);
    const std::int64_t count = value((*this)[rows].shape(0));
    std::vector<int> taps = {0};
    if (count >= 3 && one_in(4)) {
      const std::vector<std::vector<int>> choices = {{-1, 0}, {0, 1}, {-1, 1}, {-2}, {-1, 0, 1}};
      taps = choices[static_cast<std::size_t>(below(5))];
    }
    loop.sequence_taps.push_back(std::move(taps));
  }
}

void Generator::choose_states(Scan& loop) {
  constexpr std::int64_t most_state_elements = 40;
  for (int k = below(3); k > 0; --k) {
    const std::optional<Value> initial = choose([&](const Known& known) {
      return known.tensor.rank() <= 2 &&
             static_cast<std::int64_t>(known.value.data.size()) <= most_state_elements &&
             (kt::is_float(known.tensor.dtype()) || one_in(4));
    });
    if (!initial) continue;
    std::vector<int> taps = {-1};
    if (one_in(4)) {
      const std::vector<std::vector<int>> choices = {{-2, -1}, {-2}, {-3, -1}, {-1, -2}};
      taps = choices[static_cast<std::size_t>(below(4))];
      kt::TensorType type = known_.at(*initial).tensor.type();
      const int furthest = -*std::min_element(taps.begin(), taps.end());
      type.shape.insert(type.shape.begin(), furthest);
      of_type(type);
    } else {
      use(*initial);
    }
    loop.state_taps.push_back(std::move(taps));
  }
  for (int k = loop.state_taps.empty() ? 1 : below(2); k > 0; --k) loop.state_taps.emplace_back();
}

// A state's next value: something made in the step that has its type, else made so.
std::optional<Value> Generator::next_state(Value parameter, const std::vector<Value>& made) {
  const kt::TensorType type = known_.at(parameter).tensor.type();
  std::vector<Value> fitting;
  for (const Value v : made) {
    if (v != parameter && known_.at(v).tensor.type() == type) fitting.push_back(v);
  }
  if (!fitting.empty() && !one_in(6)) {
    return fitting[static_cast<std::size_t>(below(static_cast<int>(fitting.size())))];
  }
  const auto call = [&](const char* name, auto function, auto... arguments) {
    Draw::call(name, function, arguments...);
    return this->made();
  };
  if (type.dtype == kt::boolean) {
    const kt::ops::UnaryFunction negated = [](const kt::Operand& x) -> kt::Tensor {
      return kt::logical_not(x);
    };
    return emit(call("logical_not", negated, Slot{0}), {parameter});
  }
  std::optional<Value> other;
  for (const Value v : made) {
    const Known& known = known_.at(v);
    if (known.tensor.dtype() != kt::boolean && !known.value.data.empty()) other = v;
  }
  std::optional<Value> sum = parameter;
  if (other) {
    other = emit(call("mean", kt::mean, Slot{0}, std::monostate(), false), {*other});
    if (other) other = emit(call("cast", kt::cast, Slot{0}, type.dtype), {*other});
    using Function = kt::ops::BinaryFunction;
    if (other) {
      sum =
          emit(call("add", static_cast<Function>(kt::add), Slot{0}, Slot{1}), {parameter, *other});
    }
  }
  if (!sum || !kt::is_float(type.dtype)) return sum;
  return emit(call("tanh", kt::tanh, Slot{0}), {*sum});
}

Block Generator::step(const Scan& loop, const std::vector<Value>& operands,
                      std::span<const kt::Tensor> arguments) {
  Block block;
  scopes_.emplace_back();
  blocks_.push_back(&block);
  // The row of a value, or zeros where it has none.
  const auto row = [&](const kt::ReferenceValue& value, std::int64_t k) {
    kt::ReferenceValue result{value.dtype, {value.shape.begin() + 1, value.shape.end()}, {}};
    std::size_t count = 1;
    for (const std::int64_t size : result.shape) count *= static_cast<std::size_t>(size);
    result.data.assign(count, 0);
    if (k >= 0 && k < value.shape[0]) {
      std::copy_n(value.data.begin() + k * static_cast<std::int64_t>(count), count,
                  result.data.begin());
    }
    return result;
  };
  std::vector<std::vector<Value>> states;
  std::size_t next = 0, operand = 0;
  const auto parameter = [&](kt::ReferenceValue value) {
    const Value v = fresh();
    known_[v] = {arguments[next++], std::move(value), true};
    block.parameters.push_back(v);
    scopes_.back().push_back(v);
    return v;
  };
  for (const auto& taps : loop.sequence_taps) {
    const kt::ReferenceValue rows = known_.at(operands[operand++]).value;
    for (std::size_t k = 0; k < taps.size(); ++k) {
      parameter(row(rows, static_cast<std::int64_t>(k)));
    }
  }
  for (const auto& taps : loop.state_taps) {
    states.emplace_back();
    if (taps.empty()) continue;
    const kt::ReferenceValue initial = known_.at(operands[operand++]).value;
    const bool single = taps == std::vector<int>{-1};
    for (std::size_t k = 0; k < taps.size(); ++k) {
      states.back().push_back(
          parameter(single ? initial : row(initial, static_cast<std::int64_t>(k))));
    }
  }
  for (int k = 0; k < loop.non_sequences; ++k) parameter(known_.at(operands[operand++]).value);

  grow(1 + below(4));
  std::vector<kt::Tensor> results;
  for (const std::vector<Value>& state : states) {
    const std::vector<Value> made = scopes_.back();
    std::optional<Value> v;
    if (!state.empty()) {
      v = next_state(state[0], made);
    } else if (!made.empty()) {
      // What nothing in the step uses, or anything of it.
      std::vector<Value> ends;
      for (const Value other : made) {
        if (!used_.contains(other) && !known_.at(other).leaf) ends.push_back(other);
      }
      const std::vector<Value>& from = ends.empty() || one_in(4) ? made : ends;
      v = from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
    }
    if (!v) break;
    block.results.push_back(*v);
  }
  const bool complete = block.results.size() == states.size();
  scopes_.pop_back();
  blocks_.pop_back();
  if (!complete) throw Impossible();
  return block;
}

bool Generator::try_loop() {
  if (static_cast<int>(scopes_.size()) > deepest_loop) return false;
  operands_.clear();
  Scan loop;
  const std::size_t scopes = scopes_.size(), blocks = blocks_.size();
  try {
    choose_sequences(loop);
    choose_states(loop);
    loop.backwards = !loop.sequence_taps.empty() && one_in(4);
    if (one_in(4)) {
      use(random_variable(kt::ops::floating, 0, 2));
      loop.non_sequences = 1;
    }
    if (loop.sequence_taps.empty()) {
      loop.steps = one_in(2) ? size() : kt::Dim(below(5));
      if (value(*loop.steps) > 17) return false;
    }
    if (one_in(12)) loop.truncate = 1 + below(3);
    Statement statement{loop, operands_, {}};
    const std::vector<Value> operands = operands_;
    Block body;
    const std::vector<kt::Tensor> results = apply(
        statement, tensors_of(operands), [&](const Block&, std::span<const kt::Tensor> arguments) {
          body = step(loop, operands, arguments);
          return tensors_of(body.results);
        });
    std::get<Scan>(statement.what).body = std::move(body);
    return add(std::move(statement), results, true);
  } catch (const Impossible&) {
  } catch (const kt::InternalError&) {
    throw;
  } catch (const kt::Error&) {
  }
  scopes_.resize(scopes);
  blocks_.resize(blocks);
  return false;
}

// ---- Gradients

// A scalar that depends on every element.
std::optional<Value> Generator::scalar_of(Value v) {
  const auto call = [&](const char* name, auto function, auto... arguments) {
    Draw::call(name, function, arguments...);
    return made();
  };
  if (known_.at(v).tensor.rank() == 0) return v;
  std::optional<Value> x = v;
  if (one_in(2)) x = emit(call("square", kt::square, Slot{0}), {v});
  if (!x) return std::nullopt;
  if (one_in(4)) return emit(call("mean", kt::mean, Slot{0}, std::monostate(), false), {*x});
  const kt::ops::ReduceFunction sum = kt::sum;
  return emit(call("sum", sum, Slot{0}, std::monostate(), false), {*x});
}

bool Generator::try_gradient() {
  const auto real = [](const Known& known) { return kt::is_float(known.tensor.dtype()); };
  const std::optional<Value> base =
      choose([&](const Known& known) { return real(known) && !known.leaf; });
  if (!base) return false;
  try {
    Gradient gradient;
    constexpr Gradient::Form forms[] = {Gradient::Form::grad, Gradient::Form::grad,
                                        Gradient::Form::grad, Gradient::Form::vjp,
                                        Gradient::Form::known};
    gradient.form = forms[below(std::size(forms))];
    operands_.clear();
    if (gradient.form == Gradient::Form::grad) {
      const std::optional<Value> cost = scalar_of(*base);
      if (!cost) return false;
      use(*cost);
    } else {
      use(*base);
      of_type(known_.at(*base).tensor.type());
      gradient.cotangents = 1;
    }
    // By what the cost is made of: variables first, and what lies between.
    std::vector<kt::Tensor> nodes = kt::topological_order(std::span(&(*this)[Slot{0}], 1));
    std::vector<Value> candidates = visible([&](const Known& known) {
      return real(known) && std::any_of(nodes.begin(), nodes.end(),
                                        [&](const kt::Tensor& t) { return same(t, known.tensor); });
    });
    if (candidates.size() > 1 && !one_in(10)) std::erase(candidates, operands_[0]);
    if (candidates.empty()) return false;
    const auto any = [&] {
      const int count = static_cast<int>(candidates.size());
      const int at = one_in(2) ? std::min(below(count), below(count)) : below(count);
      return candidates[static_cast<std::size_t>(at)];
    };
    gradient.wrt = 1 + below(3);
    for (int k = 0; k < gradient.wrt; ++k) use(any());
    if (gradient.form != Gradient::Form::vjp && one_in(8)) {
      const Value constant = any();
      if (constant != operands_[0]) {
        use(constant);
        gradient.constants = 1;
      }
    }
    Statement statement{gradient, operands_, {}};
    const std::vector<kt::Tensor> results =
        apply(statement, tensors_of(statement.operands), nullptr);
    return add(std::move(statement), results, true);
  } catch (const Impossible&) {
    return false;
  } catch (const kt::InternalError&) {
    throw;
  } catch (const kt::Error&) {
    return false;
  }
}

// ---- Results

// Some of what nothing uses yet, and at times what others are made of.
void Generator::choose_outputs() {
  std::set<Value> used;
  for (const Statement& statement : program_.main.statements) {
    used.insert(statement.operands.begin(), statement.operands.end());
  }
  std::vector<Value> ends, others;
  for (const Value v : visible([](const Known& known) { return !known.leaf; })) {
    (used.contains(v) ? others : ends).push_back(v);
  }
  std::vector<Value>& outputs = program_.main.results;
  const auto take = [&](std::vector<Value>& from, int most) {
    for (; most > 0 && !from.empty(); --most) {
      const int count = static_cast<int>(from.size());
      const auto at = from.begin() + std::max(below(count), below(count));
      outputs.push_back(*at);
      from.erase(at);
    }
  };
  take(ends, 1 + below(3));
  take(others, below(3));
  if (outputs.empty()) outputs.push_back(program_.variables.front().value);
}

void Generator::choose_updates() {
  for (const Variable& variable : std::vector(program_.variables)) {
    if (!variable.shared || one_in(3)) continue;
    const kt::TensorType type = known_.at(variable.value).tensor.type();
    std::vector<Value> fitting =
        visible([&](const Known& known) { return known.tensor.type() == type && !known.leaf; });
    if (fitting.empty()) continue;
    program_.updates.emplace_back(
        variable.value, fitting[static_cast<std::size_t>(below(static_cast<int>(fitting.size())))]);
  }
}

}  // namespace fuzz
