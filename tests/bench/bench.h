// One benchmark contender: a program that the driver, tests/bench/driver.py, feeds with commands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

// A case made ready to run, for example "gemm/f32/NN/64x64x64".
struct Case {
  // What is timed.
  std::function<void()> run;
  // Results from the state after making the case, to compare with other contenders: a few numbers.
  std::function<std::vector<double>()> values;
};

// The parts of a case's name between slashes.
using Parts = std::vector<std::string>;
using Maker = std::function<Case(const Parts&)>;

Parts split(const std::string& text, char separator);
// From KROTON_THREADS, 1 if not set.
int thread_count();

// Element i of input number `seed`: the same in every contender. Uniform in [-0.5, 0.5) * scale.
inline std::uint32_t element_bits(std::size_t i, std::size_t seed) {
  return static_cast<std::uint32_t>(i * 2654435761U + (seed + 1) * 2246822519U);
}
inline double element_of(std::uint32_t bits, double scale) {
  return (static_cast<double>(bits) / 4294967296.0 - 0.5) * scale;
}
inline double element(std::size_t i, std::size_t seed, double scale = 1) {
  return element_of(element_bits(i, seed), scale);
}

// The same in no pattern. Neighbours among the elements above nearly cancel each other: the values
// of a network with such weights vanish from layer to layer.
inline double scattered_element(std::size_t i, std::size_t seed, double scale) {
  std::uint32_t bits = element_bits(i, seed);
  bits = (bits ^ bits >> 16) * 0x7feb352dU;
  bits = (bits ^ bits >> 15) * 0x846ca68bU;
  return element_of(bits ^ bits >> 16, scale);
}

// Up to 16 elements, evenly spaced, the first and the last among them.
template <class Elements>
std::vector<double> sample(const Elements& elements) {
  const std::size_t size = elements.size();
  const std::size_t count = size < 16 ? size : 16;
  std::vector<double> result;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t last = count > 1 ? count - 1 : 1;
    result.push_back(static_cast<double>(elements[k * (size - 1) / last]));
  }
  return result;
}

// Seconds a call: the fastest of five batches that last so long together.
double time_of(const std::function<void()>& run, double seconds);

// Reads commands from stdin and answers each with one line of JSON until the input ends:
//   prepare CASE      null; makes the case, forgetting the one before
//   forget            null; without that case from then on
//   values            a list of numbers
//   time SECONDS      seconds a call: the fastest of five batches that last so long together
//   peak              the peak memory of this process so far, in bytes
// Anything that fails is answered with {"error": "..."}.
int serve(const Maker& maker);

}  // namespace bench
