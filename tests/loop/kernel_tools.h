// Builders and runners for the tests of the loop IR.
#pragma once
#include <kroton/error.h>

#include <cstring>
#include <random>

#include "compiler/loop/interpreter.h"
#include "compiler/loop/traverse.h"

namespace loop_test {

using namespace kroton;        // NOLINT: tests
using namespace kroton::loop;  // NOLINT: tests

inline BufferRef buffer(int id, const std::string& name, const Dim& size, DType dtype = DType::f32,
                        Space space = Space::global) {
  return std::make_shared<const Buffer>(Buffer{id, name, dtype, size, space});
}

inline Stmt serial(const Variable& v, const Expr& extent, Block body) {
  For loop;
  loop.variable = v;
  loop.extent = extent;
  loop.body = std::move(body);
  return statement(std::move(loop));
}

inline Kernel kernel(std::vector<BufferRef> inputs, std::vector<BufferRef> outputs, Block body) {
  Kernel result;
  result.name = std::string("k");  // assigning the literal trips a false warning of GCC 12
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.body = std::move(body);
  result.work = integer(1);
  return result;
}

// The contents of every buffer as bytes, by id.
using Contents = std::map<int, std::vector<std::byte>>;
using Sizes = std::map<std::string, std::int64_t>;

inline std::function<std::int64_t(const DimAtom&)> lookup(const Sizes& sizes) {
  return [&sizes](const DimAtom& atom) { return sizes.at(atom.name); };
}

template <class T>
std::vector<std::byte> bytes(const std::vector<T>& values) {
  std::vector<std::byte> result(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(result.data(), values.data(), result.size());
  return result;
}

template <class T>
std::vector<T> values(const std::vector<std::byte>& raw) {
  std::vector<T> result(raw.size() / sizeof(T));
  if (!raw.empty()) std::memcpy(result.data(), raw.data(), raw.size());
  return result;
}

// Small whole numbers, so that sums are exact in any order.
inline Contents random_contents(const Kernel& kernel, const Sizes& sizes, unsigned seed) {
  std::mt19937 random(seed);
  Contents contents;
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const BufferRef& b : *list) {
      const auto count = static_cast<std::size_t>(b->size.evaluate(lookup(sizes)));
      const auto number = [&] { return static_cast<int>(random() % 19) - 9; };
      if (b->dtype == DType::f32) {
        std::vector<float> data(count);
        for (float& x : data) x = static_cast<float>(number());
        contents[b->id] = bytes(data);
      } else if (b->dtype == DType::i64) {
        std::vector<std::int64_t> data(count);
        for (std::int64_t& x : data) x = number();
        contents[b->id] = bytes(data);
      } else {
        throw InternalError("random_contents: a buffer is neither f32 nor i64");
      }
    }
  }
  return contents;
}

inline std::optional<IndexFault> run(const Kernel& kernel, const Sizes& sizes, Contents& contents) {
  Memory memory;
  memory.size_of = lookup(sizes);
  for (const auto* list : {&kernel.inputs, &kernel.outputs}) {
    for (const BufferRef& b : *list) {
      std::vector<std::byte>& data = contents.at(b->id);
      memory.buffers[b->id] = {data.data(),
                               static_cast<std::int64_t>(data.size()) / size_of(b->dtype)};
    }
  }
  return interpret(kernel, memory);
}

inline Contents outcome(const Kernel& kernel, const Sizes& sizes, const Contents& before) {
  Contents contents = before;
  if (run(kernel, sizes, contents)) throw InternalError("an index fault nobody expected");
  return contents;
}

// Vector and parallel loops backwards: whatever order their iterations take, the result must be
// the same.
inline Block backwards(const Block& block) {
  Block result;
  for (const Stmt& s : block) {
    const For* found = as_for(s);
    if (found == nullptr) {
      result.push_back(s);
      continue;
    }
    For loop = *found;
    loop.body = backwards(loop.body);
    if (loop.kind == LoopKind::vector || loop.kind == LoopKind::parallel) {
      loop.kind = LoopKind::serial;
      const Variable turned = fresh_variable(loop.variable.name);
      loop.body =
          substitute(loop.body, {{loop.variable, loop.extent - integer(1) - variable(turned)}});
      loop.variable = turned;
    }
    result.push_back(statement(std::move(loop)));
  }
  return result;
}

inline Kernel backwards(const Kernel& kernel) {
  Kernel result = kernel;
  result.body = backwards(kernel.body);
  return result;
}

// A random kernel over rank 1 to 3 with constant and symbolic sizes: elementwise chains,
// broadcasts, transposed and reshaped reads, reductions over the last or the first axis, selects.
class RandomKernel {
 public:
  explicit RandomKernel(unsigned seed) : random_(seed) {}

