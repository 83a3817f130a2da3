// What holds for the scalars of every dtype, whichever are added.
#include "compiler/loop/scalar.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "runtime/visit.h"

namespace kt = kroton;
using namespace kroton::loop;  // NOLINT: tests

namespace {

Scalar scalar_of(const Expr& constant) { return {constant->real, constant->integer}; }

// The ends of the dtype's values, and some between them.
std::vector<Scalar> values_of(kt::DType dtype) {
  return kt::visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    using Limits = std::numeric_limits<T>;
    std::vector<Scalar> values;
    for (const T value : {Limits::lowest(), Limits::max(), T(0), T(1)}) {
      if constexpr (kt::is_floating_element<T>) {
        values.push_back({value, 0});
      } else {
        values.push_back({0, static_cast<std::int64_t>(value)});
      }
    }
    if constexpr (kt::is_floating_element<T>) {
      for (const T value :
           {Limits::infinity(), T(-Limits::infinity()), Limits::denorm_min(), T(-T(0))}) {
        values.push_back({value, 0});
      }
    }
    return values;
  });
}

bool same(const Scalar& a, const Scalar& b) {
  return a.integer == b.integer && a.real == b.real && std::signbit(a.real) == std::signbit(b.real);
}

}  // namespace

TEST_CASE("scalars: elements are read as they were written") {
  for (const kt::DTypeInfo& info : kt::dtype_table) {
    CAPTURE(info.name);
    for (const Scalar& value : values_of(info.dtype)) {
      std::array<std::byte, 16> memory;
      memory.fill(std::byte{0x5a});
      write_element(memory.data(), info.dtype, value);
      CHECK(same(read_element(memory.data(), info.dtype), value));
      CHECK(memory[static_cast<std::size_t>(info.bytes)] == std::byte{0x5a});
    }
  }
}

TEST_CASE("scalars: every reduction begins with what leaves other values as they are") {
  for (const kt::DTypeInfo& info : kt::dtype_table) {
    CAPTURE(info.name);
    const std::vector<Op> ops = info.dtype == kt::boolean
                                    ? std::vector{Op::min, Op::max, Op::logical_and, Op::logical_or}
                                    : std::vector{Op::add, Op::mul, Op::min, Op::max};
    // A reduction of a dtype that is only stored is one of its conversions.
    if (kt::is_only_stored(info.dtype)) continue;
    for (const Op op : ops) {
      CAPTURE(name_of(op));
      const Scalar neutral = scalar_of(identity(op, info.dtype));
      for (const Scalar& value : values_of(info.dtype)) {
        const Scalar first[] = {neutral, value}, second[] = {value, neutral};
        CHECK(same(evaluate(op, info.dtype, info.dtype, first), value));
        CHECK(same(evaluate(op, info.dtype, info.dtype, second), value));
      }
      // A sum of nothing is 0, not -0.
      const Scalar begin = scalar_of(initial(op, info.dtype));
      CHECK((begin.real == neutral.real && begin.integer == neutral.integer));
      if (op == Op::add) CHECK_FALSE(std::signbit(begin.real));
    }
  }
}
