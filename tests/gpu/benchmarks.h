// What the cases of kroton_gpu_benchmarks are written with.
#pragma once
#include <kroton/kroton.h>

#include <cstdint>
#include <functional>
#include <string>

namespace gpu_benchmarks {

namespace kt = kroton;

// A size as it is measured, or as an emulator can do it.
std::int64_t size(std::int64_t large, std::int64_t small);
inline double real(std::int64_t n) { return static_cast<double>(n); }

// What a call does, for the rates.
struct Work {
  double bytes = 0, operations = 0;
};

// Runs a case, unless others are wanted. An error is one of that case.
void run(const std::string& name, const std::function<void()>& body);
// The middle one of three rounds of 50 ms each; printed.
void measure(const std::string& name, const Work& work, const std::function<void()>& call);
// Numbers on the device.
kt::Shared data(const kt::Shape& shape, std::uint64_t seed, double scale = 1,
                kt::DType dtype = kt::f32);
// A case whose value is computed and kept on the device.
void resident(const std::string& name, const Work& work, const std::function<kt::Tensor()>& value,
              const kt::Target& target = kt::cuda());

// Cases: products and convolutions, of f32, in TF32, of 16 bits.
void products();
void convolutions();

}  // namespace gpu_benchmarks
