// Files of arrays, as others write them and as nobody should.
#pragma once
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "tests/tools/data_files.h"
#include "tests/train/written_by_others.h"

namespace array_files {

namespace kt = kroton;
using Arrays = std::map<std::string, kt::Array>;

// What array_files.py fills arrays with. `kind` is "bool", "i8", "u16", "f32", ...
inline kt::Array numbers(const kt::Shape& shape, std::string_view kind, kt::DType dtype) {
  kt::Array made = kt::Array::empty(shape, kt::f64);
  std::int64_t k = 0;
  for (double& value : made.data<double>()) {
    const std::int64_t number = (7 * k++ + 3) % 11;
    value = static_cast<double>(kind == "bool" ? number % 2 : kind[0] == 'u' ? number : number - 5);
  }
  return made.cast(dtype);
}

// The dtype that a kind is read as.
inline kt::DType dtype_of_kind(std::string_view kind) {
  if (kind == "bool") return kt::boolean;
  return std::ranges::find(kt::dtype_table, kind, &kt::DTypeInfo::name)->dtype;
}

inline Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

inline void append(Bytes& to, std::uint64_t value, int bytes) {
  for (int k = 0; k < bytes; ++k) to.push_back(static_cast<std::uint8_t>(value >> 8 * k & 0xff));
}

inline Bytes joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline void check_same(const Arrays& got, const Arrays& wanted) {
  REQUIRE(got.size() == wanted.size());
  for (const auto& [name, array] : wanted) {
    CAPTURE(name);
    REQUIRE(got.contains(name));
    CHECK(kt::array_equal(got.at(name), array));
  }
}

// One of every dtype for every shape.
inline Arrays samples() {
  Arrays arrays;
  for (const kt::Shape& shape :
       {kt::Shape{}, kt::Shape{0}, kt::Shape{1}, kt::Shape{3}, kt::Shape{17}, kt::Shape{2, 0, 3},
        kt::Shape{17, 3}, kt::Shape{1, 2, 1, 3, 1, 2, 1, 2}}) {
    for (const kt::DTypeInfo& info : kt::dtype_table) {
      arrays[std::string(info.name) + kt::to_string(shape)] = numbers(shape, "", info.dtype);
    }
  }
  return arrays;
}

}  // namespace array_files
