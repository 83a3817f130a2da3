// Every operation on every dtype, compiled, against the reference interpreter: all pairs of dtypes
// for operations of two operands, and for every record a sample in each dtype that it takes.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <limits>

#include "compiler/ir/reference.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"
#include "tests/tools/op_tools.h"

using namespace op_test;  // NOLINT: tests

namespace {

// How far a value may be off, relative to the largest one.
double tolerance(DType dtype) {
  if (dtype == DType::f64) return 1e-12;
  return dtype == DType::f32 ? 2e-6 : 8 * std::ldexp(1.0, -info_of(dtype).digits);
}

void check_close(const Array& got, const ReferenceValue& wanted) {
  REQUIRE(got.dtype() == wanted.dtype);
  const ReferenceValue value = from_array(got);
  REQUIRE(value.shape == wanted.shape);
  double largest = 0;
  for (const double x : wanted.data) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  const double highest = wanted.dtype == DType::f16 ? 65504 : 3e38;
  for (std::size_t k = 0; k < wanted.data.size(); ++k) {
    const Number &a = value.data[k], &b = wanted.data[k];
    if (equal(a, b)) continue;
    const bool real = is_float(wanted.dtype) && std::isfinite(double{b});
    const double bound = tolerance(wanted.dtype) * (largest + 1e-3);
    if (real && std::abs(double{a} - double{b}) <= bound) continue;
    // What is as large as the dtype holds may be rounded to infinity.
    if (std::abs(double{a}) >= 0.99 * highest && std::abs(double{b}) >= 0.99 * highest) continue;
    FAIL_CHECK("element " << k << " is " << double{a} << ", expected " << double{b});
    break;
  }
}

ReferenceValue in_dtype(const ReferenceValue& value, DType dtype) {
  ReferenceValue result{dtype, value.shape, {}};
  const bool is_unsigned = is_integer(dtype) && !is_signed(dtype);
  for (const Number& x : value.data) {
    const Number size = is_unsigned && x < 0 ? -x : x;
    result.data.push_back(stored_as(dtype, size));
  }
  return result;
}

constexpr DType added[] = {i8, i16, u8, u16, u32, u64, f16, bf16};

// The first samples of a record whose operands can have the dtype; several at once in a function.
int check_samples(const OpRecord& op, DType dtype, std::size_t most) {
  std::vector<Case> cases;
  for (const Sample& sample : op.samples()) {
    if (cases.size() == most) break;
    Sample changed = sample;
    bool any = false, empty = false;
    for (ReferenceValue& input : changed.inputs) {
      empty = empty || input.data.size() < 3;
      const bool fits = is_float(dtype) ? input.dtype == f32 : input.dtype == i32;
      if (!fits) continue;
      input = in_dtype(input, dtype);
      any = true;
    }
    if (!any || empty) continue;
    try {
      cases.push_back(make_case(changed));
      value_of(cases.back().output, cases.back().bindings);
    } catch (const InternalError&) {
      throw;
    } catch (const Error&) {
      return 0;  // not for this dtype, or for values of either sign
    }
  }
  if (cases.empty()) return 0;
  std::vector<Tensor> inputs, outputs;
  std::vector<Array> given;
  for (const Case& c : cases) {
    for (const Tensor& input : c.inputs) {
      inputs.push_back(input);
      given.push_back(to_array(c.bindings.at(&input.node())));
    }
    outputs.push_back(c.output);
  }
  const std::vector<Argument> arguments(given.begin(), given.end());
  const std::vector<Array> values =
      function(inputs, outputs, {.on_unused_input = UnusedInput::ignore}).call(arguments);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    check_close(values[k], value_of(cases[k].output, cases[k].bindings));
  }
  return static_cast<int>(cases.size());
}

// A part of all records: cases of this file run beside each other.
void check_records(DType dtype) {
  int count = 0;
  for (const OpRecord* op : all_ops()) {
    // Draws of random numbers are compared by their own tests.
    if (op->is_redrawn || op->kind == OpKind::leaf) continue;
    CAPTURE(op->name);
    count += check_samples(*op, dtype, 2);
  }
  CAPTURE(count);
  CHECK(count > (is_float(dtype) ? 120 : 40));
}

}  // namespace

TEST_CASE("every op on f16") { check_records(f16); }
TEST_CASE("every op on bf16") { check_records(bf16); }
TEST_CASE("every op on i8") { check_records(i8); }
TEST_CASE("every op on i16") { check_records(i16); }
TEST_CASE("every op on u8") { check_records(u8); }
TEST_CASE("every op on u16") { check_records(u16); }
TEST_CASE("every op on u32") { check_records(u32); }
TEST_CASE("every op on u64") { check_records(u64); }

TEST_CASE("all pairs of dtypes of all ops of two operands") {
  int count = 0;
  for (const OpRecord* op : all_ops()) {
    if (op->elementwise.value.arity != 2 || op->cost > 20) continue;
    CAPTURE(op->name);
    std::vector<Tensor> inputs, outputs;
    std::vector<Array> given;
    Bindings bindings;
    const auto input = [&](DType dtype, int seed) {
      const double low = is_integer(dtype) && !is_signed(dtype) ? 0 : -6;
      const Tensor x = make_input("x", {dtype, {Dim(17)}}, {__FILE__, __LINE__});
      bindings[&x.node()] = ops::spread(dtype, {17}, low, 9, seed);
      inputs.push_back(x);
      given.push_back(to_array(bindings[&x.node()]));
      return x;
    };
    std::vector<Tensor> left, right;
    for (const DTypeInfo& info : dtype_table) {
      left.push_back(input(info.dtype, 1));
      right.push_back(input(info.dtype, 2));
    }
    for (const Tensor& x : left) {
      for (const Tensor& y : right) {
        const DType common = promote(x.dtype(), y.dtype());
        try {
          outputs.push_back(ops::apply_binary(*op, x, y));
        } catch (const TypeError&) {
          continue;  // the record's samples tell which it takes
        }
        CHECK((outputs.back().dtype() == common || outputs.back().dtype() == boolean));
      }
    }
    if (outputs.empty()) continue;
    const std::vector<Argument> arguments(given.begin(), given.end());
    const std::vector<Array> values =
        function(inputs, outputs, {.on_unused_input = UnusedInput::ignore}).call(arguments);
    const std::vector<ReferenceValue> wanted = evaluate(outputs, bindings);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      CAPTURE(to_string(outputs[k].node().inputs[0].type()));
      CAPTURE(to_string(outputs[k].node().inputs[1].type()));
      check_close(values[k], wanted[k]);
      ++count;
    }
  }
  CHECK(count > 1500);
}
