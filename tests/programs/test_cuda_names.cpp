// Kernels for a GPU compile whatever the user's variables and sizes are called.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include "tests/gpu_emulator/emulated_device.h"

namespace kt = kroton;

TEST_CASE("cuda: variables and sizes of any name") {
  const gpu_emulator::TestCuda cuda;
  std::vector<kt::Tensor> inputs;
  std::vector<kt::Array> values;
  kt::Tensor total = kt::scalar("total");
  inputs.push_back(total);
  values.push_back(kt::Array::from(std::initializer_list<float>{1}).reshape({}));
  for (const char* name : {"reinterpret_cast",
                           "static_cast",
                           "thread_local",
                           "wchar_t",
                           "char16_t",
                           "co_await",
                           "I",
                           "EOF",
                           "M_PI",
                           "SIGINT",
                           "size_t",
                           "float4",
                           "fmaf",
                           "sqrtf",
                           "threadIdx",
                           "error",
                           "kt_add",
                           "KtMax",
                           "KROTON_SHARED",
                           "__shared__",
                           "*/",
                           "a\nb",
                           "\\",
                           "\xff"}) {
    inputs.push_back(kt::tensor(name, {kt::dim(name)}));
    values.push_back(kt::Array::ones({3}));
    total = total + kt::max(kt::sqrt(kt::exp(inputs.back()) * 0 + inputs.back()));
  }
  const auto f = kt::function(inputs, total, {.name = "names", .target = kt::cuda()});
  const std::vector<kt::Argument> arguments(values.begin(), values.end());
  CHECK(f.call(arguments).item<float>() == static_cast<float>(inputs.size()));
}
