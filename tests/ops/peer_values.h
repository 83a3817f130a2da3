// What tests share that compare with values of PyTorch's: the files' numbers, and operands.
#pragma once
#include <kroton/array.h>

#include <sstream>
#include <string>
#include <vector>

namespace peer_values {

using Integers = std::vector<std::int64_t>;

inline Integers numbers(const std::string& text) {
  Integers result;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) result.push_back(std::stoll(part));
  return result;
}

// Small whole numbers, the same as `operand` in convolution_values.py.
inline kroton::Array operand(const Integers& shape, std::uint64_t seed, kroton::DType dtype) {
  kroton::Array array =
      kroton::Array::zeros(kroton::Shape(std::span<const std::int64_t>(shape)), kroton::DType::f64);
  const std::span<double> data = array.data<double>();
  for (std::int64_t k = 0; k < array.size(); ++k) {
    const std::uint64_t mixed =
        (static_cast<std::uint64_t>(k) + seed * 7919) * 2654435761u % (1ull << 32);
    data[static_cast<std::size_t>(k)] = static_cast<double>((mixed >> 16) % 7) - 3;
  }
  return array.cast(dtype);
}

}  // namespace peer_values
