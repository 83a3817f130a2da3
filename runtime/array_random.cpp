#include <kroton/array.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include <kroton/philox.h>
#include "runtime/visit.h"

namespace kroton {

namespace {

// The two kinds of deviate draw from streams of their own, so that arrays made from the same seed
// are independent.
constexpr std::uint64_t uniform_stream = 0;
constexpr std::uint64_t normal_stream = 1;

// What `make` gives for the element type of a floating dtype.
template <class Make>
Array of_floats(DType dtype, const char* operation, Make make) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> Array {
    if constexpr (is_floating_element<T>) {
      return make(T{});
    } else {
      throw TypeError(std::string(operation) + ": expected a floating dtype, got " +
                      std::string(name_of(dtype)));
    }
  });
}

// Box-Muller: two independent normal deviates from u in (0, 1] and v in [0, 1).
template <class T>
void box_muller(T u, T v, T* pair) {
  const T radius = std::sqrt(T{-2} * std::log(u));
  const T angle = T{2} * std::numbers::pi_v<T> * v;
  pair[0] = radius * std::cos(angle);
  pair[1] = radius * std::sin(angle);
}

// How many deviates one block of four words makes: one per word for float, one per two for double.
template <class T>
constexpr std::int64_t per_block = 16 / static_cast<std::int64_t>(sizeof(T));

void normal_block(const Philox::Words& words, float* out) {
  for (int pair = 0; pair < 2; ++pair) {
    // The middle of the word's interval; small values keep all 32 bits.
    const float u = static_cast<float>(words[2 * pair]) * 0x1p-32F + 0x1p-33F;
    box_muller(u, unit_float(words[2 * pair + 1]), out + 2 * pair);
  }
}

void normal_block(const Philox::Words& words, double* out) {
  box_muller(1.0 - unit_double(words[0], words[1]), unit_double(words[2], words[3]), out);
}

void uniform_block(const Philox::Words& words, float* out) {
  std::ranges::transform(words, out, unit_float);
}

void uniform_block(const Philox::Words& words, double* out) {
  out[0] = unit_double(words[0], words[1]);
  out[1] = unit_double(words[2], words[3]);
}

// Fills `elements` block after block; `deviates` turns four words into per_block<T> numbers.
template <class T, class Deviates>
void fill_blocks(std::span<T> elements, std::uint64_t seed, std::uint64_t stream,
                 Deviates deviates) {
  const auto size = static_cast<std::int64_t>(elements.size());
  for (std::int64_t first = 0; first < size; first += per_block<T>) {
    T numbers[per_block<T>];
    deviates(Philox::block(seed, stream, static_cast<std::uint64_t>(first / per_block<T>)),
             numbers);
    std::copy_n(numbers, std::min(per_block<T>, size - first), elements.data() + first);
  }
}

template <class T>
Array make_normal(const Shape& shape, std::uint64_t seed, T mean, T stddev) {
  Array array = Array::empty(shape, dtype_of<T>);
  fill_blocks(array.data<T>(), seed, normal_stream, [&](const Philox::Words& words, T* out) {
    normal_block(words, out);
    std::transform(out, out + per_block<T>, out, [&](T z) { return mean + stddev * z; });
  });
  return array;
}

template <class T>
Array make_uniform(const Shape& shape, std::uint64_t seed, T low, T high) {
  const T width = high - low;
  if (!(width > 0 && std::isfinite(width))) {
    throw ValueError("uniform: expected low < high, got low " + to_string(Array(low)) + ", high " +
                     to_string(Array(high)));
  }
  const T last = std::nextafter(high, low);
  Array array = Array::empty(shape, dtype_of<T>);
  fill_blocks(array.data<T>(), seed, uniform_stream, [&](const Philox::Words& words, T* out) {
    uniform_block(words, out);
    // Rounding may reach `high`, which the range excludes.
    std::transform(out, out + per_block<T>, out,
                   [&](T u) { return std::min(low + width * u, last); });
  });
  return array;
}

}  // namespace

Array Array::normal(const Shape& shape, std::uint64_t seed, double mean, double stddev,
                    DType dtype) {
  return of_floats(dtype, "normal", [&]<class T>(T) {
    if (!(stddev >= 0)) {
      throw ValueError("normal: expected stddev >= 0, got " + to_string(Array(stddev)));
    }
    using Computed = detail::Computed<T>;
    return make_normal(shape, seed, static_cast<Computed>(mean), static_cast<Computed>(stddev))
        .cast(dtype);
  });
}

Array Array::uniform(const Shape& shape, std::uint64_t seed, double low, double high, DType dtype) {
  return of_floats(dtype, "uniform", [&]<class T>(T) {
    using Computed = detail::Computed<T>;
    const Computed first = T(low), end = T(high);
    const Array exact = make_uniform(shape, seed, first, end);
    if constexpr (std::same_as<T, Computed>) {
      return exact;
    } else {
      // Down, so that the end is not reached.
      Array result = Array::empty(shape, dtype);
      std::ranges::transform(exact.data<float>(), result.data<T>().begin(), [&](float value) {
        T rounded(value);
        if (float{rounded} > value) {
          rounded = T::from_bits(static_cast<std::uint16_t>(rounded.bits() + (value < 0 ? 1 : -1)));
        }
        return rounded;
      });
      return result;
    }
  });
}

}  // namespace kroton
