#include "compiler/codegen/cuda/gpu_rates.h"

#include <algorithm>
#include <sstream>

namespace kroton::codegen {
namespace {

// Of the clocks that a driver tells, which are the highest: what is left of them under load, and of
// the way to memory where data is copied.
constexpr double lasting_clock = 0.9, copied = 0.9;

bool has_word(const std::string& text, const std::string& word) {
  std::istringstream words(text);
  for (std::string one; words >> one;) {
    if (one == word || one.starts_with(word + "-")) return true;  // "A100-SXM4-40GB"
  }
  return false;
}

// The known one whose processors are most like those of that compute capability.
const GpuRates& like(int capability) {
  const std::vector<GpuRates>& known = known_gpus();
  if (capability < 80) return known[0];
  if (capability == 80) return known[1];
  // Those made for data centres; others are 8.6, 8.9, 12.0.
  return capability >= 90 && capability < 120 ? known[2] : known[3];
}

}  // namespace

const std::vector<GpuRates>& known_gpus() {
  static const std::vector<GpuRates> list = {
      {"T4", 40, 1.4, 64, 1.0 / 32, 270, 430, 2.5, 1.3, 64 << 10, 75, 0, 4, 40, 20, 22, 22, 32, 20},
      {"A100", 108, 1.41, 64, 0.5, 1400, 400, 1.8, 1.4, 164 << 10, 80, 1024, 4, 8, 20, 23, 29, 38,
       20},
      {"H100", 132, 1.7, 128, 0.5, 3000, 450, 1.5, 1.3, 228 << 10, 90, 2048, 4, 8, 20, 23, 29, 41,
       20},
      {"4090", 128, 2.4, 128, 1.0 / 64, 920, 350, 1.5, 1.2, 100 << 10, 89, 256, 4, 40, 20, 23, 30,
       43, 20}};
  return list;
}

std::optional<GpuRates> rates_of(const DeviceProperties& told, int capability) {
  for (const GpuRates& known : known_gpus()) {
    if (has_word(told.model, known.name) && told.processors == known.processors) return known;
  }
  if (told.processors <= 0 || told.clock <= 0 || told.memory_clock <= 0 || told.memory_bits <= 0) {
    return std::nullopt;
  }
  GpuRates rates = like(capability);
  rates.name = "a device like " + rates.name + ", at what the driver tells of this one";
  rates.capability = capability;
  rates.processors = told.processors;
  rates.clock = told.clock * lasting_clock;
  // Two transfers a cycle.
  rates.bandwidth = 2 * told.memory_clock * told.memory_bits / 8 * copied;
  if (told.f32_per_f64 > 0) rates.f64_rate = 1 / told.f32_per_f64;
  if (told.shared_memory > 0) rates.shared = told.shared_memory;
  return rates;
}

}  // namespace kroton::codegen