  Kernel make() {
    const std::size_t rank = 1 + below(3);
    for (std::size_t axis = 0; axis < rank; ++axis) {
      const Dim choices[] = {Dim::named("m"), Dim::named("n"), Dim::named("p"), 1, 3, 4, 20};
      shape_.push_back(choices[below(7)]);
      variables_.push_back(fresh_variable(std::string(1, static_cast<char>('i' + axis))));
    }
    const std::size_t style = below(3);
    if (style == 0 || rank == 1) return elementwise();
    return reduction(style == 1 ? rank - 1 : 0);
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }

  Dim count(const std::vector<Dim>& shape) {
    Dim product = 1;
    for (const Dim& dim : shape) product = product * dim;
    return product;
  }

  Expr linear(const std::vector<Dim>& shape, const std::vector<Expr>& at) {
    Expr sum = integer(0);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      sum = sum * size(shape[axis]) + at[axis];
    }
    return sum;
  }

  Expr strides(const std::vector<Dim>& shape, const std::vector<Expr>& at) {
    Expr sum = integer(0);
    Dim stride = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      sum = sum + at[axis] * size(stride);
      stride = stride * shape[axis];
    }
    return sum;
  }

  std::vector<Expr> point() {
    std::vector<Expr> at;
    for (const Variable& v : variables_) at.push_back(variable(v));
    return at;
  }

  // A read of an input of its own.
  Expr read() {
    std::vector<Dim> shape;
    std::vector<Expr> at;
    Expr index;
    switch (below(5)) {
      case 0:  // the same shape
        shape = shape_;
        index = linear(shape, point());
        break;
      case 1:  // broadcast over some axes
        for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
          if (below(2) == 0) continue;
          shape.push_back(shape_[axis]);
          at.push_back(variable(variables_[axis]));
        }
        index = strides(shape, at);
        break;
      case 2:  // transposed
        shape.assign(shape_.rbegin(), shape_.rend());
        for (auto v = variables_.rbegin(); v != variables_.rend(); ++v) at.push_back(variable(*v));
        index = strides(shape, at);
        break;
      default: {  // taken apart in another shape of the same size, and put together again
        shape = shape_;
        const Expr flat = strides(shape_, point());
        std::vector<Dim> other(shape_.rbegin(), shape_.rend());
        Expr rest = flat;
        at.resize(other.size());
        for (std::size_t axis = other.size(); axis-- > 1;) {
          at[axis] = binary(Op::mod, rest, size(other[axis]));
          rest = binary(Op::floor_div, rest, size(other[axis]));
        }
        at[0] = rest;
        index = strides(other, at);
        break;
      }
    }
    inputs_.push_back(buffer(static_cast<int>(inputs_.size()), "x", count(shape)));
    return load(inputs_.back(), index);
  }

  Expr value(int depth) {
    if (depth == 0 || below(4) == 0) {
      if (below(5) == 0) return cast(variable(variables_[below(variables_.size())]), DType::f32);
      return below(5) == 0 ? real(static_cast<double>(below(4)), DType::f32) : read();
    }
    const Expr a = value(depth - 1);
    const Expr b = below(3) == 0 ? a : value(depth - 1);
    switch (below(5)) {
      case 0:
        return a + b;
      case 1:
        return a - b;
      case 2:
        return binary(Op::max, a, b);
      case 3:
        return select(binary(Op::lt, a, b), a, unary(Op::neg, b));
      default:
        return a * b;
    }
  }

  Block nest(Block body, std::size_t from, std::size_t to) {
    for (std::size_t axis = to; axis-- > from;) {
      body = {serial(variables_[axis], size(shape_[axis]), std::move(body))};
    }
    return body;
  }

  Kernel elementwise() {
    const BufferRef y = buffer(100, "y", count(shape_));
    Block body{Store{y, strides(shape_, point()), value(3)}};
    return kernel(inputs_, {y}, nest(std::move(body), 0, shape_.size()));
  }

  Kernel reduction(std::size_t axis) {
    std::vector<Dim> kept = shape_;
    std::vector<Expr> at = point();
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(axis));
    at.erase(at.begin() + static_cast<std::ptrdiff_t>(axis));
    const BufferRef y = buffer(100, "y", count(kept));
    const Variable total = fresh_variable("total", DType::f32);
    const Op op = below(2) == 0 ? Op::add : Op::max;
    Block body{Declare{total, real(0, DType::f32)},
               serial(variables_[axis], size(shape_[axis]), {Accumulate{total, op, value(2)}}),
               Store{y, strides(kept, at), variable(total)}};
    const std::size_t from = axis == 0 ? 1 : 0;
    return kernel(inputs_, {y}, nest(std::move(body), from, from + kept.size()));
  }

  std::mt19937 random_;
  std::vector<Dim> shape_;
  std::vector<Variable> variables_;
  std::vector<BufferRef> inputs_;
};

}  // namespace loop_test
